"""A client made of a bare socket: it sends what it is told, and tells what came back."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

PATIENCE_SECONDS = 20.0  # never part of a verdict: only ends a test that hangs


@dataclass(frozen=True)
class Answer:
    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def kind(self) -> str:
        return str(self.json["error"]["kind"])


class Wire:
    """One connection. Used with `async with`."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def has_input(self) -> bool:
        """Whether the server has said something, or ended the connection."""
        return bool(self._reader._buffer) or self._reader.at_eof()  # type: ignore[attr-defined]

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        with suppress(ConnectionError):  # the server closed early: what it answered is still to be read
            await asyncio.wait_for(self._writer.drain(), PATIENCE_SECONDS)

    def stop_reading(self) -> None:
        """Takes nothing more from the server, so that its answers pile up there."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def answer(self) -> Answer:
        """The next answer; AssertionError when the connection ends before one."""
        head = await self._read_head()
        while head.startswith(b"HTTP/1.1 100"):
            head = await self._read_head()
        first, *fields = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = await self._within(self._reader.readexactly(int(headers.get("content-length", "0"))))
        return Answer(version, int(status), headers, body)

    async def line(self) -> bytes:
        return await self._within(self._reader.readline())

    async def is_closed(self) -> bool:
        """Whether the server ends the connection with nothing more said."""
        try:
            return await self._within(self._reader.read()) == b""
        except ConnectionError:
            return True

    async def is_open(self) -> bool:
        """Whether another request is answered on it."""
        await self.send(get("/things/again"))
        return (await self.answer()).status == 200

    async def _read_head(self) -> bytes:
        try:
            head = await self._within(self._reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError as error:
            raise AssertionError(f"closed without an answer, after {error.partial!r}") from None
        return head.removesuffix(b"\r\n\r\n")

    async def _within(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        return await asyncio.wait_for(reading, PATIENCE_SECONDS)


def get(target: str, *headers: str, host: str = "localhost") -> bytes:
    return request("GET", target, *headers, host=host)


def post(target: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    return request("POST", target, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers) + body


def chunked(target: str, *chunks: bytes, head: tuple[str, ...] = ("Content-Type: application/json",)) -> bytes:
    """A whole request in chunks; each chunk is given with its size line and end."""
    return request("POST", target, *head, "Transfer-Encoding: chunked") + b"".join(chunks) + b"0\r\n\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def request(method: str, target: str, *headers: str, host: str = "localhost") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")
