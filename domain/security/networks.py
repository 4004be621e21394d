"""Reads the addresses and networks that settings and keys name.

An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is that IPv4 address, so that spelling evades no rule (A4).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
IPV6_SITE_BITS = 64  # what one customer has at least, and may choose addresses from as it likes


def read_address(text: str) -> Address | None:
    """The address, or None. An address with a zone (`fe80::1%eth0`) means nothing on another machine: None."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def read_network(text: str) -> Network:
    """An address or a network in CIDR form without bits beyond its prefix. Raises ValueError."""
    if "%" in text:
        raise ValueError("a zone is not part of a network")
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def lies_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def is_within(inner: Network, outer: Iterable[Network]) -> bool:
    return any(inner.version == one.version and inner.subnet_of(one) for one in outer)  # type: ignore[arg-type]


def site_of(text: str) -> str:
    """The network that answers for an address: the address itself, or the /64 that an IPv6 address lies in."""
    address = read_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_SITE_BITS), strict=False).network_address)
    return text if address is None else str(address)


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client of a request that came from `peer` with these `X-Forwarded-For` values, in their order.

    Only trusted proxies are believed: reading from the right, the first entry that is no trusted proxy is the client.
    If an entry can't be read, the proxy that sent it is the client.
    """
    if not trusted:
        return peer
    known = peer
    entries = [entry.strip() for value in forwarded for entry in value.split(",")]
    for entry in reversed(entries):
        if not _is_trusted(known, tuple(trusted)):
            break
        address = read_address(_without_port(entry))
        if address is None:
            break
        known = str(address)
    return known


@lru_cache(1_024)
def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    address = read_address(text)
    return address is not None and lies_in(address, trusted)


def _without_port(entry: str) -> str:
    """`192.0.2.1:1234` and `[2001:db8::1]:1234`, the forms with a port that some proxies write."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
