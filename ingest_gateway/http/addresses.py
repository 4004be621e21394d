"""The address that a request is taken to come from: the connection's, or what trusted proxies say (`HttpLimits`).

The guard sets it before anything else. All code that checks, limits or logs an address uses `address_of`.
"""

from aiohttp import web

from domain.security.networks import Network, client_address

X_FORWARDED_FOR = "X-Forwarded-For"
CLIENT_ADDRESS: web.RequestKey[str] = web.RequestKey("client_address", str)


def find_address(request: web.BaseRequest, trusted: tuple[Network, ...]) -> str:
    """Empty for a connection without an address."""
    peer = request.remote or ""
    if not trusted:
        return peer
    return client_address(peer, request.headers.getall(X_FORWARDED_FOR, ()), trusted)


def address_of(request: web.BaseRequest) -> str:
    """The address that the guard found; empty where there is none."""
    address: str = request.get(CLIENT_ADDRESS, "")
    return address
