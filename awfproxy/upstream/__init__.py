"""HTTP/1.1 client connections to the origin, and the pool that keeps them."""
