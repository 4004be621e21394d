"""The Faust shell of admission: reads stream topics in batches, decides each record, and lets everything out in one go.

A batch gives: a decision a record on `decisions`, a verdict to each request that waits, a delivery a route of an
admitted event, and the table entry of each new key. What can't be read is set aside alone. New streams are followed
as soon as `control` says so.
"""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections import defaultdict

import msgspec

from domain.admission.effects import Message, Place, effects_of, place_of, refusal_of
from domain.admission.reading import ReadEvent, Unreadable, read, without_registry
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
from domain.idempotency.events import Admitted, Conflicted, Seen, Source, decide
from domain.security.gateway_signatures import GatewaySigner
from operations.logs import Sparse, event
from processors.admission import metrics
from processors.admission.registered import RegisteredStreams
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch, TableView, Work
from schemas.codec import SchemaRef
from schemas.entities import State, Stream, StreamStatus
from schemas.log_records import LogRecord
from schemas.topics import Topic, parse_stream_topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
AGENT = "admission"
TABLE = "seen"
KEPT_SECONDS = 26 * 3_600  # a key's 24 hours and a margin; its life is decided by the log's time, not by this
UNKNOWN_SECONDS = 1.0

_MOVED = str(Topic.ADMISSION)  # asked of every record: a member of an enumeration takes longer to find
_encode_seen = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(Seen).decode


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A record that is an event. `first`: as it stood on its stream's topic."""

    first: LogRecord
    place: Place
    found: ReadEvent
    table_key: bytes
    is_misplaced: bool


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A record that is no event, as far as it was understood where it first stood, and why."""

    first: LogRecord
    why: Unreadable


class Turn:
    """One turn's work, gathered by topic and partition: what leaves together costs less."""

    def __init__(self, work: Work, table: TableView) -> None:
        self.work = work
        self.table = table
        self.has_new = False
        self.decisions: dict[int, list[bytes]] = defaultdict(list)
        self.verdicts: dict[int, list[bytes]] = defaultdict(list)
        self.deliveries: list[Message] = []
        self.conflicts: list[tuple[LogRecord, str]] = []

    async def commit(self) -> None:
        """Entries of new keys first. Were they to leave together with what is told of them, a crash could keep the one
        and lose the other; and records of two streams, or one that was moved here, may then be decided in another
        order: the same key would be admitted again, for the other record.
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
        self._places: dict[tuple[str, int], Place] = {}
        self._unknown_until: dict[str, float] = {}
        self._registered = None if runtime.registry is None else RegisteredStreams(runtime.registry)
        self._why_unknown = without_registry if self._registered is None else self._registered.ids.why_unknown

    def declare(self) -> None:
        spec = AgentSpec(
            AGENT,
            [Topic.ADMISSION],
            tables={TABLE: KEPT_SECONDS},
            follows=self._active_topics(),
            serial_by_partition=True,
        )
        self._runtime.add(self, spec)
        self._view.on_change(self._stream_changed)
        for topic in self._active_topics():
            self._announce(topic)

    async def handle(self, batch: Batch) -> None:
        """Reads all, asks the table for all keys at once, then decides one record after the other. Whatever is wrong
        with a record stays its own trouble (F18). A table or an outbox that fails is nobody's own: that
        raises, and the process stops with it.
        """
        work = self._runtime.begin(batch, eager=True)
        turn = Turn(work, work.table(TABLE))
        readings: list[Reading | Unread] = []
        for record in batch.records:
            reading = self._read(record)
            readings.append(await self._read_of_stranger(record) if reading is None else reading)
        turn.table.prefetch([one.table_key for one in readings if isinstance(one, Reading)])
        outcomes = [self._decide_or_set_aside(turn, *one) for one in zip(batch.records, readings, strict=True)]
        await turn.commit()
        for outcome, count in Tally(outcomes).items():
            metrics.DECISIONS.labels(outcome).inc(count)

    def _read(self, record: LogRecord) -> Reading | Unread | None:
        """None where something must be asked for first: the stream, or a registry for its schema."""
        first = record
        try:
            if record.topic == _MOVED:
                first = self._first_written(record)
            place = self._places.get((first.topic, first.partition))
            if place is None or self._unlearnt_schema(first) is not None:
                return None
            return self._read_at(place, record, first)
        except Unreadable as error:
            return Unread(first, error)
        except Exception as error:
            return _poisoned(first, error)

    async def _read_of_stranger(self, record: LogRecord) -> Reading | Unread:
        """After asking for what there was to ask for."""
        first = record
        try:
            first = self._first_written(record) if record.topic == _MOVED else record
            unlearnt = self._unlearnt_schema(first)
            if unlearnt is not None and self._registered is not None:
                await self._registered.ids.learn(unlearnt)
            place = self._places.get((first.topic, first.partition)) or await self._find(first)
            return self._read_at(place, record, first)
        except Unreadable as error:
            return Unread(first, error)
        except Exception as error:
            return _poisoned(first, error)

    def _unlearnt_schema(self, first: LogRecord) -> SchemaRef | None:
        """What a registry would have to be asked about before the record is read."""
        if self._registered is None or first.value is None:
            return None
        named = schema_named(first.value, first.headers)
        return named.ref if named is not None and self._registered.ids.is_new(named.ref) else None

    def _decide_or_set_aside(self, turn: Turn, record: LogRecord, reading: Reading | Unread) -> str:
        """Returns the outcome's name."""
        if isinstance(reading, Unread):
            return self._set_aside(turn, reading)
        if reading.is_misplaced:
            self._reroute(turn, record, reading.found)
            return "rerouted"
        first, place, found = reading.first, reading.place, reading.found
        stored = turn.table.get(reading.table_key)
        stream = place.stream
        source = Source(first.topic, stream.topic_id, first.partition, first.offset)
        try:
            pieces = found.pieces
            routes = routes_of(self._view, stream, type_of(pieces)) if place.routes is None else place.routes
            candidate = Seen(pieces.event_id, found.payload_hash, first.timestamp, routes, source)
            decided = decide(None if stored is None else _decode_seen(stored), candidate)
            effects = effects_of(decided, place, first, found)
        except Exception as error:
            return self._set_aside(turn, _poisoned(first, error))
        if type(decided) is Admitted and decided.is_new:
            turn.table.put(reading.table_key, _encode_seen(decided.entry))
            turn.has_new = True
        turn.decisions[first.partition].append(effects.decision)
        if effects.verdict is not None:
            partition, value = effects.verdict
            turn.verdicts[partition].append(value)
        if effects.deliveries:
            turn.deliveries += effects.deliveries
        if effects.conflict is not None:
            turn.conflicts.append((first, effects.conflict))
        return decided.outcome

    def _read_at(self, place: Place, record: LogRecord, first: LogRecord) -> Reading:
        """Raises Unreadable."""
        found = read(first, place.topic, self._signer, self._why_unknown)
        pieces = found.pieces
        key = place.scope.table_key(pieces.idempotency_key, pieces.event_id)
        is_misplaced = found.direct and first is record and self._is_misplaced(first, found)
        return Reading(first, place, found, key, is_misplaced)

    def _first_written(self, record: LogRecord) -> LogRecord:
        first = as_first_written(record, self._signer)
        if first is None:
            raise Unreadable("unreadable", f"a record of {record.topic} whose {ORIGIN_HEADER} is not ours")
        return first

    async def _find(self, record: LogRecord) -> Place:
        topic = parse_stream_topic(record.topic)
        if topic is None:
            raise Unreadable("unknown_stream", f"{record.topic} is no stream's topic")
        stream = self._view.streams_by_topic.get(record.topic) or await self._looked_up(record.topic)
        place = place_of(topic, stream, record.partition)
        self._places[record.topic, record.partition] = place
        return place

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
            raise Unreadable("unknown_stream", f"no stream has the topic {topic}")
        self._unknown_until.pop(topic, None)
        return stream

    def _is_misplaced(self, record: LogRecord, found: ReadEvent) -> bool:
        pieces = found.pieces
        return record.partition != right_partition(pieces.idempotency_key, pieces.event_id, self._partitions)

    def _reroute(self, turn: Turn, record: LogRecord, found: ReadEvent) -> None:
        """The same bytes; the key is the one that the right partition comes from, whatever the producer wrote."""
        key = placement_key(found.pieces.idempotency_key, found.pieces.event_id)
        header = (ORIGIN_HEADER, origin_header(record, self._signer))
        value = record.value or b""  # of a CloudEvent without data
        turn.work.produce(Topic.ADMISSION, value, key=key, headers=[header, *carried_headers(record.headers)])

    def _set_aside(self, turn: Turn, unread: Unread) -> str:
        first = unread.first
        turn.work.dead_letter(first, unread.why.reason, str(unread.why))
        turn.decisions[first.partition].append(refusal_of(first, unread.why.reason))
        return "refused"

    def _active_topics(self) -> list[str]:
        return [s.topic for s in self._view.streams.values() if s.status is not StreamStatus.CREATING and s.topic]

    def _stream_changed(self, before: State | None, after: State | None) -> None:
        """A deleted stream's topic is read on until it is gone: what was accepted before is still owed a decision."""
        if isinstance(before or after, Stream):
            self._places.clear()
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


def _poisoned(record: LogRecord, error: Exception) -> Unread:
    sparse.event("admission.poisoned", "poisoned", logging.ERROR, error=error, topic=record.topic, offset=record.offset)
    return Unread(record, Unreadable("poisoned", type(error).__name__))
