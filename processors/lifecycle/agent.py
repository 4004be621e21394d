"""The Faust shell of lifecycle: reads `outcomes`, remembers what was notified, appends webhooks to `deliveries`.

The table's changes and the webhooks leave together, and are confirmed before the batch is. Replays run alongside.
"""

import logging
from collections import Counter as Tally

import msgspec

from domain.delivery.outcome_webhooks import (
    NOTHING_NOTIFIED,
    Notified,
    OutcomePosition,
    concerns,
    decide,
    is_whole_story,
    table_key,
    webhooks_of,
)
from domain.delivery.webhooks import delivery_key
from processors.lifecycle import metrics
from processors.lifecycle.replay_worker import ReplayWorker
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch, TableView, Work
from schemas.codec import Undecodable
from schemas.log_records import LogRecord
from schemas.records import Outcome
from schemas.topics import Topic

log = logging.getLogger(__name__)
AGENT = "lifecycle"
TABLE = "told"
KEPT_SECONDS = 31 * 86_400  # as long as deliveries are kept, which may wait for a disabled endpoint
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notified).decode


class Lifecycle(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._replays = ReplayWorker(runtime, runtime.settings.replays_per_second)

    async def started(self) -> None:
        await self._replays.started()

    async def stopping(self) -> None:
        await self._replays.stop()

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
                self._notify(work, table, outcome, record, tally)
        await work.commit()
        for webhook, count in tally.items():
            metrics.WEBHOOKS.labels(webhook).inc(count)

    def _notify(self, work: Work, table: TableView, outcome: Outcome, record: LogRecord, tally: "Tally[str]") -> None:
        endpoints = self._view.endpoints_of(outcome.workspace, outcome.environment)
        if not endpoints and is_whole_story(outcome):
            return
        key, position = table_key(outcome), OutcomePosition(record.offset, record.timestamp)
        stored = table.get(key)
        try:
            before = NOTHING_NOTIFIED if stored is None else _decode(stored)
            notified, webhook = decide(before, outcome, position)
            deliveries = () if webhook is None else tuple(webhooks_of(webhook, outcome, position, endpoints))
        except Exception as error:
            log.exception("outcome.failed", extra={"facts": {"delivery": outcome.delivery_id}})
            work.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
            return
        if notified is not before:
            table.put(key, _encode(notified))
        for delivery in deliveries:
            work.produce(Topic.DELIVERIES, delivery.encode(), key=delivery_key(delivery))
        if webhook is not None:
            tally[webhook] += len(deliveries)


def build(runtime: AgentRuntime) -> None:
    runtime.add(Lifecycle(runtime), AgentSpec(AGENT, [Topic.OUTCOMES], tables={TABLE: KEPT_SECONDS}))
