"""Admission's agent: reads stream topics in batches, decides each record, and sends all effects of a batch together.

What follows from a record is in domain/admission/effects.py. A record that can't be read is set aside alone. A direct
record on the wrong partition is written once more (domain/admission/rerouting.py). New streams are followed as soon as
`control` has them.
"""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections import defaultdict

import msgspec

from domain.admission.effects import Message, effects_of
from domain.admission.encoding import REFUSED, StreamPartition, refusal_of, stream_partition
from domain.admission.reading import NotAnEvent, ReadEvent, read, without_registry
from domain.admission.rerouting import (
    ORIGIN_HEADER,
    as_first_written,
    origin_header,
    placement_key,
    right_partition,
)
from domain.admission.subscribers import routes_of, type_of
from domain.events.direct_records import schema_named
from domain.events.spine_records import carried_headers
from domain.idempotency import KEY_KEPT_SECONDS
from domain.idempotency.events import Admitted, Conflicted, KeyEntry, decide
from domain.security.gateway_signatures import GatewaySigner
from operations.logs import Sparse, event
from processors.admission import metrics
from processors.admission.registered import RegisteredStreams
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch, TableView, Work
from schemas.codec import SchemaRef
from schemas.entities import State, Stream, StreamStatus
from schemas.log_records import LogRecord, SourceRecord
from schemas.topics import Topic, parse_stream_topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
AGENT = "admission"
TABLE = "seen"
UNKNOWN_SECONDS = 1.0

_MOVED = str(Topic.ADMISSION)  # compared with every record: looking up an enumeration's member takes longer
_encode_seen = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(KeyEntry).decode


class EventRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that is an event. `first`: the record as it was first written, to its stream's topic."""

    first: LogRecord
    partition: StreamPartition
    event: ReadEvent
    table_key: bytes
    is_misplaced: bool


class OtherRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that is no event, and why. `first`: as it was first written, as far as that could be read."""

    first: LogRecord
    why: NotAnEvent


class BatchEffects:
    """Mutable: what one batch causes, gathered by topic and partition, since sending it together costs less."""

    def __init__(self, work: Work, table: TableView) -> None:
        self.work = work
        self.table = table
        self.has_new = False
        self.decisions: dict[int, list[bytes]] = defaultdict(list)
        self.verdicts: dict[int, list[bytes]] = defaultdict(list)
        self.deliveries: list[Message] = []
        self.conflicts: list[tuple[LogRecord, str]] = []

    async def commit(self) -> None:
        """Stores the entries of new keys first. If they left together with the decisions, a crash could keep a decision
        and lose its entry. Records of two streams, or a rerouted one, may then be read in another order, and the same
        key would be admitted again, for another record.
        """
        if self.has_new:
            await self.work.save()
        for partition, values in self.verdicts.items():
            self.work.produce_values(Topic.VERDICTS, partition, values)
        for partition, values in self.decisions.items():
            self.work.produce_values(Topic.DECISIONS, partition, values)
        self.work.produce_many(Topic.DELIVERIES, self.deliveries)
        for record, message in self.conflicts:
            self.work.dead_letter(record, Conflicted.outcome, message)
        await self.work.commit()


class Admission(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._signer = GatewaySigner(runtime.settings.master_key)
        self._partitions = runtime.settings.partitions
        self._stream_partitions: dict[tuple[str, int], StreamPartition] = {}
        self._unknown_until: dict[str, float] = {}
        self._registered = None if runtime.registry is None else RegisteredStreams(runtime.registry)
        self._why_unknown = without_registry if self._registered is None else self._registered.ids.why_unknown

    def declare(self) -> None:
        spec = AgentSpec(
            AGENT,
            [Topic.ADMISSION],
            tables={TABLE: KEY_KEPT_SECONDS},
            follows=self._active_topics(),
            serial_by_partition=True,
        )
        self._runtime.add(self, spec)
        self._view.on_change(self._stream_changed)
        for topic in self._active_topics():
            self._announce(topic)

    async def handle(self, batch: Batch) -> None:
        """Reads all records, fetches the entries of all keys at once, then decides one record after the other. A record
        that can't be decided is set aside alone (F18). Where a table or an outbox fails, no record is to blame: the
        error is raised, and the process ends.
        """
        work = self._runtime.begin(batch, eager=True)
        effects = BatchEffects(work, work.table(TABLE))
        read_records: list[EventRecord | OtherRecord] = []
        for record in batch.records:
            found = self._read(record)
            read_records.append(await self._read_after_lookup(record) if found is None else found)
        effects.table.prefetch([one.table_key for one in read_records if isinstance(one, EventRecord)])
        outcomes = [self._decide_or_set_aside(effects, *one) for one in zip(batch.records, read_records, strict=True)]
        await effects.commit()
        for outcome, count in Tally(outcomes).items():
            metrics.DECISIONS.labels(outcome).inc(count)

    def _read(self, record: LogRecord) -> EventRecord | OtherRecord | None:
        """None where something must be looked up first: the stream, or the record's schema in a registry."""
        first = record
        try:
            if record.topic == _MOVED:
                first = self._first_written(record)
            partition = self._stream_partitions.get((first.topic, first.partition))
            if partition is None or self._unlearnt_schema(first) is not None:
                return None
            return self._read_event(partition, record, first)
        except NotAnEvent as error:
            return OtherRecord(first, error)
        except Exception as error:
            return _unforeseen(first, error)

    async def _read_after_lookup(self, record: LogRecord) -> EventRecord | OtherRecord:
        first = record
        try:
            first = self._first_written(record) if record.topic == _MOVED else record
            unlearnt = self._unlearnt_schema(first)
            if unlearnt is not None and self._registered is not None:
                await self._registered.ids.learn(unlearnt)
            known = self._stream_partitions.get((first.topic, first.partition))
            return self._read_event(known or await self._find(first), record, first)
        except NotAnEvent as error:
            return OtherRecord(first, error)
        except Exception as error:
            return _unforeseen(first, error)

    def _unlearnt_schema(self, first: LogRecord) -> SchemaRef | None:
        """The schema that must be looked up in a registry before the record can be read."""
        if self._registered is None or first.value is None:
            return None
        named = schema_named(first.value, first.headers)
        return named.ref if named is not None and self._registered.ids.is_new(named.ref) else None

    def _decide_or_set_aside(self, batch: BatchEffects, record: LogRecord, found: EventRecord | OtherRecord) -> str:
        """Returns the outcome's name."""
        if isinstance(found, OtherRecord):
            return self._set_aside(batch, found)
        if found.is_misplaced:
            self._reroute(batch, record, found.event)
            return "rerouted"
        first, partition, read_event = found.first, found.partition, found.event
        stored = batch.table.get(found.table_key)
        stream = partition.stream
        source = SourceRecord(first.topic, stream.topic_id, first.partition, first.offset)
        try:
            pieces = read_event.pieces
            routes = routes_of(self._view, stream, type_of(pieces)) if partition.routes is None else partition.routes
            candidate = KeyEntry(pieces.event_id, read_event.payload_hash, first.timestamp, routes, source)
            decided = decide(None if stored is None else _decode_seen(stored), candidate)
            effects = effects_of(decided, partition, first, read_event)
        except Exception as error:
            return self._set_aside(batch, _unforeseen(first, error))
        if type(decided) is Admitted and decided.is_new:
            batch.table.put(found.table_key, _encode_seen(decided.entry))
            batch.has_new = True
        batch.decisions[first.partition].append(effects.decision)
        if effects.verdict is not None:
            reply_partition, value = effects.verdict
            batch.verdicts[reply_partition].append(value)
        if effects.deliveries:
            batch.deliveries += effects.deliveries
        if effects.conflict is not None:
            batch.conflicts.append((first, effects.conflict))
        return decided.outcome

    def _read_event(self, partition: StreamPartition, record: LogRecord, first: LogRecord) -> EventRecord:
        """Raises NotAnEvent."""
        found = read(first, partition.topic, self._signer, self._why_unknown)
        pieces = found.pieces
        key = partition.scope.table_key(pieces.idempotency_key, pieces.event_id)
        is_misplaced = found.direct and first is record and self._is_misplaced(first, found)
        return EventRecord(first, partition, found, key, is_misplaced)

    def _first_written(self, record: LogRecord) -> LogRecord:
        first = as_first_written(record, self._signer)
        if first is None:
            raise NotAnEvent("unreadable", f"a record of {record.topic} whose {ORIGIN_HEADER} is not ours")
        return first

    async def _find(self, record: LogRecord) -> StreamPartition:
        topic = parse_stream_topic(record.topic)
        if topic is None:
            raise NotAnEvent("unknown_stream", f"{record.topic} is no stream's topic")
        stream = self._view.streams_by_topic.get(record.topic) or await self._looked_up(record.topic)
        partition = stream_partition(topic, stream, record.partition)
        self._stream_partitions[record.topic, record.partition] = partition
        return partition

    async def _looked_up(self, topic: str) -> Stream:
        """The stream, with `control` read to its present end first; at most once a second for a topic without one."""
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds >= self._unknown_until.get(topic, 0.0):
            asked_seconds, control = time.monotonic(), self._runtime.control
            while not (await control.catch_up() or control.has_seen(asked_seconds)):
                event(log, "control.behind", logging.WARNING, topic=topic)
        stream = self._view.streams_by_topic.get(topic)
        if stream is None:
            self._unknown_until[topic] = now_seconds + UNKNOWN_SECONDS
            raise NotAnEvent("unknown_stream", f"no stream has the topic {topic}")
        self._unknown_until.pop(topic, None)
        return stream

    def _is_misplaced(self, record: LogRecord, found: ReadEvent) -> bool:
        pieces = found.pieces
        return record.partition != right_partition(pieces.idempotency_key, pieces.event_id, self._partitions)

    def _reroute(self, batch: BatchEffects, record: LogRecord, found: ReadEvent) -> None:
        """The same bytes; the key is the one that the right partition comes from, whatever the producer wrote."""
        key = placement_key(found.pieces.idempotency_key, found.pieces.event_id)
        header = (ORIGIN_HEADER, origin_header(record, self._signer))
        value = record.value or b""  # of a CloudEvent without data
        batch.work.produce(Topic.ADMISSION, value, key=key, headers=[header, *carried_headers(record.headers)])

    def _set_aside(self, batch: BatchEffects, other: OtherRecord) -> str:
        first = other.first
        batch.work.dead_letter(first, other.why.reason, str(other.why))
        batch.decisions[first.partition].append(refusal_of(first, other.why.reason))
        return REFUSED

    def _active_topics(self) -> list[str]:
        return [s.topic for s in self._view.streams.values() if s.status is not StreamStatus.CREATING and s.topic]

    def _stream_changed(self, before: State | None, after: State | None) -> None:
        """A deleted stream's topic is read until it is gone, since events accepted before still need a decision."""
        if isinstance(before or after, Stream):
            self._stream_partitions.clear()
        if isinstance(after, Stream) and after.status is StreamStatus.ACTIVE and after.topic:
            event(log, "stream.followed", topic=after.topic)
            self._runtime.follow(AGENT, [after.topic])
            self._announce(after.topic)
        elif isinstance(before, Stream) and after is None:
            self._runtime.unfollow([before.topic])

    def _announce(self, topic: str) -> None:
        if self._registered is not None:
            self._registered.announce(topic)


def build(runtime: AgentRuntime) -> None:
    Admission(runtime).declare()


def _unforeseen(record: LogRecord, error: Exception) -> OtherRecord:
    """Set aside alone, so that it does not stop the records behind it."""
    sparse.event("admission.poisoned", "poisoned", logging.ERROR, error=error, topic=record.topic, offset=record.offset)
    return OtherRecord(record, NotAnEvent("poisoned", type(error).__name__))
