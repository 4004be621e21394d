"""The HTTP layer by raw sockets: bytes in, status and connection out, against the real server with a small surface."""
