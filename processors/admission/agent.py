"""The Faust shell of admission: reads stream topics in batches, decides each record, and lets everything out in one go.

A batch gives: a decision a record on `decisions`, a verdict to each request that waits, a delivery a route of an
admitted event, and the table entry of each new key. What can't be read is set aside alone. New streams are followed
as soon as `control` says so.
"""

import asyncio
import logging
from collections import Counter as Tally
from typing import NamedTuple

import msgspec

from operations.logs import Sparse, event
from processors.admission import metrics
from processors.admission.decide import Admitted, Candidate, Decided, Seen, Source, decide, scope_of, table_key
from processors.admission.effects import Output, outcome_of, outputs_of, refusal_of
from processors.admission.reading import ReadEvent, Unreadable, read
from processors.admission.rerouting import (
    ORIGIN_HEADER,
    as_first_written,
    origin_header,
    placement_key,
    right_partition,
)
from processors.runtime.batches import Batch, Record
from processors.runtime.runtime import Runtime
from processors.runtime.table import TableView
from processors.runtime.work import Work
from schemas.entities import State, Stream, StreamStatus
from schemas.event_rules import SURFACE
from schemas.seal import Sealer
from schemas.topics import StreamTopic, Topic, parse_stream_topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
AGENT = "admission"
TABLE = "seen"
KEPT_SECONDS = 26 * 3_600  # a key's 24 hours and a margin; its life is decided by the log's time, not by this
UNKNOWN_SECONDS = 1.0

_encode_seen = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(Seen).decode


class Found(NamedTuple):
    """A record that is an event. `record`: as it stood on its stream's topic."""

    record: Record
    topic: StreamTopic
    stream: Stream
    event: ReadEvent


class Admission:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._sealer = Sealer(runtime.settings.master_key)
        self._partitions = runtime.settings.partitions
        self._unknown_until: dict[str, float] = {}

    def declare(self) -> None:
        self._runtime.table(TABLE, retention_seconds=KEPT_SECONDS)
        self._runtime.agent(AGENT, [Topic.ADMISSION, *self._active_topics()], self.handle, takes_turns=True)
        self._view.on_change(self._stream_changed)

    async def handle(self, batch: Batch) -> None:
        work = self._runtime.begin(batch)
        tally: Tally[str] = Tally()
        for record in batch.records:
            tally[await self._handle_one(work, record)] += 1
        await work.commit()
        for outcome, count in tally.items():
            metrics.DECISIONS.labels(outcome).inc(count)

    async def _handle_one(self, work: Work, record: Record) -> str:
        """Decides one record; whatever is wrong with it stays its own trouble (RELIABILITY F18). Returns the outcome's
        name. A table or an outbox that fails is nobody's own: that raises, and the process stops with it.
        """
        first = record
        try:
            first = self._first_written(record)
            found = await self._find(first)
        except Unreadable as error:
            return self._set_aside(work, first, error)
        except Exception as error:
            return self._set_aside_poisoned(work, first, error)
        if found.event.direct and record.topic != Topic.ADMISSION and self._is_misplaced(found):
            self._reroute(work, found)
            return "rerouted"
        return self._decide(work, work.table(TABLE), found)

    def _first_written(self, record: Record) -> Record:
        if record.topic != Topic.ADMISSION:
            return record
        first = as_first_written(record, self._sealer)
        if first is None:
            raise Unreadable("unreadable", f"a record of {record.topic} whose {ORIGIN_HEADER} is not ours")
        return first

    async def _find(self, record: Record) -> Found:
        topic = parse_stream_topic(record.topic)
        if topic is None:
            raise Unreadable("unknown_stream", f"{record.topic} is no stream's topic")
        stream = self._view.streams_by_topic.get(record.topic) or await self._looked_up(record.topic)
        return Found(record, topic, stream, read(record, topic, self._sealer))

    async def _looked_up(self, topic: str) -> Stream:
        """The stream, with `control` read to its present end first; at most once a second for a topic without one."""
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds >= self._unknown_until.get(topic, 0.0):
            while not await self._runtime.control.catch_up():
                event(log, "control.behind", logging.WARNING, topic=topic)
        stream = self._view.streams_by_topic.get(topic)
        if stream is None:
            self._unknown_until[topic] = now_seconds + UNKNOWN_SECONDS
            raise Unreadable("unknown_stream", f"no stream has the topic {topic}")
        self._unknown_until.pop(topic, None)
        return stream

    def _is_misplaced(self, found: Found) -> bool:
        event_read = found.event
        right = right_partition(event_read.idempotency_key, event_read.event_id, self._partitions)
        return found.record.partition != right

    def _reroute(self, work: Work, found: Found) -> None:
        """The same bytes; the key is the one that the right partition comes from, whatever the producer wrote."""
        key = placement_key(found.event.idempotency_key, found.event.event_id)
        header = (ORIGIN_HEADER, origin_header(found.record, self._sealer))
        work.produce(Topic.ADMISSION, found.record.value, key=key, headers=[header])

    def _decide(self, work: Work, table: TableView, found: Found) -> str:
        record, topic, stream, read_event = found
        scope = scope_of(topic.workspace, topic.environment, SURFACE)
        key = table_key(scope, read_event.idempotency_key, read_event.event_id)
        stored = table.get(key)
        source = Source(record.topic, stream.topic_id, record.partition, record.offset)
        candidate = Candidate(
            read_event.event_id, read_event.payload_hash, record.timestamp, stream.default_routes, source
        )
        try:
            decided = decide(None if stored is None else _decode_seen(stored), candidate)
            outputs = outputs_of(decided, record, topic, source, read_event)
        except Exception as error:
            return self._set_aside_poisoned(work, record, error)
        return self._let_out(work, table, key, decided, outputs)

    def _let_out(self, work: Work, table: TableView, key: bytes, decided: Decided, outputs: list[Output]) -> str:
        if isinstance(decided, Admitted) and decided.is_new:
            table.put(key, _encode_seen(decided.entry))
        for output in outputs:
            work.produce(output.topic, output.value, key=output.key, partition=output.partition)
        return outcome_of(decided)

    def _set_aside_poisoned(self, work: Work, record: Record, error: Exception) -> str:
        sparse.event(
            "admission.poisoned", "poisoned", logging.ERROR, error=error, topic=record.topic, offset=record.offset
        )
        return self._set_aside(work, record, Unreadable("poisoned", type(error).__name__))

    def _set_aside(self, work: Work, record: Record, error: Unreadable) -> str:
        work.dead_letter(record, error.reason, str(error))
        refusal = refusal_of(record, error.reason)
        work.produce(refusal.topic, refusal.value, partition=refusal.partition)
        return "refused"

    def _active_topics(self) -> list[str]:
        return [s.topic for s in self._view.streams.values() if s.status is not StreamStatus.CREATING and s.topic]

    def _stream_changed(self, before: State | None, after: State | None) -> None:
        """A deleted stream's topic is read on until it is gone: what was accepted before is still owed a decision."""
        if isinstance(after, Stream) and after.status is StreamStatus.ACTIVE and after.topic:
            event(log, "stream.followed", topic=after.topic)
            self._runtime.follow(AGENT, [after.topic])
        elif isinstance(before, Stream) and after is None:
            self._runtime.unfollow(AGENT, [before.topic])


def build(runtime: Runtime) -> None:
    Admission(runtime).declare()
