"""awfproxy: a Twisted daemon that lets a coding agent use a paid API without ever holding its key."""

__version__ = "0.1.0"
