"""The shell around the ledgers: reads `usage`, writes `quotas`. A part of the process `control`.

A batch is noted whole and then allocated once, at the log's time of its newest record. A rebalance takes a partition's
ledger away; the partition's next owner starts again (ledger.py says what holds meanwhile).
"""

import logging

from faust.types import TP

from domain.limits.ledger import Ledger
from processors.rates import metrics
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch
from schemas.codec import Undecodable
from schemas.records import Usage
from schemas.topics import Topic

log = logging.getLogger(__name__)
GATEWAYS_KEY = b"gateways"


class RatesAgent(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._ledgers: dict[int, Ledger] = {}

    async def handle(self, batch: Batch) -> None:
        partition = batch.tp.partition
        ledger = self._ledgers.setdefault(partition, Ledger())
        work = self._runtime.begin(batch)
        for record in batch.records:
            try:
                ledger.note(Usage.decode(record.value), record.timestamp)
            except Undecodable as error:
                work.dead_letter(record, "unreadable", str(error))
            except Exception as error:
                log.exception("usage.failed", extra={"facts": {"offset": record.offset}})
                work.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
        for bucket, shares in ledger.allocated():
            value = None if shares is None else shares.encode()
            work.produce(Topic.QUOTAS, value, key=bucket.encode() or GATEWAYS_KEY, partition=partition)
            metrics.ALLOCATIONS.inc(1 if bucket else 0)
        await work.commit()
        self._measure()

    def given_up(self) -> None:
        """Batches that were not confirmed are read, and noted, again."""
        self._ledgers.clear()

    async def assigned(self, partitions: set[TP]) -> None:
        mine = {tp.partition for tp in partitions if tp.topic == Topic.USAGE}
        self._ledgers = {number: ledger for number, ledger in self._ledgers.items() if number in mine}
        self._measure()

    def _measure(self) -> None:
        metrics.GATEWAYS.set(max((ledger.gateways for ledger in self._ledgers.values()), default=0))
        metrics.BUCKETS.set(sum(ledger.buckets for ledger in self._ledgers.values()))


def build(runtime: AgentRuntime) -> None:
    """Adds the agent to the process `control`."""
    runtime.add(RatesAgent(runtime), AgentSpec("rates", [Topic.USAGE], is_watched=False))
