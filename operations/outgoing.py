"""Sockets for connections that Atlas opens itself to URLs of others: the rule on addresses where it can't be passed by.

aiohttp asks a resolver for names only, never for addresses in a URL, and caches what it says; its socket factory sees
every address of every connection (RELIABILITY W4). No such connection goes to a cloud's metadata service.
"""

import errno
import socket
from ipaddress import ip_address

from domain.delivery.targets import forbidden_reason

AddressInfo = tuple[socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[object, ...]]


class ConnectForbidden(OSError):
    """An OSError, since connecting treats those as "this address failed" and tells the first."""


def check_address(host: str, *, allow_private: bool = False) -> None:
    """Raises ConnectForbidden. `host`: an address as getaddrinfo writes it, maybe with a zone."""
    reason = forbidden_reason(ip_address(host.partition("%")[0]), allow_private=allow_private)
    if reason is not None:
        raise ConnectForbidden(errno.EACCES, reason)


def guarded_socket(info: AddressInfo) -> socket.socket:
    """A socket for this address, which must be public. Raises ConnectForbidden."""
    return _socket(info, allow_private=False)


def open_socket(info: AddressInfo) -> socket.socket:
    """A socket for any address but a metadata service's: for targets in development (ATLAS_ALLOW_PRIVATE_TARGETS), and
    for URLs that whoever runs Atlas has set. Raises ConnectForbidden."""
    return _socket(info, allow_private=True)


def _socket(info: AddressInfo, *, allow_private: bool) -> socket.socket:
    family, kind, protocol, _name, address = info
    check_address(str(address[0]), allow_private=allow_private)
    return socket.socket(family, kind, protocol)
