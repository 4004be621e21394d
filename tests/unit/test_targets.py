"""Where Atlas may send: every class of address, every notation of one, and what a URL may not have."""

from ipaddress import IPv6Address, ip_address

import pytest

from domain.delivery.targets import METADATA, TargetForbidden, forbidden_reason, parse_target

REFUSED_ADDRESSES = (
    # IPv4: first, last and some between of each network
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.1.2.3"),
    *("168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.0.255"),
    *("192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7"),
    *("203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    # IPv6
    *("::", "::1", "fc00::1", "fdff::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1", "100::1"),
    *(
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff::1",
        "3fff:fff::1",
        "5f00::1",
        "4000::1",
    ),
    # IPv4 inside IPv6: compatible, mapped, NAT64, local NAT64, 6to4
    *("::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:1::1"),
)
ALLOWED_ADDRESSES = (
    *(
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
    ),
    *(
        "168.63.129.15",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
    ),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2001:200::1", "3ffe::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
)
METADATA_ADDRESSES = (
    *("169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "100.100.100.200", "168.63.129.16"),
    *("192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe", "fd00:42::42"),
    *("::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe"),
    *("::ffff:0:169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b::6464:64c8", "::ffff:100.100.100.200"),
)
SAME_ADDRESS_OTHERWISE = (
    # loopback and the metadata address in notations that a resolver or a URL parser would read as them
    *("http://2130706433/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0x7f000001/"),
    *("http://0x7f.0.0.1/", "http://127.0.0.0x1/", "http://017700000001/", "http://127.0.0.1./", "http://0/"),
    *("http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://256.1.1.1/"),
)
NORMALISED_TO_ADDRESS = ("http://１２７.0.0.1/", "http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://%31%32%37.0.0.1/")
LOCAL_NAMES = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "kafka",
    "a.localhost",
    "printer.local",
    "x.internal",
    "x.home.arpa",
)
BROKEN_URLS = (
    *(
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://a.com#@b.com",
    ),
    *("https:\\\\example.com", "https://example.com\\@10.0.0.1/", "//example.com/", "/hook", "example.com/hook", ""),
    *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "https:example.com"),
    *("https://exa\tmple.com/", "https://example.com/\n", " https://example.com/", "https://example.com/a b"),
    *("https://example.com/\x00", "https://example.com/ü", "https://bücher.example/", "https://example.com/%zz"),
    *("https://", "https:///hook", "https://:443/", "https://ex%61mple.com/", "https://-a.com/", "https://a..b.com/"),
    *("https://" + "a" * 64 + ".com/", "https://" + "a.b" * 100 + ".com/", "https://example.com/" + "a" * 2_048),
    *(
        "https://[::1",
        "https://[v1.x]/",
        "https://exa[mple.com/",
        "https://example.com:https/",
        "https://example.com:/",
    ),
)
REFUSED_PORTS = (0, 22, 25, 53, 110, 389, 445, 2181, 5432, 6379, 9092, 65_536, 99_999)


@pytest.mark.requirement("W1")
@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_leads_inside_is_refused(address: str) -> None:
    assert forbidden_reason(ip_address(address)) is not None
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(TargetForbidden, match="private, local or reserved"):
        parse_target(f"https://{host}/", allow_private=False)


@pytest.mark.requirement("W1")
@pytest.mark.parametrize("address", METADATA_ADDRESSES)
def test_a_metadata_service_is_no_target_even_in_development(address: str) -> None:
    assert forbidden_reason(ip_address(address), allow_private=True) == METADATA
    host = f"[{address}]" if ":" in address else address
    for allow_private in (False, True):
        with pytest.raises(TargetForbidden):
            parse_target(f"http://{host}/latest/meta-data/", allow_private)


@pytest.mark.requirement("W1")
@pytest.mark.parametrize(
    "name", ["metadata.google.internal", "Metadata.Google.Internal.", "instance-data", "metadata.goog"]
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_a_metadata_services_name_is_no_target(name: str, allow_private: bool) -> None:
    with pytest.raises(TargetForbidden):
        parse_target(f"http://{name}/", allow_private)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:10.0.0.1", "8.8.8.8"]
)
def test_development_takes_ones_own_network(address: str) -> None:
    assert forbidden_reason(ip_address(address), allow_private=True) is None


@pytest.mark.requirement("W1")
@pytest.mark.parametrize("address", ALLOWED_ADDRESSES)
def test_a_public_address_is_taken(address: str) -> None:
    assert forbidden_reason(ip_address(address)) is None
    host = f"[{address}]" if ":" in address else address
    target = parse_target(f"https://{host}/hook", allow_private=False)
    assert target.address == ip_address(address)


@pytest.mark.requirement("W2")
@pytest.mark.parametrize("url", SAME_ADDRESS_OTHERWISE)
def test_an_address_in_another_notation_is_refused(url: str) -> None:
    with pytest.raises(TargetForbidden):
        parse_target(url, allow_private=False)


@pytest.mark.requirement("W3")
@pytest.mark.parametrize("url", NORMALISED_TO_ADDRESS)
@pytest.mark.parametrize("allow_private", [False, True])
def test_what_others_would_normalise_is_refused(url: str, allow_private: bool) -> None:
    with pytest.raises(TargetForbidden):
        parse_target(url, allow_private)


@pytest.mark.requirement("W1")
@pytest.mark.parametrize("name", LOCAL_NAMES)
def test_a_name_that_stays_inside_is_for_development(name: str) -> None:
    with pytest.raises(TargetForbidden, match="local to a network"):
        parse_target(f"http://{name}:8080/hook", allow_private=False)
    assert parse_target(f"http://{name}:8080/hook", allow_private=True).host == name.lower().removesuffix(".")


@pytest.mark.parametrize("url", BROKEN_URLS)
@pytest.mark.parametrize("allow_private", [False, True])
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str, allow_private: bool) -> None:
    with pytest.raises(TargetForbidden):
        parse_target(url, allow_private)


@pytest.mark.parametrize("port", REFUSED_PORTS)
def test_a_port_of_another_service_is_refused(port: int) -> None:
    with pytest.raises(TargetForbidden, match=f"the port {port} is not allowed"):
        parse_target(f"https://example.com:{port}/", allow_private=True)


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/Hook", "https://example.com/Hook"),
        ("http://example.com:80?a=b", "http://example.com/?a=b"),
        ("https://example.com.:8443/a/../b?x=%2F&y=[1]", "https://example.com:8443/a/../b?x=%2F&y=[1]"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://a_b.example.com/", "https://a_b.example.com/"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
    ],
)
def test_a_good_url_is_dialled_as_it_was_checked(url: str, dialled: str) -> None:
    assert parse_target(url, allow_private=False).url == dialled


def test_development_takes_private_addresses() -> None:
    target = parse_target("http://127.0.0.1:8080/hook", allow_private=True)
    assert (target.scheme, target.host, target.port) == ("http", "127.0.0.1", 8080)
    assert parse_target("http://[::1]:8080/", allow_private=True).address == IPv6Address("::1")


def test_the_message_tells_what_to_change() -> None:
    with pytest.raises(TargetForbidden, match="no user name or password"):
        parse_target("https://user:secret@example.com/", allow_private=False)
    with pytest.raises(TargetForbidden, match="http or https"):
        parse_target("ftp://example.com/", allow_private=False)
