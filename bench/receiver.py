"""A workflow's endpoint in a process of its own, which notes when each delivery arrived: `python -m bench.receiver`.

It prints its port, answers every POST with 200 at once, and `GET /arrivals` with `[[event id, monotonic ns], …]`, the
first arrival of each event. The monotonic clock is one for all processes of a machine. It ends with its parent's pipe.
"""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvloop

ROOT = Path(__file__).parents[1]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Endpoint(asyncio.Protocol):
    """One connection: heads with Content-Length, one request after the other."""

    def __init__(self, arrivals: dict[str, int]) -> None:
        self._arrivals = arrivals
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(head, body, now_ns)

    def _answer(self, head: bytes, body: bytes, now_ns: int) -> None:
        assert self._transport is not None
        if head.startswith(b"get /arrivals"):
            told = json.dumps(list(self._arrivals.items())).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
            return
        self._transport.write(OK)
        self._arrivals.setdefault(json.loads(body)["id"], now_ns)


class Receiver:
    """The process as its starter sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def arrivals(self) -> dict[str, int]:
        """When each event's first delivery came, by event id, in monotonic nanoseconds."""
        with urllib.request.urlopen(self.url + "/arrivals", timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A running one; it is gone after the block."""
    command = [sys.executable, "-m", "bench.receiver"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Receiver(int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


async def serve() -> None:
    arrivals: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(arrivals), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
