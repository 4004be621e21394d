"""Whose address a request has, behind whichever proxies, and which networks an address lies in."""

import pytest

from domain.security.networks import client_address, is_within, lies_in, read_address, read_network, site_of

PROXIES = [read_network("10.0.0.0/8"), read_network("2001:db8:1::/48")]


# (peer, X-Forwarded-For values, client)
@pytest.mark.requirement("A4")
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),  # not a proxy of ours: its word does not count
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # what the client wrote itself stands left
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),  # two headers are one list
        ("10.0.0.1", ["198.51.100.7, 10.2.2.2"], "198.51.100.7"),  # two proxies in a row
        ("10.0.0.1", ["198.51.100.7,10.2.2.2 ,  10.3.3.3"], "198.51.100.7"),
        ("10.0.0.1", ["10.9.9.9"], "10.9.9.9"),  # nobody but proxies
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, nonsense"], "10.0.0.1"),  # nothing beyond what can't be read
        ("10.0.0.1", ["203.0.113.9, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
        ("10.0.0.1", ["2001:db8:2::7"], "2001:db8:2::7"),
        ("10.0.0.1", ["fe80::1%eth0"], "10.0.0.1"),
        ("10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1::1", ["198.51.100.7"], "198.51.100.7"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_whom_a_request_comes_from(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == client


@pytest.mark.requirement("A4")
def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert client_address("127.0.0.1", ["198.51.100.7"], []) == "127.0.0.1"


# (network, address, whether the address lies in it)
@pytest.mark.requirement("A4")
@pytest.mark.parametrize(
    ("network", "address", "lies"),
    [
        ("203.0.113.0/24", "203.0.113.255", True),
        ("203.0.113.0/24", "203.0.114.0", False),
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.0/24", "::ffff:203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("::ffff:203.0.113.0/120", "203.0.114.9", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "203.0.113.9", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "203.0.113.9", False),
    ],
)
def test_what_lies_in_a_network(network: str, address: str, lies: bool) -> None:
    read = read_address(address)
    assert read is not None
    assert lies_in(read, [read_network(network)]) is lies


@pytest.mark.parametrize("text", ["", "203.0.113.7/24", "203.0.113.0/33", "example.com", "fe80::/10%eth0", "1.2.3"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_network(text)


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("203.0.113.0/25", ["203.0.113.0/24"], True),
        ("203.0.113.0/24", ["203.0.113.0/24"], True),
        ("203.0.112.0/23", ["203.0.112.0/24", "203.0.113.0/24"], False),
        ("::/0", ["0.0.0.0/0"], False),
        ("203.0.113.1", ["2001:db8::/32", "203.0.113.0/24"], True),
    ],
)
def test_a_network_within_others(inner: str, outer: list[str], within: bool) -> None:
    assert is_within(read_network(inner), [read_network(one) for one in outer]) is within


@pytest.mark.requirement("A9")
@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("", ""),
    ],
)
def test_whom_failures_are_counted_for(address: str, site: str) -> None:
    assert site_of(address) == site
