"""An agent's handlers on one partition, without Faust and without a broker: real work, real tables, outputs in memory.

`Rig` is the runtime and the log in one (tests/support/fake_runtime.py). A batch is handled as the runtime does it; what
leaves is kept in order. `crash()` forgets what the process knew and keeps what the disk has.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from faust.types import TP

from operations.settings import Settings
from processors.runtime.agent import AgentRuntime
from schemas.entities import State
from schemas.log_records import LogRecord
from tests.support.fake_runtime import FakeRuntime, Sent
from tests.support.until import until

PARTITION = 3
__all__ = ["PARTITION", "Rig", "Sent"]


class Rig:
    """`build(runtime)` is the `build` of an agent's module; entities are what `control` says; `env`: more settings."""

    def __init__(
        self,
        build: Callable[[AgentRuntime], None],
        directory: Path,
        entities: Sequence[State] = (),
        env: Mapping[str, str] | None = None,
        finished: Callable[[list[Sent], Sequence[LogRecord]], bool] = lambda _sent, _records: True,
    ) -> None:
        """`finished`: for agents that go on working on a batch after its handler returned, whether that is done."""
        self._runtime = FakeRuntime(directory, entities, env)
        self._build = build
        self._finished = finished
        self._start()

    @property
    def agents(self) -> list[str]:
        """The names of those that were built."""
        return list(self._runtime.agents)

    @property
    def sent(self) -> list[Sent]:
        return self._runtime.sent

    @property
    def settings(self) -> Settings:
        return self._runtime.settings

    async def handle(self, records: Sequence[LogRecord]) -> list[Sent]:
        """One batch; what it caused, once everything that the agent finishes later is finished too."""
        before, failures = len(self.sent), self._runtime.failures
        await self._runtime.open_tables(PARTITION)
        await self._runtime.handle(TP(records[0].topic, PARTITION), records)
        await until(lambda: bool(failures) or self._finished(self.sent, records))
        if failures:
            raise failures[0]
        return self.sent[before:]

    async def crash(self) -> None:
        await self.stop()
        self._start()

    async def stop(self) -> None:
        await self._runtime.stop()

    def _start(self) -> None:
        self._runtime.hold_lease()
        self._build(self._runtime)
