"""The operations port bears what anybody on its network may do to it: nobody keeps a connection by saying nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from operations import operations_port
from operations.http_deadlines import Deadlines
from operations.operations_port import DEADLINES, Readiness, serve_operations

PATIENCE_SECONDS = 30
LINE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(deadlines: Deadlines) -> AsyncIterator[int]:
    runner: web.AppRunner = await serve_operations(Readiness(), "127.0.0.1", 0, deadlines)
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def opened(port: int, sent: bytes = b"") -> Opened:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return reader, writer


async def closed(connection: Opened) -> bytes:
    """What came until the server closed it."""
    reader, writer = connection
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def is_alive(port: int) -> bool:
    answer = await closed(await opened(port, LINE + b"Connection: close\r\n\r\n"))
    return answer.startswith(b"HTTP/1.1 200 ") and b"alive" in answer


# What is sent, and the answer's beginning; the connection ends by itself.
SLOW: list[tuple[str, bytes, bytes]] = [
    ("nothing", b"", b""),
    ("a part of the first line", b"GET /hea", b""),
    ("a head without its end", LINE, b""),
    ("nothing more after an answer", LINE + b"\r\n", b"HTTP/1.1 200 "),
    ("a second head without its end", LINE + b"\r\n" + LINE, b"HTTP/1.1 200 "),
    ("a body that does not come", LINE.replace(b"GET", b"POST") + b"Content-Length: 9\r\n\r\n", b"HTTP/1.1 405 "),
]


@pytest.mark.parametrize(("sent", "answer"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW])
async def test_a_hundred_that_are_slow_do_not_stay(sent: bytes, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_port, "LINGERING_SECONDS", 0.2)
    monkeypatch.setattr(operations_port, "KEEPALIVE_SECONDS", 0.5)
    async with serving(Deadlines(head_seconds=0.2)) as port:
        connections = [await opened(port, sent) for _ in range(100)]
        assert await is_alive(port)
        answers = await asyncio.gather(*(closed(connection) for connection in connections))
        assert all(one[:13] == answer for one in answers)


async def test_who_takes_nothing_of_the_answers_is_cut_off() -> None:
    async with serving(Deadlines(write_seconds=0.2)) as port:
        _reader, writer = await opened(port, LINE.replace(b"healthz", b"metrics") + b"\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        lost = asyncio.get_running_loop().create_task(_until_lost(writer))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await lost
        assert await is_alive(port)


async def _until_lost(writer: asyncio.StreamWriter) -> None:
    """Asks on and on, so that answers fill what the system keeps for a connection."""
    try:
        while True:
            writer.write((LINE.replace(b"healthz", b"metrics") + b"\r\n") * 200)
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        writer.close()


async def test_a_probe_gets_in_however_many_hold_connections() -> None:
    """The oldest make room; by default there are a hundred."""
    assert DEADLINES.connections_max == 100
    async with serving(Deadlines(head_seconds=600, connections_max=5)) as port:
        holding = [await opened(port, LINE) for _ in range(8)]
        assert [await closed(connection) for connection in holding[:3]] == [b""] * 3
        assert await is_alive(port)
        reader, writer = holding[-1]
        writer.write(b"\r\n")
        assert (await reader.read(13)).startswith(b"HTTP/1.1 200 "), "the newest goes on"
        for _, writer in holding:
            writer.close()
