"""Who may call: caller tokens, users on unix sockets, and where it may be listened without either."""
