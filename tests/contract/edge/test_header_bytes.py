"""Bytes beyond ASCII in a call's head: recorded, passed on as they are, or refused; nothing is lost to anybody."""

import asyncio
import json

import pytest

from ingest_gateway.surfaces.burn.edge.heads import answer_headers
from schemas.commands.answers import DONE
from schemas.guardrail_policy import BudgetMode
from schemas.records import Verdict
from tests.support.edge_surface import TOKEN, EdgeSurface

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}).encode()
PATHS = {"openai": b"/openai/v1/chat/completions", "anthropic": b"/anthropic/v1/messages"}
LATIN, UTF8 = b"Jos\xe9", "José".encode()


async def ask(edge: EdgeSurface, *lines: bytes, path: bytes = PATHS["openai"]) -> tuple[int, bytes]:
    """By hand: HTTP libraries write no such bytes."""
    host, port = edge.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: " + host.encode(),
        b"Content-Type: application/json",
        b"AtlasBurn-API-Key: " + TOKEN.encode(),
        b"Content-Length: %d" % len(BODY),
        b"Connection: close",
        *lines,
    ]
    writer.write(b"\r\n".join(head) + b"\r\n\r\n" + BODY)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), body


@pytest.mark.parametrize(("written", "read"), [(LATIN, "José"), (UTF8, "José"), (b"\xff\xfe", "ÿþ")])
@pytest.mark.parametrize(
    ("header", "field"),
    [
        (b"AtlasBurn-User", "user"),
        (b"AtlasBurn-Project", "project"),
        (b"AtlasBurn-Session-Id", "session_id"),
        (b"AtlasBurn-Trace-Id", "trace_id"),
    ],
)
async def test_labels_are_recorded(edge: EdgeSurface, header: bytes, field: str, written: bytes, read: str) -> None:
    """As UTF-8 where they are that, else as Latin-1."""
    status, _ = await ask(edge, header + b": " + written)
    assert status == 200
    [call] = await edge.wait_for_calls(1)
    assert getattr(call, field) == read
    assert header.decode().lower() not in edge.stub.calls[0].names


async def test_a_trace_parent_too(edge: EdgeSurface) -> None:
    assert (await ask(edge, b"AtlasBurn-Retry-Count: \xb2"))[0] == 200
    status, body = await ask(edge, b"traceparent: 00-\xe9-b7ad-01")
    assert (status, json.loads(body)["_atlasburn"]["reason"]) == (400, "header_not_utf8"), "this one goes on"
    [call] = await edge.wait_for_calls(1)
    assert (call.trace_id, call.retry_count) == ("", 0)


@pytest.mark.requirement("F54")
async def test_under_a_strict_budget_too(edge: EdgeSurface) -> None:
    edge.set_policy(budget_mode=BudgetMode.STRICT)
    edge.log.decide = lambda _record, _payload: Verdict(correlation=b"", outcome=DONE, status=200)
    assert (await ask(edge, b"AtlasBurn-User: " + LATIN))[0] == 200
    [call] = await edge.wait_for_calls(1)
    assert call.user == "José"


@pytest.mark.parametrize("provider", PATHS)
async def test_what_cant_go_on_as_it_is_is_refused_in_the_providers_shape(edge: EdgeSurface, provider: str) -> None:
    status, body = await ask(edge, b"X-Title: " + LATIN, path=PATHS[provider])
    told = json.loads(body)
    assert (status, told["_atlasburn"]["reason"]) == (400, "header_not_utf8")
    assert told["error"]["message"].startswith("The header X-Title holds bytes that are not UTF-8")
    assert told.get("type") == ("error" if provider == "anthropic" else None)
    assert edge.stub.calls == []


async def test_what_is_utf8_goes_on_byte_for_byte(edge: EdgeSurface) -> None:
    assert (await ask(edge, b"X-Title: " + UTF8))[0] == 200
    assert edge.stub.calls[0].header("X-Title").encode() == UTF8


def test_a_providers_header_beyond_utf8_is_no_loss() -> None:
    """As aiohttp gives it; what goes to the caller has the letter and not a gap."""
    assert answer_headers([("x-region", "K\udcf6ln")], [])["x-region"] == "Köln"
