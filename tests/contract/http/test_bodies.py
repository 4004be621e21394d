"""Bodies: size, coding, type, expectation, lines. Rows H15 to H20, J17."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from ingest_gateway.http.lines import LineSplitter, LineTooLong
from tests.contract.http.small_surface import BODY_BYTES_MAX, LINE_BYTES_MAX, LINES_BYTES_MAX, Handled
from tests.contract.http.wire import Wire, chunk, chunked, post, request

JSON = "Content-Type: application/json"
EXACT, ABOVE = b"x" * BODY_BYTES_MAX, b"x" * (BODY_BYTES_MAX + 1)
ZEROS_50_MB = gzip.compress(bytes(50_000_000))
GZIP, DEFLATE = "Content-Encoding: gzip", "Content-Encoding: deflate"
PACKED = gzip.compress(b'{"a":1}')


PACKED_HALVES = gzip.compress(b'{"a"') + gzip.compress(b":1}")
EACH_BYTE = [b"%c" % number for number in b"one member each"]


def raw_deflate(data: bytes, level: int = 9) -> bytes:
    packer = zlib.compressobj(level, wbits=-15)
    return packer.compress(data) + packer.flush()


TAKEN = [
    ("H15", "as large as allowed", post("/echo", EXACT), EXACT),
    ("H15", "the same in chunks", chunked("/echo", *[chunk(b"x" * 100)] * 100), EXACT),
    ("H16", "gzip", post("/echo", PACKED, GZIP), b'{"a":1}'),
    ("H16", "gzip in chunks", chunked("/echo", *(chunk(bytes([b])) for b in PACKED), head=(JSON, GZIP)), b'{"a":1}'),
    ("H16", "gzip of nothing", post("/echo", gzip.compress(b""), GZIP), b""),
    ("H16", "gzip of as much as allowed", post("/echo", gzip.compress(EXACT), GZIP), EXACT),
    ("H16", "gzip in two members", post("/echo", PACKED_HALVES, GZIP), b'{"a":1}'),
    (
        "H16",
        "two members in chunks",
        chunked("/echo", *(chunk(bytes([b])) for b in PACKED_HALVES), head=(JSON, GZIP)),
        b'{"a":1}',
    ),
    ("H16", "an empty member between", post("/echo", PACKED + gzip.compress(b"") + PACKED, GZIP), b'{"a":1}' * 2),
    ("H16", "a member a byte", post("/echo", b"".join(map(gzip.compress, EACH_BYTE)), GZIP), b"".join(EACH_BYTE)),
    ("H16", "as much as allowed in two", post("/echo", gzip.compress(EXACT[1:]) + gzip.compress(b"x"), GZIP), EXACT),
    ("H18", "gzip by its old name", post("/echo", PACKED, "Content-Encoding: x-gzip"), b'{"a":1}'),
    ("H18", "deflate without zlib's wrapper", post("/echo", raw_deflate(b"{}"), DEFLATE), b"{}"),
    (
        "H18",
        "the same in chunks",
        chunked("/echo", *(chunk(bytes([b])) for b in raw_deflate(b"{}")), head=(JSON, DEFLATE)),
        b"{}",
    ),
    ("H18", "stored blocks", post("/echo", raw_deflate(b"{}", level=0), DEFLATE), b"{}"),
    ("H18", "deflate", post("/echo", zlib.compress(b"{}"), DEFLATE), b"{}"),
    ("H18", "case", post("/echo", PACKED, "Content-Encoding: GZip"), b'{"a":1}'),
    ("H18", "identity", post("/echo", b"{}", "Content-Encoding: identity"), b"{}"),
    ("H20", "charset", post("/echo", b"{}", kind="application/json; charset=utf-8"), b"{}"),
    ("H20", "charset in quotes", post("/echo", b"{}", kind='Application/JSON;Charset="UTF-8"'), b"{}"),
    ("H20", "the other allowed type", post("/echo", b"{}", kind="application/x-ndjson"), b"{}"),
    ("H20", "an empty body", post("/echo", b""), b""),
]

REFUSED = [
    ("H15", "one byte more", post("/echo", ABOVE), 413),
    ("H15", "one byte more in chunks", chunked("/echo", chunk(EXACT), chunk(b"x")), 413),
    ("H15", "more than any route takes", post("/echo", b"x" * 2_000_001), 413),
    ("H16", "no gzip", post("/echo", b"garbage", GZIP), 400),
    ("H16", "empty", post("/echo", b"", GZIP), 400),
    ("H16", "cut short", post("/echo", PACKED[:-1], GZIP), 400),
    ("H16", "wrong checksum", post("/echo", PACKED[:-8] + b"\x00" * 8, GZIP), 400),
    ("H16", "bytes behind it", post("/echo", PACKED + b"x", GZIP), 400),
    ("H16", "zeros behind it", post("/echo", PACKED + bytes(512), GZIP), 400),
    ("H16", "a second member cut short", post("/echo", PACKED + PACKED[:-1], GZIP), 400),
    ("H16", "a second member's checksum", post("/echo", PACKED + PACKED[:-8] + bytes(8), GZIP), 400),
    ("H16", "a member in another coding", post("/echo", PACKED + zlib.compress(b"{}"), GZIP), 400),
    ("H16", "members without end", post("/lines", gzip.compress(b"") * 20_001, GZIP), 400),
    ("H16", "bytes behind zlib", post("/echo", zlib.compress(b"{}") + b"x", DEFLATE), 400),
    ("H16", "a second zlib stream", post("/echo", zlib.compress(b"{}") * 2, DEFLATE), 400),
    ("H16", "bytes behind raw deflate", post("/echo", raw_deflate(b"{}") + b"x", DEFLATE), 400),
    ("H16", "zlib cut short", post("/echo", zlib.compress(b"{}")[:-1], DEFLATE), 400),
    ("H16", "raw deflate cut short", post("/echo", raw_deflate(b"{}")[:-1], DEFLATE), 400),
    ("H16", "one byte of deflate", post("/echo", b"\x78", DEFLATE), 400),
    ("H16", "gzip called deflate", post("/echo", PACKED, DEFLATE), 400),
    ("H16", "zlib called gzip", post("/echo", zlib.compress(b"{}"), GZIP), 400),
    ("H17", "one byte more in two members", post("/echo", gzip.compress(EXACT) + gzip.compress(b"x"), GZIP), 413),
    ("H17", "one byte more, unpacked", post("/echo", gzip.compress(ABOVE), GZIP), 413),
    ("H18", "unknown", post("/echo", b"{}", "Content-Encoding: br"), 415),
    ("H18", "unknown to all", post("/echo", b"{}", "Content-Encoding: rot13"), 415),
    ("H18", "a list", post("/echo", PACKED, "Content-Encoding: gzip, gzip"), 415),
    ("H18", "empty", post("/echo", b"{}", "Content-Encoding: "), 415),
    ("H18", "twice", post("/echo", PACKED, GZIP, GZIP), 400),
    ("H20", "missing", request("POST", "/echo", "Content-Length: 2") + b"{}", 415),
    ("H20", "text", post("/echo", b"{}", kind="text/plain"), 415),
    ("H20", "charset", post("/echo", b"{}", kind="application/json; charset=utf-16"), 415),
    ("H20", "parameter", post("/echo", b"{}", kind="application/json; version=1"), 415),
    ("H20", "only the start", post("/echo", b"{}", kind="application/jsonp"), 415),
    ("H20", "a list", post("/echo", b"{}", kind="application/json, text/plain"), 415),
]


@pytest.mark.requirement("H15", "H16", "H18", "H20")
@pytest.mark.parametrize(("row", "what", "sent", "body"), TAKEN, ids=[f"{row[0]}-{row[1]}" for row in TAKEN])
async def test_a_good_body_is_read_whole(
    port: int, handled: Handled, row: str, what: str, sent: bytes, body: bytes
) -> None:
    async with Wire(port) as wire:
        await wire.send(sent)
        assert (await wire.answer()).status == 200
        assert handled.bodies == [body]
        assert await wire.is_open()


@pytest.mark.requirement("H15", "H16", "H17", "H18", "H20")
@pytest.mark.parametrize(("row", "what", "sent", "status"), REFUSED, ids=[f"{row[0]}-{row[1]}" for row in REFUSED])
async def test_a_bad_body_is_refused(
    port: int, handled: Handled, row: str, what: str, sent: bytes, status: int
) -> None:
    async with Wire(port) as wire:
        await wire.send(sent)
        assert (await wire.answer()).status == status
        assert handled.bodies == []
    async with Wire(port) as wire:
        assert await wire.is_open()


@pytest.mark.requirement("H15")
async def test_a_body_declared_too_large_is_answered_before_it_comes(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/echo", JSON, f"Content-Length: {BODY_BYTES_MAX * 10}"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await wire.is_closed()


@pytest.mark.requirement("H15")
async def test_an_endless_body_is_answered_and_cut_off(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/echo", JSON, "Transfer-Encoding: chunked"))
        for _ in range(100_000):
            await wire.send(chunk(b"x" * 1_000))
            if wire.has_input:
                break
        assert (await wire.answer()).status == 413
        assert await wire.is_closed()


@pytest.mark.requirement("H17")
async def test_a_gzip_bomb_is_not_unpacked_beyond_the_bound(port: int) -> None:
    assert len(ZEROS_50_MB) < 100_000
    bomb = chunked(
        "/lines", *(chunk(ZEROS_50_MB[at : at + 1_000]) for at in range(0, 49_000, 1_000)), head=(JSON, GZIP)
    )
    async with Wire(port) as wire:
        tracemalloc.start()
        try:
            await wire.send(bomb)
            answer = await wire.answer()
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert answer.status == 413
    assert peak_bytes < 2_000_000


@pytest.mark.requirement("H19")
@pytest.mark.parametrize(
    ("expectation", "length", "first", "status"),
    [
        ("foo", 7, b"HTTP/1.1 417 Expectation Failed\r\n", 417),
        ("100-continue, foo", 7, b"HTTP/1.1 417 Expectation Failed\r\n", 417),
        ("100-continue", BODY_BYTES_MAX + 1, b"HTTP/1.1 413 Request Entity Too Large\r\n", 413),
        ("100-continue", 2_000_001, b"HTTP/1.1 413 Request Entity Too Large\r\n", 413),
    ],
)
async def test_a_client_that_asks_first_is_told_before_it_sends(
    port: int, expectation: str, length: int, first: bytes, status: int
) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/echo", JSON, f"Content-Length: {length}", f"Expect: {expectation}"))
        assert await wire.line() == first


@pytest.mark.requirement("H19")
async def test_a_client_that_asks_first_may_send_a_body_that_is_wanted(port: int, handled: Handled) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/echo", JSON, "Content-Length: 7", "Expect: 100-Continue"))
        assert await wire.line() == b"HTTP/1.1 100 Continue\r\n"
        assert await wire.line() == b"\r\n"
        await wire.send(b'{"a":1}')
        assert (await wire.answer()).status == 200
        assert handled.bodies == [b'{"a":1}']
        assert await wire.is_open()


@pytest.mark.requirement("H19")
async def test_a_client_that_asks_first_is_not_asked_for_a_body_that_nobody_reads(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/unread", JSON, "Content-Length: 7", "Expect: 100-continue"))
        assert await wire.line() == b"HTTP/1.1 401 Unauthorized\r\n"


async def test_a_small_body_that_nobody_read_costs_no_connection(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("POST", "/unread", JSON, "Content-Length: 7"))
        assert (await wire.answer()).status == 401
        await wire.send(b'{"a":1}')
        assert await wire.is_open()


LONG = b"l" * LINE_BYTES_MAX
LINES: list[tuple[str, bytes, list[object]]] = [
    ("none", b"", []),
    ("one without an end", b"a", ["a"]),
    ("LF", b"a\nb\n", ["a", "b"]),
    ("CRLF", b"a\r\nb\r\n", ["a", "b"]),
    ("no last end", b"a\nb", ["a", "b"]),
    ("blank ones", b"\n\r\n  \t\na\n\n\nb\n\n", ["a", "b"]),
    ("blank ones with blanks", b"a\n" + b" \t\r\n" * 500 + b" b \n \n  c", ["a", " b ", "  c"]),
    ("a CR inside", b"a\rb\n", ["a\rb"]),
    ("as long as allowed", LONG + b"\n" + LONG + b"\r\n" + LONG, [LONG.decode()] * 3),
    ("one byte more", LONG + b"x\nb\n" + LONG + b"x\r\n", ["too long", "b", "too long"]),
    ("one byte more at the end", b"a\n" + LONG + b"x", ["a", "too long"]),
    ("far too long among good", b"a\n\n" + b"x" * 100_000 + b"\nb", ["a", "too long", "b"]),
]  # fmt: skip


@pytest.mark.requirement("J17")
@pytest.mark.parametrize(("what", "body", "lines"), LINES, ids=[what for what, _, _ in LINES])
async def test_lines_are_read_one_by_one(port: int, what: str, body: bytes, lines: list[object]) -> None:
    ways = {
        "whole": post("/lines", body),
        "in chunks": chunked("/lines", *(chunk(body[at : at + 7]) for at in range(0, len(body), 7))),
        "packed": post("/lines", gzip.compress(body), GZIP),
    }
    async with Wire(port) as wire:
        for way, sent in ways.items():
            await wire.send(sent)
            assert (way, (await wire.answer()).json) == (way, lines)


@pytest.mark.requirement("J17")
@pytest.mark.parametrize(("what", "body", "lines"), LINES, ids=[what for what, _, _ in LINES])
@pytest.mark.parametrize("size", [1, 2, 3, 999, 1_001, 1_000_000])
def test_lines_come_out_the_same_however_they_are_cut(what: str, body: bytes, lines: list[object], size: int) -> None:
    splitter = LineSplitter(LINE_BYTES_MAX)
    found = [line for at in range(0, len(body), size) for line in splitter.feed(body[at : at + size])]
    found += splitter.end()
    told = ["too long" if isinstance(line, LineTooLong) else line.decode() for line in found]
    assert told == lines


@pytest.mark.requirement("J17")
def test_a_line_without_end_is_not_held() -> None:
    splitter = LineSplitter(LINE_BYTES_MAX)
    tracemalloc.start()
    try:
        for _ in range(32_000):
            assert not list(splitter.feed(b"x" * 1_000))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert list(splitter.end()) == [LineTooLong()]
    assert peak_bytes < 100_000


@pytest.mark.requirement("J17")
@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"\t \r\n"])
def test_blank_lines_are_passed_over_many_at_once(blank: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a body of line ends alone would take the gateway's time for as long as it liked."""
    steps = 0
    step = LineSplitter._line

    def counted(self: LineSplitter) -> Iterator[bytes | LineTooLong]:
        nonlocal steps
        steps += 1
        return step(self)

    monkeypatch.setattr(LineSplitter, "_line", counted)
    splitter = LineSplitter(LINE_BYTES_MAX)
    body = b"a\n" + blank * 100_000 + b"b\n" + blank * 100_000
    found = [line for at in range(0, len(body), 65_536) for line in splitter.feed(body[at : at + 65_536])]
    assert found == [b"a", b"b"]
    assert steps < 50


@pytest.mark.requirement("J17", "H15")
async def test_lines_beyond_the_body_bound_are_refused(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(chunked("/lines", *[chunk(b"x\n" * 5_000)] * (LINES_BYTES_MAX // 10_000 + 1)))
        assert (await wire.answer()).status == 413
