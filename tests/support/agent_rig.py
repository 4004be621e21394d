"""An agent's handler on one partition, without Faust and without a broker: real work, real tables, outputs in memory.

`Rig` is the runtime and the log in one (tests/support/fake_runtime.py). A batch is handled as the runtime does it; what
leaves is kept in order. `crash()` forgets what the process knew and keeps what the disk has.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faust.types import TP

from operations.settings import Settings
from schemas.entities import State
from schemas.log_records import LogRecord
from tests.support.fake_runtime import FakeRuntime, Sent

PARTITION = 3
__all__ = ["PARTITION", "Rig", "Sent"]


class Rig:
    """`build(runtime)` is the `build` of an agent's module; entities are what `control` says."""

    def __init__(self, build: Callable[[Any], None], directory: Path, entities: Sequence[State]) -> None:
        self.runtime = FakeRuntime(directory, entities)
        self._build = build
        self._start()

    @property
    def sent(self) -> list[Sent]:
        return self.runtime.sent

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    async def handle(self, records: Sequence[LogRecord]) -> list[Sent]:
        """One batch; what it caused."""
        before = len(self.sent)
        tp = TP(records[0].topic, PARTITION)
        await self.runtime.open_tables(PARTITION)
        [name] = self.runtime.agents
        await self.runtime.handle(name, tp, records)
        return self.sent[before:]

    def crash(self) -> None:
        self.runtime.crash()
        self._start()

    def close(self) -> None:
        self.runtime.close()

    def _start(self) -> None:
        self.runtime.hold_lease()
        self._build(self.runtime)
