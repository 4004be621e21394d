"""What agents produced of a batch, on its way to the broker while the next batch is handled already.

The changes of the batch's tables are confirmed, and the next batch needs none of the records that are still on their
way, so it does not wait for them: that takes trips to the broker out of each batch's way. The batch itself is finished
only when the broker has all of its records: read again after a crash, it produces them again. Each agent and partition
has one such batch at a time, in order, so that no offset is confirmed past records that were lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable


class UnconfirmedBatches:
    """At most one for each `key`: a partition of an agent with one topic, or with batches serial by partition."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    async def ended(self, key: Hashable) -> None:
        """Returns when no batch of this key is under way, whether it came through or failed."""
        under_way = self._under_way.get(key)
        if under_way is not None:
            await under_way

    def begin(
        self, key: Hashable, confirmed: Awaitable[None], finish: Callable[[], None], fail: Callable[[Exception], None]
    ) -> None:
        """`finish` is called once `confirmed` returns, `fail` with what it raises. The earlier batch of this key has
        ended.
        """

        async def run() -> None:
            try:
                await confirmed
            except Exception as error:
                fail(error)
            else:
                finish()
            finally:
                del self._under_way[key]

        assert key not in self._under_way, key
        self._under_way[key] = asyncio.get_running_loop().create_task(run())
