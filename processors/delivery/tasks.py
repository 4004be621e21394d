"""Tasks whose failure stops the process: after the restart it reads again what they did not confirm."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from processors.runtime.agent import AgentRuntime


class VitalTasks:
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runtime.fail(error)
