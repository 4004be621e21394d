"""`python -m tests.support.stuck_worker <group>`: a worker whose handlers get stuck at batches with a certain word.

STUCK_AT is the word. STUCK_HOW `blocks`: the event loop stands still, as in a call that never returns; `hangs`: that
one call of the handler waits for ever, and the loop goes on. STALLED_SECONDS is the watchdog's patience.
"""

import asyncio
import os
import time
from typing import Any

from processors import __main__ as processors
from processors.runtime import watchdog
from processors.runtime.agent import Agent, AgentSpec, Batch
from processors.runtime.runtime import Runtime

FOR_EVER_SECONDS = 3_600.0


def stick(agent: Any, word: bytes, how: str) -> None:
    handle = agent.handle

    async def handle_or_not(batch: Batch) -> Any:
        if any(word in (record.value or b"") for record in batch.records):
            if how == "blocks":
                time.sleep(FOR_EVER_SECONDS)  # noqa: ASYNC251 — that is the fault
            await asyncio.sleep(FOR_EVER_SECONDS)
        return await handle(batch)

    agent.handle = handle_or_not


def main() -> int:
    word, how = os.environ["STUCK_AT"].encode(), os.environ["STUCK_HOW"]
    watchdog.STALLED_SECONDS = float(os.environ["STALLED_SECONDS"])
    add = Runtime.add

    def add_stuck(runtime: Runtime, agent: Agent, spec: AgentSpec) -> None:
        stick(agent, word, how)
        add(runtime, agent, spec)

    Runtime.add = add_stuck  # type: ignore[method-assign]
    return processors.main()


if __name__ == "__main__":
    os._exit(main())  # as processors ends
