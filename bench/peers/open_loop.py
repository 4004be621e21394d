"""Sends single events at a steady rate that waits for no answer, and notes how long each took from when it was due.

wrk sends a request only when an answer has come, so a gateway that stalls is asked less and the stall is counted once.
Here what is due waits in a queue while all connections are taken, and that wait counts. The loop's clock counts
milliseconds, so that a request starts up to one late, which counts too.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from bench.figures import Figures, figures_of
from bench.peers.events import SINGLE, Target, event, event_format

ANSWERED_SECONDS = 30.0
TICK_SECONDS = 0.001  # of less uvloop makes nothing, and the loop would spin
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Paced:
    """`refused`: answers that are not 2xx; `lost`: requests without an answer. `warm_up`: sent before those."""

    warm_up: int
    sent: int
    refused: int
    lost: int
    times: Figures
    client_cpu_seconds: float


def pace(target: Target, rate: float, seconds: float, warm_up_seconds: float) -> Paced:
    """`rate` requests a second; those of the warm-up are sent alike and not counted. Raises ConnectionError where no
    connection can be had, ValueError where nothing was answered.
    """
    return uvloop.run(_pace(target, rate, seconds, warm_up_seconds))


async def _pace(target: Target, rate: float, seconds: float, warm_up_seconds: float) -> Paced:
    waiting = Waiting()
    url = urlsplit(target.url(SINGLE))
    assert url.hostname is not None and url.port is not None
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(waiting), url.hostname, url.port))[0]
        for _ in range(SINGLE.connections)
    ]
    warm, count = round(rate * warm_up_seconds), round(rate * seconds)
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}"]
    lines += [f"{name}: {value}" for name, value in {**target.headers, "Content-Type": "application/json"}.items()]
    head = "\r\n".join([*lines, "Content-Length: "]).encode()
    template = event_format(secrets.token_hex(4), time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()))
    await _offer(waiting, head, template, rate, warm)
    waiting.expect(count)
    cpu_before = time.process_time()
    await _offer(waiting, head, template, rate, count, warm)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWERED_SECONDS):
            await waiting.all_answered.wait()
    cpu = time.process_time() - cpu_before
    for connection in connections:
        connection.close()
    return Paced(warm, count, waiting.refused, waiting.unanswered, figures_of(waiting.times_ns), cpu)


async def _offer(waiting: "Waiting", head: bytes, template: str, rate: float, count: int, first: int = 0) -> None:
    """All that is due is offered at once: the loop's clock counts milliseconds, in which several may be."""
    began_ns = time.monotonic_ns()
    number = 0
    while number < count:
        now_ns = time.monotonic_ns()
        while number < count and (due_ns := began_ns + round(number / rate * 1e9)) <= now_ns:
            body = event(template, first + number)
            waiting.offer(due_ns, b"%b%d%b%b" % (head, len(body), _HEAD_END, body))
            number += 1
        await asyncio.sleep(max(TICK_SECONDS, (due_ns - time.monotonic_ns()) / 1e9))


class Waiting:
    """Requests that are due and connections that are free: one of both is always empty. Mutable."""

    def __init__(self) -> None:
        self._due: deque[tuple[int, bytes]] = deque()
        self._free: deque[Connection] = deque()
        self.times_ns: list[int] = []
        self.refused = self.unanswered = 0
        self.all_answered = asyncio.Event()
        self._counted_from_ns = 0

    def expect(self, count: int) -> None:
        """From now on so many requests come and count. What was due before does not, though its answer may come yet."""
        self.times_ns, self.refused, self.unanswered = [], 0, count
        self._counted_from_ns = time.monotonic_ns()

    def offer(self, due_ns: int, request: bytes) -> None:
        if self._free:
            self._free.pop().send(due_ns, request)
        else:
            self._due.append((due_ns, request))

    def free(self, connection: "Connection") -> None:
        if self._due:
            connection.send(*self._due.popleft())
        else:
            self._free.append(connection)

    def closed(self, connection: "Connection") -> None:
        if connection in self._free:
            self._free.remove(connection)

    def answered(self, due_ns: int, status: int) -> None:
        if due_ns < self._counted_from_ns:
            return
        if 200 <= status < 300:
            self.times_ns.append(time.monotonic_ns() - due_ns)
        else:
            self.refused += 1
        self.unanswered -= 1
        if not self.unanswered:
            self.all_answered.set()


class Connection(asyncio.Protocol):
    """One request at a time. An answer has a Content-Length, or no body."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._transport: asyncio.Transport | None = None
        self._due_ns = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of its subclasses
        self._waiting.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.closed(self)

    def send(self, due_ns: int, request: bytes) -> None:
        assert self._transport is not None
        self._due_ns = due_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        status = answer_status(self._received)
        if status is not None:
            self._received = b""
            self._waiting.answered(self._due_ns, status)
            self._waiting.free(self)


def answer_status(received: bytes) -> int | None:
    """The status of an HTTP/1.1 answer that is complete; None while some of it is under way."""
    head, end, body = received.partition(_HEAD_END)
    if not end:
        return None
    length = _LENGTH.search(head)
    return int(head[9:12]) if len(body) >= (int(length[1]) if length else 0) else None
