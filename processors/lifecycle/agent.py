"""The Faust shell of lifecycle: reads `outcomes`, keeps what was told of each event, appends webhooks to `deliveries`.

The table's changes and the webhooks leave together and are confirmed before the batch is. Replays run beside it.
"""

from collections import Counter as Tally

import msgspec

from domain.delivery.outcome_webhooks import (
    NOTHING_TOLD,
    Place,
    Told,
    concerns,
    decide,
    is_whole_story,
    table_key,
    webhooks_of,
)
from domain.delivery.webhooks import delivery_key
from processors.lifecycle import metrics
from processors.lifecycle.worker import ReplayWorker
from processors.runtime.batches import Batch
from processors.runtime.runtime import Runtime
from processors.runtime.table import TableView
from processors.runtime.work import Work
from schemas.codec import Undecodable
from schemas.log_records import LogRecord
from schemas.records import Outcome
from schemas.topics import Topic

AGENT = "lifecycle"
TABLE = "told"
KEPT_SECONDS = 31 * 86_400  # as long as deliveries are kept, which may wait for a disabled endpoint
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Told).decode


class Lifecycle:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._replays = ReplayWorker(runtime, runtime.settings.replays_per_second)

    def declare(self) -> None:
        self._runtime.table(TABLE, retention_seconds=KEPT_SECONDS)
        self._runtime.agent(AGENT, [Topic.OUTCOMES], self.handle)
        self._runtime.on_started(self._replays.started)
        self._runtime.on_stopping(self._replays.stop)

    async def handle(self, batch: Batch) -> None:
        work = self._runtime.begin(batch)
        table = work.table(TABLE)
        tally: Tally[str] = Tally()
        for record in batch.records:
            try:
                outcome = Outcome.decode(record.value)
            except Undecodable as error:
                work.dead_letter(record, "unreadable", str(error))
                continue
            if concerns(outcome):
                self._tell(work, table, outcome, record, tally)
        await work.commit()
        for telling, count in tally.items():
            metrics.WEBHOOKS.labels(telling).inc(count)

    def _tell(self, work: Work, table: TableView, outcome: Outcome, record: LogRecord, tally: "Tally[str]") -> None:
        endpoints = self._view.endpoints_of(outcome.workspace, outcome.environment)
        if not endpoints and is_whole_story(outcome):
            return
        key, place = table_key(outcome), Place(record.offset, record.timestamp)
        stored = table.get(key)
        before = NOTHING_TOLD if stored is None else _decode(stored)
        told, telling = decide(before, outcome, place)
        if told is not before:
            table.put(key, _encode(told))
        if telling is None:
            return
        for delivery in webhooks_of(telling, outcome, place, endpoints):
            work.produce(Topic.DELIVERIES, delivery.encode(), key=delivery_key(delivery))
            tally[telling] += 1


def build(runtime: Runtime) -> None:
    Lifecycle(runtime).declare()
