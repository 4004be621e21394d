"""Many who ask at once are one question; nobody gets an answer that is older than their asking."""

import asyncio

import pytest

from operations.coalescing import Coalesced

ASKING = 100


class Slow:
    """Answers when told to, with how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.gate = asyncio.Event()

    async def __call__(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(set(keys))
        number = len(self.asked)
        await self.gate.wait()
        return dict.fromkeys(keys, number)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_question_is_under_way_and_one_waits_however_many_ask() -> None:
    slow = Slow()
    coalesced = Coalesced(slow)
    first = asyncio.ensure_future(coalesced.about(["a"]))
    await turns()
    rest = [asyncio.ensure_future(coalesced.about(["a", f"b{number % 3}"])) for number in range(ASKING)]
    await turns()
    assert slow.asked == [{"a"}]
    slow.gate.set()
    assert await first == {"a": 1}
    answers = await asyncio.gather(*rest)
    assert slow.asked[1:] == [{"a", "b0", "b1", "b2"}]
    assert all(answer["a"] == 2 and len(answer) == 2 for answer in answers), "not what was asked before they did"


async def test_who_gives_up_takes_nobody_with_them_and_a_failure_is_for_those_who_asked() -> None:
    fails = True

    async def ask(keys: list[str]) -> dict[str, int]:
        await asyncio.sleep(0)
        if fails:
            raise ConnectionError
        return dict.fromkeys(keys, 1)

    coalesced = Coalesced(ask)
    leaving, staying = asyncio.ensure_future(coalesced.about(["a"])), asyncio.ensure_future(coalesced.about(["a"]))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(ConnectionError):
        await staying
    fails = False
    assert await coalesced.about(["a"]) == {"a": 1}
    assert await coalesced.about([]) == {}


async def test_what_there_is_no_answer_about_is_left_out() -> None:
    async def ask(_keys: list[str]) -> dict[str, int]:
        return {"a": 1}

    assert await Coalesced(ask).about(["a", "b"]) == {"a": 1}
