"""The Faust shell of admission: reads stream topics in batches, decides each record, and lets everything out in one go.

A batch gives: a decision a record on `decisions`, a verdict to each request that waits, a delivery a route of an
admitted event, and the table entry of each new key. What can't be read is set aside alone. New streams are followed
as soon as `control` says so.
"""

import logging
from collections import Counter as Tally

import msgspec

from operations.logs import event
from processors.admission import metrics
from processors.admission.decide import (
    Admitted,
    Candidate,
    Conflicted,
    Decided,
    Seen,
    Source,
    decide,
    scope_of,
    table_key,
)
from processors.admission.reading import ReadEvent, Unreadable, read
from processors.admission.rerouting import ORIGIN_HEADER, as_first_written, origin_header, right_partition
from processors.runtime.batches import Batch, Record
from processors.runtime.runtime import Runtime
from processors.runtime.work import Work
from schemas.entities import State, Stream, StreamStatus, workflow_entity_id
from schemas.event_rules import SURFACE
from schemas.ids import DELIVERY, derived_id
from schemas.records import Decision, Delivery, Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.seal import Sealer
from schemas.topics import StreamTopic, Topic, parse_stream_topic

log = logging.getLogger(__name__)
AGENT = "admission"
TABLE = "seen"
KEPT_SECONDS = 26 * 3_600  # a key's 24 hours and a margin; its life is decided by the log's time, not by this

_encode_seen = msgspec.msgpack.Encoder().encode
_decode_seen = msgspec.msgpack.Decoder(Seen).decode


