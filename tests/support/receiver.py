"""A local HTTP endpoint that does as it is told: answers, hangs, drips, breaks off, talks nonsense.

    with Receiver() as receiver:
        receiver.script("/hook", answer(503), answer(200))   # the last one repeats; without a script: 200
        ... POST to receiver.url + "/hook" ...
        first, *_ = receiver.wait_for(1)
        assert first.body == b"…"

It runs in a thread with a loop of its own, so tests may block or not. Requests are kept with their raw bytes, in order
of arrival, before they are answered. It speaks enough HTTP/1.1 for one client: a head, then Content-Length bytes.
"""

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

READ_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """`connection` counts from 1; `headers` have lower-case names, the last of equal ones wins."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; returns whether the connection stays open."""


def answer(status: int = 200, body: bytes = b"", *headers: str, after_seconds: float = 0.0) -> Behaviour:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body, after_seconds=after_seconds, keep=True)


def raw(sent: bytes, *, after_seconds: float = 0.0, keep: bool = False) -> Behaviour:
    """These bytes, whatever they mean."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(after_seconds)
        writer.write(sent)
        await writer.drain()
        return keep

    return behave


def once(event: threading.Event, then: Behaviour) -> Behaviour:
    """As `then` does, once the test has set the event. Ends with the receiver, set or not."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while not event.is_set():  # noqa: ASYNC110 the test sets it in another thread
            await asyncio.sleep(0.01)
        return await then(reader, writer)

    return behave


def hang() -> Behaviour:
    """Takes the request and says nothing until the client leaves."""
    return drip(b"", 3_600)


def drip(sent: bytes, every_seconds: float, first: bytes = b"") -> Behaviour:
    """`first` at once, then a byte at a time, then silence until the client leaves."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(first)
        for byte in sent:
            await asyncio.sleep(every_seconds)
            writer.write(bytes((byte,)))
            await writer.drain()
        await reader.read()
        return False

    return behave


def endless(first: bytes, repeated: bytes) -> Behaviour:
    """`repeated` as fast as the client takes it, until the client leaves."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(first)
        while True:
            writer.write(repeated)
            await writer.drain()

    return behave


def reset() -> Behaviour:
    """The connection is reset without an answer."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.transport.abort()
        return False

    return behave


def close() -> Behaviour:
    """The connection is closed without an answer."""
    return raw(b"")


class Receiver:
    """`tls`: serves HTTPS with this context. `requests` grows as they arrive."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self._tls = tls
        self._host, self.port = host, port
        self._scripts: dict[str, list[Behaviour]] = {}
        self._changed = threading.Condition()
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}"

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """What the next requests of this path get, one each; the last one goes on for all others."""
        self._scripts[path] = list(behaviours)

    def wait_for(self, count: int, timeout_seconds: float = 60.0) -> list[Request]:
        """All requests so far, once there are `count` of them. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.requests)} requests of {count} after {timeout_seconds} s")
            return list(self.requests)

    def wait_until_closed(self, timeout_seconds: float = 60.0) -> None:
        """Until no client's connection is open. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.open_connections == 0, timeout_seconds):
                raise TimeoutError(f"{self.open_connections} connections are still open")

    def drop_connections(self) -> None:
        """Closes every open connection, as a server does with idle ones."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(5)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        self._started.wait(10)
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(
            self._connection, self._host, self.port, ssl=self._tls, limit=READ_BUFFER_BYTES, backlog=1_024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _drop(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count(opened=1)
        self._writers.add(writer)
        number = self.connections
        try:
            while await self._answer_one(number, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._writers.discard(writer)
            writer.close()
            self._count(opened=-1)

    async def _answer_one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        method, path, _version = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(number, method, path, headers, body, time.monotonic())
        behaviour = self._next(path)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return await behaviour(reader, writer)

    def _next(self, path: str) -> Behaviour:
        script = self._scripts.get(path)
        if not script:
            return answer(200)
        return script.pop(0) if len(script) > 1 else script[0]

    def _count(self, opened: int) -> None:
        with self._changed:
            self.connections += max(0, opened)
            self.open_connections += opened
            self._changed.notify_all()
