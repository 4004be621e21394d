"""The HTTP client for providers: one pool of connections for each process; answers unchanged; no redirects or cookies.

No redirect is followed (a provider's key goes to the provider alone), no cookie is kept, nothing is unpacked, no proxy
of the environment is used. A connection that was not used for `KEEPALIVE_SECONDS` is closed: providers do so
themselves, and a POST that meets a closed one can't be sent again by itself.
"""

import ssl
from functools import lru_cache

import aiohttp
from aiohttp import hdrs
from yarl import URL

from operations.outgoing import open_socket

KEEPALIVE_SECONDS = 15.0
CONNECT_SECONDS = 10.0
LINE_BYTES_MAX = 32_768


def new_session(timeout_seconds: float) -> aiohttp.ClientSession:
    """`timeout_seconds`: how long a provider may be silent, before its answer and within."""
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        socket_factory=open_socket,
        ssl=ssl.create_default_context(),
    )
    timeouts = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=timeout_seconds)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeouts,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.ACCEPT_ENCODING),
        trust_env=False,
        max_line_size=LINE_BYTES_MAX,
        max_field_size=LINE_BYTES_MAX,
    )


def url_of(base: str, query: str) -> URL:
    """The URL as it was written, not quoted again. The query may hold Gemini's `?key=`, so it is never stored."""
    return URL(f"{base}?{query}", encoded=True) if query else _without_query(base)


@lru_cache(1024)
def _without_query(base: str) -> URL:
    return URL(base, encoded=True)
