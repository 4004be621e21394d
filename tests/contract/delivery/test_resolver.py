"""Look-ups of names: what is slow holds up itself."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from processors.delivery import resolver as module
from processors.delivery.resolver import THREADS_OF_OTHERS, Resolver

GIVE_UP_SECONDS = 20.0


class NameServer:
    """Replaces getaddrinfo: names that begin with `slow` get no answer before `answer` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()

    def look_up(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answer.wait(GIVE_UP_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 0))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    names = NameServer()
    monkeypatch.setattr(module.socket, "getaddrinfo", names.look_up)
    yield names
    names.answer.set()


@pytest.fixture
async def resolver(names: NameServer) -> AsyncIterator[Resolver]:
    resolver = Resolver()
    yield resolver
    names.answer.set()
    await resolver.close()


async def addresses(resolver: Resolver, host: str) -> list[str]:
    async with asyncio.timeout(GIVE_UP_SECONDS / 2):
        return [found["host"] for found in await resolver.resolve(host, 443)]


@pytest.mark.requirement("F43")
async def test_names_that_get_no_answer_hold_up_no_name_that_was_quick(resolver: Resolver, names: NameServer) -> None:
    assert await addresses(resolver, "hook.example.com") == ["93.184.216.34"]
    waiting = [asyncio.create_task(resolver.resolve(f"slow{n}.example.com")) for n in range(2 * THREADS_OF_OTHERS)]
    while len(names.asked) < 1 + THREADS_OF_OTHERS:  # noqa: ASYNC110 threads set no event
        await asyncio.sleep(0.01)
    assert await addresses(resolver, "hook.example.com") == ["93.184.216.34"]
    assert not any(task.done() for task in waiting)
    names.answer.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, socket.gaierror) for answer in answers)


async def test_a_name_is_looked_up_once_at_a_time_also_after_those_who_asked_gave_up(
    resolver: Resolver, names: NameServer
) -> None:
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await resolver.resolve("slow.example.com")
    assert names.asked == ["slow.example.com"]
    names.answer.set()
    with pytest.raises(socket.gaierror):
        await resolver.resolve("slow.example.com")


async def test_real_names() -> None:
    resolver = Resolver()
    found = await resolver.resolve("localhost", 8080)
    assert {one["port"] for one in found} == {8080} and {one["host"] for one in found} <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        await resolver.resolve("nowhere.invalid")
    await resolver.close()