class Admission:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._sealer = Sealer(runtime.settings.master_key)
        self._partitions = runtime.settings.partitions

    def declare(self) -> None:
        self._runtime.table(TABLE, retention_seconds=KEPT_SECONDS)
        self._runtime.agent(AGENT, [Topic.ADMISSION, *self._active_topics()], self.handle)
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
        """Decides one record; whatever is wrong with it stays its own trouble. Returns the outcome's name."""
        first = as_first_written(record) if record.topic == Topic.ADMISSION else record
        try:
            if first is None:
                raise Unreadable("unreadable", f"a record of {record.topic} without {ORIGIN_HEADER}")
            topic, stream = await self._stream_of(first)
            read_event = read(first, topic, self._sealer)
            if read_event.direct and self._is_misplaced(record, read_event):
                self._reroute(work, record, read_event)
                return "rerouted"
            return self._decide(work, first, topic, stream, read_event)
        except Unreadable as error:
            self._set_aside(work, record if first is None else first, error)
            return "refused"
        except Exception as error:  # a poisoned record goes to the dead letters alone (RELIABILITY F18)
            log.exception("admission.poisoned", extra={"facts": {"topic": record.topic, "offset": record.offset}})
            self._set_aside(work, record if first is None else first, Unreadable("poisoned", type(error).__name__))
            return "refused"

    async def _stream_of(self, record: Record) -> tuple[StreamTopic, Stream]:
        topic = parse_stream_topic(record.topic)
        if topic is None:
            raise Unreadable("unknown_stream", f"{record.topic} is no stream's topic")
        stream = self._view.streams_by_topic.get(record.topic)
        if stream is None:
            await self._runtime.control.catch_up()
            stream = self._view.streams_by_topic.get(record.topic)
        if stream is None:
            raise Unreadable("unknown_stream", f"no stream has the topic {record.topic}")
        return topic, stream

    def _is_misplaced(self, record: Record, read_event: ReadEvent) -> bool:
        if record.topic == Topic.ADMISSION:
            return False
        return record.partition != right_partition(read_event.idempotency_key, read_event.event_id, self._partitions)

    def _reroute(self, work: Work, record: Record, read_event: ReadEvent) -> None:
        partition = right_partition(read_event.idempotency_key, read_event.event_id, self._partitions)
        header = (ORIGIN_HEADER, origin_header(record))
        work.produce(Topic.ADMISSION, record.value, key=record.key, partition=partition, headers=[header])

    def _decide(self, work: Work, record: Record, topic: StreamTopic, stream: Stream, read_event: ReadEvent) -> str:
        table = work.table(TABLE)
        scope = scope_of(topic.workspace, topic.environment, SURFACE)
        key = table_key(scope, read_event.idempotency_key, read_event.event_id)
        stored = table.get(key)
        source = Source(record.topic, stream.topic_id, record.partition, record.offset)
        decided = decide(
            None if stored is None else _decode_seen(stored),
            Candidate(read_event.event_id, read_event.payload_hash, record.timestamp, stream.default_routes, source),
        )
        if isinstance(decided, Admitted):
            if decided.is_new:
                table.put(key, _encode_seen(decided.entry))
            self._deliver(work, topic, decided.entry, read_event)
        self._tell(work, record, source, read_event, decided)
        return outcome_of(decided)

    def _deliver(self, work: Work, topic: StreamTopic, entry: Seen, read_event: ReadEvent) -> None:
        source = entry.source
        where = f"{source.topic}\0{source.topic_id}\0{source.partition}\0{source.offset}".encode()
        for workflow_id in entry.routes:
            delivery = Delivery(
                delivery_id=derived_id(DELIVERY, entry.received_ms, where, workflow_id.encode(), b"0"),
                event_id=entry.event_id,
                workspace=topic.workspace,
                environment=topic.environment,
                stream=topic.stream,
                workflow_id=workflow_id,
                received_ms=entry.received_ms,
                event=read_event.body,
            )
            endpoint = workflow_entity_id(topic.workspace, topic.environment, workflow_id)
            work.produce(Topic.DELIVERIES, delivery.encode(), key=endpoint.encode())

    def _tell(self, work: Work, record: Record, source: Source, read_event: ReadEvent, decided: Decided) -> None:
        outcome = outcome_of(decided)
        entry = decided.entry if isinstance(decided, Admitted) else decided.original
        decision = decision_of(outcome, record, source, read_event, entry)
        work.produce(Topic.DECISIONS, decision.encode(), partition=record.partition)
        reply = None if read_event.direct else decode_reply(record.header(REPLY_HEADER))
        if reply is not None:
            verdict = Verdict(
                correlation=reply.correlation,
                outcome=outcome,
                event_id=entry.event_id,
                received_ms=entry.received_ms,
                routes=entry.routes,
            )
            work.produce(Topic.VERDICTS, verdict.encode(), partition=reply.partition)

    def _set_aside(self, work: Work, record: Record, error: Unreadable) -> None:
        work.dead_letter(record, error.reason, str(error))
        decision = Decision(
            outcome="refused",
            reason=error.reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            received_ms=record.timestamp,
        )
        partition = record.partition if record.partition < self._partitions else 0
        work.produce(Topic.DECISIONS, decision.encode(), partition=partition)

    def _active_topics(self) -> list[str]:
        return [s.topic for s in self._view.streams.values() if s.status is not StreamStatus.CREATING and s.topic]

    def _stream_changed(self, before: State | None, after: State | None) -> None:
        """A deleted stream's topic is read on until it is gone: what was accepted before is still owed a decision."""
        if isinstance(after, Stream) and after.status is StreamStatus.ACTIVE and after.topic:
            event(log, "stream.followed", topic=after.topic)
            self._runtime.follow(AGENT, [after.topic])
        elif isinstance(before, Stream) and after is None:
            self._runtime.unfollow(AGENT, [before.topic])


def outcome_of(decided: Decided) -> str:
    if isinstance(decided, Admitted):
        return "admitted"
    return "conflict" if isinstance(decided, Conflicted) else "replay"


def decision_of(outcome: str, record: Record, source: Source, read_event: ReadEvent, entry: Seen) -> Decision:
    """For an admitted event all that the read model shows but the payload; for others the original's id."""
    fields = read_event.fields
    admitted = outcome == "admitted"
    return Decision(
        outcome=outcome,
        topic=source.topic,
        topic_id=source.topic_id,
        partition=source.partition,
        offset=source.offset,
        received_ms=record.timestamp,
        event_id=read_event.event_id,
        original_id="" if admitted else entry.event_id,
        direct=read_event.direct,
        type=fields["type"] if admitted else "",
        occurred_at=fields["occurred_at"] if admitted else "",
        idempotency_key=read_event.idempotency_key,
        actor=fields["actor"] if admitted else None,
        metadata=fields["metadata"] if admitted else None,
        data_bytes=len(fields["data"]),
        routes=entry.routes if admitted else [],
    )


def build(runtime: Runtime) -> None:
    Admission(runtime).declare()
