"""The Faust shell of admission: reads stream topics in batches, decides each record, and lets everything out in one go.

A batch gives: a decision a record on `decisions`, a verdict to each request that waits, a delivery a route of an
admitted event, and the table entry of each new key. What can't be read is set aside alone. New streams are followed
as soon as `control` says so.
"""

import asyncio
import logging
from collections import Counter as Tally

import msgspec

from operations.logs import Sparse, event
from processors.admission import metrics
from processors.admission.decide import Admitted, Candidate, Seen, Source, decide, table_key
from processors.admission.effects import Message, Place, effects_of, outcome_of, place_of, refusal_of
from processors.admission.reading import ReadEvent, Unreadable, read
from processors.admission.registered import RegisteredStreams
from processors.admission.rerouting import (
    ORIGIN_HEADER,
    as_first_written,
    origin_header,
    placement_key,
    right_partition,
)
from processors.admission.subscribers import routes_of
from processors.runtime.batches import Batch, Record
from processors.runtime.runtime import Runtime
from processors.runtime.table import TableView
from processors.runtime.work import Work
from schemas.entities import State, Stream, StreamStatus
from schemas.seal import Sealer
from schemas.topics import Topic, parse_stream_topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
AGENT = "admission"
TABLE = "seen"
KEPT_SECONDS = 26 * 3_600  # a key's 24 hours and a margin; its life is decided by the log's time, not by this
UNKNOWN_SECONDS = 1.0

_encode_seen = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(Seen).decode


class Turn:
    """One turn's work, gathered by topic: what leaves together costs less."""

    def __init__(self, work: Work, table: TableView) -> None:
        self.work = work
        self.table = table
        self.tally: Tally[str] = Tally()
        self.has_new = False
        self.decisions: list[Message] = []
        self.verdicts: list[Message] = []
        self.deliveries: list[Message] = []

    async def commit(self) -> None:
        """Entries of new keys first. Were they to leave together with what is told of them, a crash could keep the one
        and lose the other; and records of two streams, or one that was moved here, may then be decided in another
        order: the same key would be admitted again, for the other record.
        """
        if self.has_new:
            await self.work.save()
        self.work.produce_many(Topic.VERDICTS, self.verdicts)
        self.work.produce_many(Topic.DECISIONS, self.decisions)
        self.work.produce_many(Topic.DELIVERIES, self.deliveries)
        await self.work.commit()


class Admission:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._sealer = Sealer(runtime.settings.master_key)
        self._partitions = runtime.settings.partitions
        self._places: dict[tuple[str, int], Place] = {}
        self._unknown_until: dict[str, float] = {}
        self._registered = None if runtime.registry is None else RegisteredStreams(runtime.registry)

    def declare(self) -> None:
        self._runtime.table(TABLE, retention_seconds=KEPT_SECONDS)
        self._runtime.agent(AGENT, [Topic.ADMISSION, *self._active_topics()], self.handle, takes_turns=True)
        self._view.on_change(self._stream_changed)
        for topic in self._active_topics():
            self._announce(topic)

    async def handle(self, batch: Batch) -> None:
        work = self._runtime.begin(batch)
        turn = Turn(work, work.table(TABLE))
        for record in batch.records:
            turn.tally[await self._handle_one(turn, record)] += 1
        await turn.commit()
        for outcome, count in turn.tally.items():
            metrics.DECISIONS.labels(outcome).inc(count)

    async def _handle_one(self, turn: "Turn", record: Record) -> str:
        """Decides one record; whatever is wrong with it stays its own trouble (RELIABILITY F18). Returns the outcome's
        name. A table or an outbox that fails is nobody's own: that raises, and the process stops with it.
        """
        first = record
        try:
            if record.topic == Topic.ADMISSION:
                first = self._first_written(record)
            if self._registered is not None and self._registered.ids.is_new(first.value):
                await self._registered.ids.learn(first.value)
            place = self._places.get((first.topic, first.partition)) or await self._find(first)
            found = read(first, place.topic, self._sealer)
        except Unreadable as error:
            return self._set_aside(turn, first, error)
        except Exception as error:
            return self._set_aside_poisoned(turn, first, error)
        if found.direct and record.topic != Topic.ADMISSION and self._is_misplaced(first, found):
            self._reroute(turn, first, found)
            return "rerouted"
        return self._decide(turn, place, first, found)

    def _first_written(self, record: Record) -> Record:
        first = as_first_written(record, self._sealer)
        if first is None:
            raise Unreadable("unreadable", f"a record of {record.topic} whose {ORIGIN_HEADER} is not ours")
        return first

    async def _find(self, record: Record) -> Place:
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
            while not await self._runtime.control.catch_up():
                event(log, "control.behind", logging.WARNING, topic=topic)
        stream = self._view.streams_by_topic.get(topic)
        if stream is None:
            self._unknown_until[topic] = now_seconds + UNKNOWN_SECONDS
            raise Unreadable("unknown_stream", f"no stream has the topic {topic}")
        self._unknown_until.pop(topic, None)
        return stream

    def _is_misplaced(self, record: Record, found: ReadEvent) -> bool:
        pieces = found.pieces
        return record.partition != right_partition(pieces.idempotency_key, pieces.event_id, self._partitions)

    def _reroute(self, turn: "Turn", record: Record, found: ReadEvent) -> None:
        """The same bytes; the key is the one that the right partition comes from, whatever the producer wrote."""
        key = placement_key(found.pieces.idempotency_key, found.pieces.event_id)
        header = (ORIGIN_HEADER, origin_header(record, self._sealer))
        turn.work.produce(Topic.ADMISSION, record.value, key=key, headers=[header])

    def _decide(self, turn: "Turn", place: Place, record: Record, found: ReadEvent) -> str:
        event_id = found.pieces.event_id
        key = table_key(place.scope, found.pieces.idempotency_key, event_id)
        stored = turn.table.get(key)
        stream = place.stream
        source = Source(record.topic, stream.topic_id, record.partition, record.offset)
        try:
            routes = routes_of(self._view, stream, found.pieces)
            candidate = Candidate(event_id, found.payload_hash, record.timestamp, routes, source)
            decided = decide(None if stored is None else _decode_seen(stored), candidate)
            effects = effects_of(decided, place, record, found)
        except Exception as error:
            return self._set_aside_poisoned(turn, record, error)
        if isinstance(decided, Admitted) and decided.is_new:
            turn.table.put(key, _encode_seen(decided.entry))
            turn.has_new = True
        turn.decisions.append(effects.decision)
        if effects.verdict is not None:
            turn.verdicts.append(effects.verdict)
        if effects.deliveries:
            turn.deliveries += effects.deliveries
        return outcome_of(decided)

    def _set_aside_poisoned(self, turn: "Turn", record: Record, error: Exception) -> str:
        sparse.event(
            "admission.poisoned", "poisoned", logging.ERROR, error=error, topic=record.topic, offset=record.offset
        )
        return self._set_aside(turn, record, Unreadable("poisoned", type(error).__name__))

    def _set_aside(self, turn: "Turn", record: Record, error: Unreadable) -> str:
        turn.work.dead_letter(record, error.reason, str(error))
        turn.decisions.append(refusal_of(record, error.reason))
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
            self._runtime.unfollow(AGENT, [before.topic])

    def _announce(self, topic: str) -> None:
        if self._registered is not None:
            self._registered.announce(topic)


def build(runtime: Runtime) -> None:
    Admission(runtime).declare()
