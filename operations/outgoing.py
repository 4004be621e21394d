"""Sockets for connections that Atlas opens to URLs of others: here the rule on addresses can't be bypassed.

aiohttp asks a resolver only for names, never for addresses in a URL, and caches the answers; its socket factory sees
every address of every connection (W4). No such connection goes to a cloud's metadata service.
"""

import errno
import socket
from ipaddress import ip_address

from domain.delivery.targets import forbidden_reason

AddressInfo = tuple[socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[object, ...]]


class ConnectForbidden(OSError):
    """An OSError, since connecting code takes those for "this address failed" and raises the first."""


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
    for URLs that the operator has set. Raises ConnectForbidden.
    """
    return _socket(info, allow_private=True)


def _socket(info: AddressInfo, *, allow_private: bool) -> socket.socket:
    family, kind, protocol, _name, address = info
    check_address(str(address[0]), allow_private=allow_private)
    return socket.socket(family, kind, protocol)
