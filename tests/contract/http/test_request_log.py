"""The line that each request leaves in the log: found by the answer's request id, one line whatever it was sent."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from operations.logs import JsonFormatter
from tests.contract.http.small_surface import SURFACE
from tests.contract.http.wire import Wire, get, post

SECRET = "hunter2-hunter2-hunter2"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process would write to standard error."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("gateway"))
    logger = logging.getLogger("atlas.http")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    return lambda: [orjson.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.requirement("A-071")
@pytest.mark.parametrize(
    ("sent", "operation", "status", "fault"),
    [
        (get("/things/1"), "thing", 200, None),
        (post("/work", b"{}"), "work", 200, None),
        (get("/nowhere"), "other", 404, "not_found"),
        (post("/unread", b"{}"), "unread", 401, "unauthenticated"),
        (get("/faulty"), "faulty", 400, "invalid_fields"),
        (get("/boom"), "boom", 500, "internal"),
    ],
)
async def test_a_request_is_found_by_the_id_in_its_answer(
    port: int, lines: Lines, sent: bytes, operation: str, status: int, fault: str | None
) -> None:
    async with Wire(port) as wire:
        await wire.send(sent)
        answer = await wire.answer()
    (line,) = [line for line in lines() if line["message"] == "request.answered"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["surface"], line["operation"], line["status"]) == (SURFACE, operation, status)
    assert line.get("fault") == fault
    assert line["method"] == sent.split(b" ")[0].decode() and line["address"] == "127.0.0.1"
    assert 0 < line["duration_ms"] < 60_000
    assert (line["level"] == "warning") == (status >= 500)


@pytest.mark.requirement("A-071", "A10")
async def test_what_is_no_request_is_found_too_with_its_reason_and_who_sent_it(
    port: int, written: io.StringIO, lines: Lines
) -> None:
    async with Wire(port) as wire:
        await wire.send(f"GET /things/1 HTTP/1.1\r\nHost: localhost\r\nX({SECRET}): 1\r\n\r\n".encode())
        answer = await wire.answer()
    (line,) = lines()
    assert (line["message"], line["request_id"]) == ("request.unreadable", answer.headers["x-request-id"])
    assert (line["status"], line["reason"], line["peer"]) == (400, "message", "127.0.0.1")
    assert SECRET not in written.getvalue()


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    "agent",
    [
        "\x1b[31mred\x1b[0m",
        'x","level":"error","message":"forged"}',
        "tab\tand\\backslash\x85next line\u2028separator",
        "half a pair \udcff",
        "ü" * 5_000,
    ],
    ids=["escape sequence", "quotes", "line ends of Unicode", "bytes beyond UTF-8", "long"],
)
async def test_no_user_agent_breaks_or_forges_a_line(port: int, written: io.StringIO, lines: Lines, agent: str) -> None:
    async with Wire(port) as wire:
        await wire.send(get("/things/1", f"User-Agent: {agent}"))
        answer = await wire.answer()
    text = written.getvalue()
    assert text.count("\n") == 1, "one request, one line"
    assert len(text.splitlines()) == 1 and text.isascii() and "\x1b" not in text
    (line,) = lines()
    assert line["request_id"] == answer.headers.get("x-request-id")
    assert line["level"] == "info" and len(line.get("user_agent", "")) <= 200


@pytest.mark.requirement("A10")
async def test_a_line_holds_no_query_header_or_body(port: int, written: io.StringIO) -> None:
    head = (f"Authorization: Bearer {SECRET}", f"Cookie: {SECRET}", f"Idempotency-Key: {SECRET}")
    async with Wire(port) as wire:
        for sent in (
            get(f"/things?token={SECRET}", *head),
            get(f"/things/{SECRET}", *head),
            get(f"/{SECRET}", *head),
            post("/echo", b'{"password":"%s"}' % SECRET.encode(), *head),
            post("/echo", SECRET.encode(), *head, kind=SECRET),
        ):
            await wire.send(sent)
            await wire.answer()
    assert written.getvalue().count("request.answered") == 5
    assert SECRET not in written.getvalue()
