"""Bytes in → status and connection out: framing, hosts, targets, headers. Rows H1 to H13, H21, H22, H24, H25."""

import pytest

from ingest_gateway.http.limits import HttpLimits
from tests.contract.http.conftest import Listen
from tests.contract.http.wire import Wire, chunk, chunked, get, post, request

GOOD = '{"a":1}'
JSON = "Content-Type: application/json"
LENGTH = f"Content-Length: {len(GOOD)}"
LONG = "x" * 8_191


def echo(*headers: str) -> bytes:
    return request("POST", "/echo", JSON, *headers) + GOOD.encode()


def head_line(line: bytes) -> bytes:
    return b"GET /things/1 HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n"


BROKEN = [
    ("H1", "length and coding", echo(LENGTH, "Transfer-Encoding: chunked")),
    ("H1", "coding and length", echo("Transfer-Encoding: chunked", LENGTH)),
    ("H2", "two lengths", echo(LENGTH, "Content-Length: 8")),
    ("H2", "two equal lengths", echo(LENGTH, LENGTH)),
    ("H2", "plus", echo("Content-Length: +7")),
    ("H2", "minus", echo("Content-Length: -1")),
    ("H2", "underscore", echo("Content-Length: 0_7")),
    ("H2", "list", echo("Content-Length: 7, 7")),
    ("H2", "23 digits", echo("Content-Length: 10000000000000000000007")),
    ("H2", "hexadecimal", echo("Content-Length: 0x7")),
    ("H3", "misspelt", echo("Transfer-Encoding: xchunked")),
    ("H3", "with identity", echo("Transfer-Encoding: chunked, identity")),
    ("H3", "chunked twice", echo("Transfer-Encoding: chunked, chunked")),
    ("H3", "two headers", echo("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
    ("H4", "gzip first", echo("Transfer-Encoding: gzip, chunked")),
    ("H4", "gzip", echo("Transfer-Encoding: gzip")),
    ("H4", "identity", echo("Transfer-Encoding: identity")),
    ("H4", "HTTP/1.0", b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}") + b"0\r\n\r\n"),
    ("H5", "space before colon", head_line(b"X-A : 1")),
    ("H5", "fold", head_line(b"X-A: 1\r\n  2")),
    ("H5", "NUL", head_line(b"X-A: a\x00b")),
    ("H5", "control", head_line(b"X-A: a\x01b")),
    ("H5", "bare CR", head_line(b"X-A: a\rb")),
    ("H5", "bare LF", b"GET /things/1 HTTP/1.1\nHost: localhost\n\n"),
    ("H5", "no name", head_line(b": 1")),
    ("H5", "odd name", head_line(b"X(A): 1")),
    ("H5", "no colon", head_line(b"nothing")),
    ("H6", "no host", b"GET /things/1 HTTP/1.1\r\n\r\n"),
    ("H6", "two hosts", head_line(b"Host: localhost")),
    ("H7", "space", get("/things/1", host="a b")),
    ("H7", "empty", get("/things/1", host="")),
    ("H7", "slash", get("/things/1", host="a/b")),
    ("H7", "userinfo", get("/things/1", host="me@localhost")),
    ("H7", "port of letters", get("/things/1", host="localhost:http")),
    ("H7", "beyond ASCII", get("/things/1", host="löcalhost")),
    ("H7", "300 characters", get("/things/1", host="a" * 300)),
    ("H8", "another host", get("http://evil.example/things/1")),
    ("H8", "another port", get("http://localhost:1/things/1")),
    ("H8", "another scheme", get("ftp://localhost/things/1")),
    ("H8", "userinfo", get("http://x@localhost/things/1")),
    ("H8", "tunnel", request("CONNECT", "localhost:443")),
    ("H9", "no version", b"GET /things/1\r\n\r\n"),
    ("H10", "1.2", b"GET /things/1 HTTP/1.2\r\nHost: localhost\r\n\r\n"),
    ("H10", "2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("H10", "TLS", bytes.fromhex("16030100a5010000a10303") + bytes(range(160))),
    ("H10", "random", bytes(range(255, 0, -1))),
    ("H11", "request line", get("/things/" + LONG)),
    ("H11", "header", get("/things/1", "X-A: " + LONG)),
    ("H11", "name", get("/things/1", f"{LONG}: 1")),
    ("H11", "headers", get("/things/1", *(f"X-{number}: 1" for number in range(129)))),
    ("H12", "letters", chunked("/echo", b"zz\r\n{}\r\n")),
    ("H12", "0x", chunked("/echo", b"0x2\r\n{}\r\n")),
    ("H12", "plus", chunked("/echo", b"+2\r\n{}\r\n")),
    ("H12", "minus", chunked("/echo", b"-2\r\n{}\r\n")),
    ("H12", "2^72", chunked("/echo", b"1000000000000000000\r\n{}\r\n")),
    ("H12", "longer than said", chunked("/echo", b"1\r\n{}\r\n")),
    ("H12", "LF only", chunked("/echo", b"2\n{}\n")),
    ("H12", "no size", chunked("/echo", b"\r\n{}\r\n")),
    ("H13", "one extension of 9,000 bytes", chunked("/echo", chunk(b"{}", b";" + b"x" * 9_000))),
    ("H13", "one byte, 50 bytes of extension", chunked("/echo", *[chunk(b" ", b";" + b"x" * 50)] * 200)),
    ("H21", "lower case", request("get", "/things/1")),
    ("H21", "unknown", request("BREW", "/things/1")),
    ("H24", "key", echo(LENGTH, "Idempotency-Key: k\udcff")),
    ("H24", "key in UTF-8", echo(LENGTH, "Idempotency-Key: ké")),
    ("H24", "authorization", echo(LENGTH, "Authorization: Bearer \udc80")),
    ("H25", "authorization", echo(LENGTH, "Authorization: Bearer a", "Authorization: Bearer b")),
    ("H25", "the same twice", echo(LENGTH, "Idempotency-Key: a", "idempotency-key: a")),
    ("H25", "content type", echo(LENGTH, JSON)),
]


@pytest.mark.requirement("H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "H10", "H11", "H12", "H13", "H21")
@pytest.mark.requirement("H24", "H25")
@pytest.mark.parametrize(("row", "what", "sent"), BROKEN, ids=[f"{row}-{what}" for row, what, _ in BROKEN])
async def test_what_is_not_http_as_we_take_it_is_answered_400_and_closed(
    port: int, row: str, what: str, sent: bytes
) -> None:
    async with Wire(port) as wire:
        await wire.send(sent)
        answer = await wire.answer()
        assert (answer.status, answer.kind) == (400, "MALFORMED_REQUEST")
        assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["server"] == "atlas"
        assert await wire.is_closed()


@pytest.mark.requirement("H11")
async def test_a_thousand_trailers_are_refused(port: int) -> None:
    trailers = b"".join(b"X-%d: 1\r\n" % number for number in range(1_000))
    async with Wire(port) as wire:
        await wire.send(chunked("/echo", chunk(b"{}")).removesuffix(b"\r\n") + trailers + b"\r\n")
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()


TAKEN = [
    ("H4", "case", request("POST", "/echo", JSON, "Transfer-Encoding: Chunked") + chunk(b"{}") + b"0\r\n\r\n"),
    ("H7", "port", get("/things/1", host="localhost:8080")),
    ("H7", "address", get("/things/1", host="127.0.0.1")),
    ("H7", "IPv6", get("/things/1", host="[::1]:8080")),
    ("H7", "underscore", get("/things/1", host="ingest_gateway")),
    ("H8", "our host", get("http://LOCALHOST/things/1")),
    ("H13", "a short extension", chunked("/echo", chunk(b"{}", b";a=b"))),
    ("H13", "many chunks of a byte", chunked("/echo", *[chunk(b" ")] * 9_000)),
    ("H24", "UTF-8 in a header that nobody reads", get("/things/1", "User-Agent: Zoë")),
    ("H25", "lists", get("/things/1", "Accept: a/b", "Accept: c/d", "X-Forwarded-For: 1", "X-Forwarded-For: 2")),
    ("H21", "an offer to upgrade", request("POST", "/echo", JSON, LENGTH, "Connection: upgrade", "Upgrade: h2c")),
]


@pytest.mark.requirement("H4", "H7", "H8", "H13", "H24")
@pytest.mark.parametrize(("row", "what", "sent"), TAKEN, ids=[f"{row}-{what}" for row, what, _ in TAKEN])
async def test_what_is_odd_but_right_is_served(port: int, row: str, what: str, sent: bytes) -> None:
    if "upgrade" in what:
        sent += GOOD.encode()
    async with Wire(port) as wire:
        await wire.send(sent)
        assert (await wire.answer()).status == 200
        assert await wire.is_open()


BROKEN_LATE = [
    ("H12", b"zz\r\n"),
    ("H12", b"2\r\n{}}}"),
    ("H13", b"2;" + b"x" * 9_000),
    ("H11", b"0\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(1_000)) + b"\r\n"),
]


@pytest.mark.requirement("H11", "H12", "H13")
@pytest.mark.parametrize(("row", "rest"), BROKEN_LATE)
async def test_a_body_that_breaks_after_a_good_start_is_answered_400_at_once(port: int, row: str, rest: bytes) -> None:
    """The handler waits for the body by then; without help it would wait until its deadline."""
    async with Wire(port) as wire:
        await wire.send(request("POST", "/work", JSON, "Transfer-Encoding: chunked") + chunk(b"{"))
        assert await is_waiting_for_more(wire)
        await wire.send(rest)
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()


@pytest.mark.requirement("H13")
async def test_an_endless_chunk_extension_ends(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/work", JSON, "Transfer-Encoding: chunked") + b"2;")
        for _ in range(10_000):
            await wire.send(b"x" * 1_000)
            if wire.has_input:
                break
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()


HOSTS = [
    ("api.example.com", 200),
    ("API.example.com:8080", 200),
    ("api.example.com:1", 200),
    ("other.example.com:81", 200),
    ("other.example.com:82", 421),
    ("other.example.com", 421),
    ("evil.example.com", 421),
    ("api.example.com.evil.example", 421),
    ("127.0.0.1", 421),
    ("[::1]", 421),
]


@pytest.mark.requirement("H7")
async def test_only_hosts_on_the_list_are_served(listen: Listen) -> None:
    port = await listen(HttpLimits(allowed_hosts=frozenset({"api.example.com", "other.example.com:81"})))
    for host, status in HOSTS:
        async with Wire(port) as wire:
            await wire.send(get("/things/1", host=host))
            assert (host, (await wire.answer()).status) == (host, status)
            assert await wire.is_closed() if status == 421 else True
    async with Wire(port) as wire:
        await wire.send(b"GET /things/1 HTTP/1.0\r\n\r\n")
        assert (await wire.answer()).status == 400


METHODS = [
    (request("PUT", "/things/1"), "DELETE,GET,HEAD"),
    (request("POST", "/things/1", "Content-Length: 0"), "DELETE,GET,HEAD"),
    (get("/echo"), "POST"),
    (request("OPTIONS", "/echo"), "POST"),
    (request("PROPFIND", "/echo"), "POST"),
]


@pytest.mark.requirement("H21")
@pytest.mark.parametrize(("sent", "allow"), METHODS)
async def test_a_wrong_method_is_told_the_right_ones(port: int, sent: bytes, allow: str) -> None:
    async with Wire(port) as wire:
        await wire.send(sent)
        answer = await wire.answer()
        assert (answer.status, answer.kind, answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", allow)
        assert await wire.is_open()


PATHS_TO_NOTHING = [
    "/nowhere", "/", "//things/1", "/things/1/", "/THINGS/1",
    "/a/../../etc", "/things/..", "/things/.", "/things/%2e%2e", "/./things/1", "/things/../things/1",
    "/things/a%2fb", "/things/a%5cb", "/things/a\\b", "/things/%00", "/things/%0d%0a", "/things/%7f",
    "/things/%zz", "/things/%", "/things/%2", "/things/%c0%ae", "/things/%ff", "/things/%ed%a0%80",
]  # fmt: skip


@pytest.mark.requirement("H22")
@pytest.mark.parametrize("path", PATHS_TO_NOTHING)
async def test_a_path_that_hides_something_leads_nowhere(port: int, path: str) -> None:
    async with Wire(port) as wire:
        await wire.send(get(path))
        answer = await wire.answer()
        assert (answer.status, answer.kind) == (404, "NOT_FOUND")


@pytest.mark.requirement("H22")
@pytest.mark.parametrize(("path", "name"), [("/things/%C3%A9", "é"), ("/things/a%20b", "a b"), ("/things/.x", ".x")])
async def test_a_path_with_honest_escapes_leads_somewhere(port: int, path: str, name: str) -> None:
    async with Wire(port) as wire:
        await wire.send(get(path))
        assert (await wire.answer()).json == {"id": name}


@pytest.mark.requirement("H22")
@pytest.mark.parametrize("target", [b"/things/\xc3\xa9", b"/things/\xff", b"*"])
async def test_bytes_beyond_ascii_lead_nowhere(port: int, target: bytes) -> None:
    async with Wire(port) as wire:
        await wire.send(b"OPTIONS %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        assert (await wire.answer()).status in (400, 404)


async def is_waiting_for_more(wire: Wire) -> bool:
    """Another connection is served in the meantime, so what was sent before has been taken in; nothing is said."""
    async with Wire(wire.port) as other:
        return await other.is_open() and not wire.has_input


@pytest.mark.requirement("H12")
async def test_a_good_request_before_a_broken_one_is_answered(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(post("/echo", b"{}"))
        assert (await wire.answer()).status == 200
        await wire.send(b"\x00\x01\x02\r\n\r\n")
        assert (await wire.answer()).status == 400
        assert await wire.is_closed()
