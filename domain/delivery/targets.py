"""Where Atlas may send: the rules for a target's URL and for the address behind it. No name is resolved here.

`parse_target` is the check at registration, `forbidden_reason` the one on each address at connect time (a name may
change its mind in between: operations/outgoing.py). The address list is our own, since `ipaddress.is_global`
says yes to NAT64, 6to4, IPv4-compatible and site-local addresses that lead inside (W1).

URLs are written in ASCII, as RFC 3986 has it: an international name in its `xn--` form, other characters
percent-encoded. So nothing is left to normalise, and what was checked is what is dialled (W2, W3, W5).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

URL_LENGTH_MAX = 2_048
DEFAULT_PORTS = {"http": 80, "https": 443}

# Ports of services that would read a POST as their own protocol: the Fetch standard's list, Kafka's and databases'.
PORTS_REFUSED = frozenset(
    map(
        int,
        """
        0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123
        135 137 139 143 161 179 389 427 445 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990
        993 995 1433 1521 1719 1720 1723 2049 2181 3306 3659 4045 4190 5060 5061 5432 6000 6379 6566 6665 6666 6667 6668
        6669 6679 6697 9092 9093 10080 11211 27017
        """.split(),  # noqa: SIM905
    )
)

# Names that never leave a network of their own (RFC 6761, 6762, 8375, 9476 and what clouds use).
PRIVATE_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private")
PRIVATE_SUFFIXES = tuple("." + name for name in (*PRIVATE_NAMES, "home.arpa", "test", "invalid", "onion", "alt"))

IPV4_REFUSED = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this host"
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, on a public address
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
IPV6_GLOBAL = IPv6Network("2000::/3")  # all that is routed; what is outside is private, local, multicast or unassigned
IPV6_REFUSED = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")
IPV4_AT_THE_END = (
    *(IPV4_MAPPED, NAT64, IPv6Network("64:ff9b:1::/48")),  # the last: NAT64 within a network (RFC 8215)
    *(IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96")),  # IPv4-compatible, IPv4-translated (RFC 2765)
)

# Where clouds hand out credentials to whoever asks from the machine: never a receiver, on no network.
METADATA_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "169.254.0.0/16",  # link-local: 169.254.169.254 of nearly all clouds, 169.254.170.2 and .23 of AWS's containers
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.192/32",  # Oracle
    )
)
METADATA_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "fe80::/10",  # link-local: fe80::a9fe:a9fe of OpenStack
        "fd00:ec2::/64",  # AWS: ::254, ::23
        "fd20:ce::/64",  # Google: ::254
        "fd00:42::42/128",  # Scaleway
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:a9fe:a9fe::1/128",  # Akamai
    )
)
METADATA_NAMES = frozenset(
    {
        *("metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal"),
        *("instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com"),
    }
)
METADATA = "the address is of a cloud's metadata service"
PRIVATE = "the address is private, local or reserved"

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]/?#@:\\]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>(?:/[^?#]*)?(?:\?[^#]*)?)"
)
_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")  # RFC 3986: reserved, unreserved and percent
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_LENGTH_MAX = 253

_Address = IPv4Address | IPv6Address


class TargetForbidden(Exception):
    """Atlas does not send there; the message says why, to the person who registers the target."""


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """A URL that may be sent to. `url` is what is dialled: lower-case scheme and host, path and query as written."""

    url: str
    scheme: str
    host: str
    port: int
    address: _Address | None
    """Set if the host is an address and not a name."""


def parse_target(url: str, allow_private: bool) -> TargetUrl:
    """Raises TargetForbidden. `allow_private` (development) takes loopback, private addresses and local names too, but
    no cloud's metadata service."""
    parts = _split(url)
    scheme = parts["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise TargetForbidden("the scheme must be http or https")
    port = _port(parts["port"], scheme)
    host, address = _host(parts["host"].lower())
    _refuse_hosts(host, address, allow_private)
    authority = host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"
    rest = parts["rest"]
    path = rest if rest.startswith("/") else "/" + rest
    return TargetUrl(f"{scheme}://{authority}{path}", scheme, host, port, address)


def forbidden_reason(address: _Address, *, allow_private: bool = False) -> str | None:
    """Why Atlas does not connect to this address, or None if it does. IPv4 inside IPv6 is judged as IPv4."""
    if is_metadata(address):
        return PRIVATE if not allow_private else METADATA
    return PRIVATE if not allow_private and _is_private(address) else None


def is_metadata(address: _Address) -> bool:
    """Also if an IPv4 address is embedded in an IPv6 address, in any of its forms."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in METADATA_IPV4)
    if any(address in network for network in METADATA_IPV6):
        return True
    embedded = [IPv4Address(address.packed[12:])] if any(address in network for network in IPV4_AT_THE_END) else []
    if address in SIX_TO_FOUR:
        embedded.append(IPv4Address(address.packed[2:6]))
    return any(map(is_metadata, embedded))


def _is_private(address: _Address) -> bool:
    embedded = _embedded_ipv4(address)
    if embedded is not None:
        return _is_private(embedded)
    if isinstance(address, IPv4Address):
        return any(address in network for network in IPV4_REFUSED)
    return address not in IPV6_GLOBAL or any(address in network for network in IPV6_REFUSED)


def _embedded_ipv4(address: _Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, NAT64 or 6to4 address leads to. The compatible form (::/96) is refused whole."""
    if isinstance(address, IPv4Address):
        return None
    if address in IPV4_MAPPED or address in NAT64:
        return IPv4Address(address.packed[12:])
    if address in SIX_TO_FOUR:
        return IPv4Address(address.packed[2:6])
    return None


def _split(url: str) -> dict[str, str]:
    if len(url) > URL_LENGTH_MAX:
        raise TargetForbidden(f"the URL is longer than {URL_LENGTH_MAX} characters")
    if not _CHARACTERS.fullmatch(url) or _BAD_PERCENT.search(url):
        raise TargetForbidden("the URL has characters that must be percent-encoded (a name in its xn-- form)")
    if "#" in url:
        raise TargetForbidden("the URL must have no fragment")
    matched = _URL.fullmatch(url)
    if matched is None:
        named = "@" in url.partition("//")[2].partition("/")[0]
        raise TargetForbidden("the URL must have no user name or password" if named else "not an absolute http(s) URL")
    return matched.groupdict(default="")


def _port(written: str, scheme: str) -> int:
    port = int(written) if written else DEFAULT_PORTS[scheme]
    if port > 65_535 or port in PORTS_REFUSED:
        raise TargetForbidden(f"the port {port} is not allowed")
    return port


def _host(written: str) -> tuple[str, _Address | None]:
    """The host as it is dialled, and its address if it is one. Numbers in other forms than a.b.c.d are refused."""
    if written.startswith("["):
        try:
            address: _Address = IPv6Address(written[1:-1])
        except ValueError as error:
            raise TargetForbidden("the host is not an IPv6 address") from error
        return f"[{address.compressed}]", address
    name = written.removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            address = ip_address(written)
        except ValueError as error:
            raise TargetForbidden("an address must be written as four decimal numbers") from error
        return written, address
    if len(name) > _NAME_LENGTH_MAX or not _NAME.fullmatch(name):
        raise TargetForbidden("the host is not a valid name")
    return name, None


def _refuse_hosts(host: str, address: _Address | None, allow_private: bool) -> None:
    name = host.removesuffix(".")
    if address is not None:
        reason = forbidden_reason(address, allow_private=allow_private)
    elif allow_private:
        reason = METADATA if name in METADATA_NAMES else None
    else:
        reason = "the name is local to a network" if "." not in name or name.endswith(PRIVATE_SUFFIXES) else None
        reason = METADATA if reason is None and name in METADATA_NAMES else reason
    if reason is not None:
        raise TargetForbidden(reason)
