"""What the end-to-end tests stand on: one noun per module, real programs and plain sockets, no reactor."""
