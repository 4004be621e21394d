"""What a listener grants its clients. One frozen value for each listener; the defaults are those of production."""

from dataclasses import dataclass

from domain.security.networks import Network
from operations.http_deadlines import Deadlines

READ_ONCE = ("Authorization", "Idempotency-Key", "Content-Encoding", "Expect", "If-Match", "AtlasBurn-API-Key")
"""Headers that some surface reads as one ASCII value: given twice, or with other bytes in it, they are refused."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times are of one connection. A body's own time and size are set by the handler that reads it (`bodies`)."""

    head_seconds: float = 10.0  # from the connection, or a later head's first bytes, to the complete head
    keepalive_seconds: float = 75.0  # idle between requests
    lingering_seconds: float = 2.0  # read and thrown away after an answer that came before the body's end
    write_seconds: float = 30.0  # a client that reads nothing of its answer
    shutdown_seconds: float = 8.0  # for requests under way when the process stops
    body_bytes_max: int = 34 * 1024 * 1024  # the largest Content-Length that any route may take
    line_bytes_max: int = 8190  # request line, and each header
    headers_max: int = 128
    chunk_overhead_bytes_max: int = 4096  # chunk sizes, extensions and trailers, beyond 8 bytes for each byte of body
    allowed_hosts: frozenset[str] | None = None  # lower case, with or without port; None: any well-formed host
    read_once: tuple[str, ...] = READ_ONCE
    trusted_proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For counts
    backlog: int = 1024

    @property
    def deadlines(self) -> Deadlines:
        return Deadlines(self.head_seconds, self.write_seconds)


DEFAULT_LIMITS = HttpLimits()
