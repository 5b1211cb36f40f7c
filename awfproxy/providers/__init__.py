"""What is particular to each provider, as data and pure functions."""
