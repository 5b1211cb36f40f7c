"""Sockets and TLS towards the origin: the one way out."""
