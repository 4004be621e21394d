"""`python -m tests.support.stuck_worker <group>`: a worker whose handlers get stuck at batches with a certain word.

STUCK_AT is the word. STUCK_HOW `blocks`: the event loop stands still, as in a call that never returns; `hangs`: that
one call of the handler waits for ever, and the loop goes on. STALLED_SECONDS is the watchdog's patience.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from processors import __main__ as processors
from processors.runtime import watchdog
from processors.runtime.batches import Batch
from processors.runtime.runtime import Runtime

FOR_EVER_SECONDS = 3_600.0
Handler = Callable[[Batch], Awaitable[None]]


def stuck(handle: Handler, word: bytes, how: str) -> Handler:
    async def handle_or_not(batch: Batch) -> None:
        if any(word in (record.value or b"") for record in batch.records):
            if how == "blocks":
                time.sleep(FOR_EVER_SECONDS)  # noqa: ASYNC251 — that is the fault
            await asyncio.sleep(FOR_EVER_SECONDS)
        await handle(batch)

    return handle_or_not


def main() -> int:
    word, how = os.environ["STUCK_AT"].encode(), os.environ["STUCK_HOW"]
    watchdog.STALLED_SECONDS = float(os.environ["STALLED_SECONDS"])
    agent = Runtime.agent

    def stuck_agent(runtime: Runtime, name: str, topics: Any, handle: Handler, **how_else: Any) -> None:
        agent(runtime, name, topics, stuck(handle, word, how), **how_else)

    Runtime.agent = stuck_agent  # type: ignore[method-assign, assignment]
    return processors.main()


if __name__ == "__main__":
    os._exit(main())  # as processors ends
