"""The provider's key: where it comes from, what shape it must have, and how it gets into a request."""
