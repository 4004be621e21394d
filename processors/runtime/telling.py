"""What agents tell of a batch, on its way to the broker while the next batch is handled already.

The batch's table stands, confirmed; what is told follows from it and from the batch, and the next batch needs none of
it, so that is not held up: it takes trips to the broker out of each batch's way. The batch itself is finished only when
the broker has all that was told: read again after a crash, it is told again. One a place at a time, and in order, so
that no offset is confirmed past what was not told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class Telling:
    """A place is a partition of an agent that has one topic, or whose topics take turns."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def over(self, place: Hashable) -> None:
        """Returns when nothing told at the place is under way, whether it came through or failed."""
        telling = self._under_way.get(place)
        if telling is not None:
            await telling

    def begin(
        self, place: Hashable, confirmed: Awaitable[None], finish: Callable[[], None], fail: Callable[[Exception], None]
    ) -> None:
        """`finish` is called once `confirmed` returns, `fail` with what it raises. The place's earlier one is over."""

        async def tell() -> None:
            try:
                await confirmed
            except Exception as error:
                fail(error)
            else:
                finish()
            finally:
                del self._under_way[place]

        assert place not in self._under_way, place
        self._under_way[place] = asyncio.get_running_loop().create_task(tell())
