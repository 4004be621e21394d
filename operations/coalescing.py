"""Joins questions that many callers ask at the same moment into one.

A caller that asks while a question is under way gets the answer to the next one, so no answer is older than its
question. At most one question is under way and one waits, however many callers there are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class Coalesced(Generic[_Key, _Answer]):
    """Used on one event loop."""

    def __init__(
        self, ask: Callable[[list[_Key]], Awaitable[Mapping[_Key, _Answer]]], apart_seconds: float = 0.0
    ) -> None:
        """`ask` gets the keys of all waiting callers; it is called at most once in `apart_seconds`."""
        self._ask = ask
        self._apart_seconds = apart_seconds
        self._wanted: set[_Key] = set()
        self._asking: asyncio.Task[Mapping[_Key, _Answer]] | None = None
        self._next: asyncio.Task[Mapping[_Key, _Answer]] | None = None
        self._asked_seconds = float("-inf")

    async def about(self, keys: Iterable[_Key]) -> dict[_Key, _Answer]:
        """The answers for these keys, as far as there are any. Raises what `ask` raises."""
        mine = set(keys)
        if not mine:
            return {}
        self._wanted |= mine
        if self._next is None:
            self._next = asyncio.create_task(self._ask_next())
            self._next.add_done_callback(_note_failure)
        answers = await asyncio.shield(self._next)
        return {key: answers[key] for key in mine if key in answers}

    async def _ask_next(self) -> Mapping[_Key, _Answer]:
        loop = asyncio.get_running_loop()
        if self._asking is not None:
            await asyncio.wait([self._asking])
        await asyncio.sleep(max(0.0, self._asked_seconds + self._apart_seconds - loop.time()))
        self._asked_seconds = loop.time()
        self._asking, self._next = self._next, None
        wanted, self._wanted = self._wanted, set()
        return await self._ask(list(wanted))


def _note_failure(asked: "asyncio.Task[object]") -> None:
    """Marks a failure as seen: the callers that waited got it, and if all of them have gone none needs it."""
    if not asked.cancelled():
        asked.exception()
