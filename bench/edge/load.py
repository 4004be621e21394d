"""Calls of the bench, timed: at a steady rate over several ways in turn, as fast as they go, all at once, left open."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

TEXT = "Tell me in a few words. "  # 24 characters
QUESTION = TEXT * 40
TIMEOUT = aiohttp.ClientTimeout(total=120)


class Way(NamedTuple):
    """A way to the provider."""

    url: str
    headers: dict[str, str]


def body(number: int, **more: Any) -> dict[str, Any]:
    """About a kilobyte, each its own question."""
    messages = [{"role": "user", "content": f"{number}: {QUESTION}"}]
    return {"model": "gpt-4o", "messages": messages, "max_tokens": 12, **more}


def small_body() -> dict[str, Any]:
    """Estimated, by a fourth of its characters, as the stub counts it."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "h" * 36}], "max_tokens": 12}


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        yield session


async def call(session: aiohttp.ClientSession, way: Way, content: dict[str, Any], query: str = "") -> int:
    async with session.post(way.url + query, json=content, headers=way.headers) as answer:
        await answer.read()
        return int(answer.status)


async def steadily(
    session: aiohttp.ClientSession, ways: Sequence[Way], rate: float, seconds: float, warm_up_seconds: float = 2.0
) -> list[list[int]]:
    """Nanoseconds of each call by way; the ways take turns, `rate` calls a second each, on a schedule that waits for
    nothing. A call that begins late counts from when it should have begun. Raises when a call fails.
    """
    times: list[list[int]] = [[] for _ in ways]
    begin = time.perf_counter() + 0.1  # uvloop's own clock counts milliseconds
    count = int(rate * (seconds + warm_up_seconds) * len(ways))

    async def one(number: int) -> None:
        due = begin + number / (rate * len(ways))
        which = number % len(ways)
        status = await call(session, ways[which], body(number))
        if status != 200:
            raise RuntimeError(f"{ways[which].url} answered {status}")
        if due >= begin + warm_up_seconds:
            times[which].append(int((time.perf_counter() - due) * 1e9))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            delay = begin + number / (rate * len(ways)) - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            group.create_task(one(number))
    return times


async def as_fast_as_it_goes(session: aiohttp.ClientSession, way: Way, count: int, at_once: int) -> float:
    """Seconds for `count` calls, `at_once` under way. Raises when one fails."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            status = await call(session, way, body(number))
            if status != 200:
                raise RuntimeError(f"{way.url} answered {status}")

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - started


async def all_at_once(session: aiohttp.ClientSession, way: Way, count: int, wait_ms: int) -> Counter[int]:
    """How many got which status, 0 for no answer; the provider takes so long for each."""
    query = f"?wait_ms={wait_ms}" if wait_ms else ""

    async def one() -> int:
        try:
            return await call(session, way, small_body(), query)
        except aiohttp.ClientError:
            return 0

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


@asynccontextmanager
async def open_streams(session: aiohttp.ClientSession, way: Way, count: int) -> AsyncIterator[None]:
    """So many streams of which the first frame has come and the end has not."""
    answers: list[aiohttp.ClientResponse] = []
    try:
        for start in range(0, count, 50):
            numbers = range(start, min(start + 50, count))
            got = await asyncio.gather(
                *(session.post(way.url, json=body(n, stream=True), headers=way.headers) for n in numbers)
            )
            answers += got
            for answer in got:
                assert answer.status == 200 and b"Hello" in await answer.content.readany()
        yield
    finally:
        for answer in answers:
            answer.close()
