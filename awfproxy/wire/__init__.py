"""HTTP/1.1 as pure functions and values on bytes: no sockets, no clock (RFC 9110, RFC 9112)."""
