"""The rule on addresses where it can't be passed by: at each connect, on the address that is about to be dialled.

aiohttp asks a resolver for names only, never for addresses in a URL, and caches what it says; its socket factory sees
every address of every connection (RELIABILITY W4). The resolver's check adds that a name with one forbidden address
among good ones is refused whole, whichever would have been dialled.
"""

import errno
import socket
from ipaddress import ip_address

from aiohttp.abc import ResolveResult

from processors.delivery.resolver import Resolver
from schemas.targets import forbidden_reason

AddressInfo = tuple[socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[object, ...]]


class ConnectForbidden(OSError):
    """An OSError, since connecting treats those as "this address failed" and tells the first."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is private, local or reserved")


def check_address(host: str) -> None:
    """Raises ConnectForbidden. `host`: an address as getaddrinfo writes it, maybe with a zone."""
    if forbidden_reason(ip_address(host.partition("%")[0])) is not None:
        raise ConnectForbidden


def guarded_socket(info: AddressInfo) -> socket.socket:
    """A socket for this address. Raises ConnectForbidden."""
    family, kind, protocol, _name, address = info
    check_address(str(address[0]))
    return socket.socket(family, kind, protocol)


def open_socket(info: AddressInfo) -> socket.socket:
    """A socket for any address (development: ATLAS_ALLOW_PRIVATE_TARGETS)."""
    family, kind, protocol, _name, _address = info
    return socket.socket(family, kind, protocol)


class GuardedResolver(Resolver):
    """Raises ConnectForbidden for a name that has a forbidden address."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            check_address(result["host"])
        return found
