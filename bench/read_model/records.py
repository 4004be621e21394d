"""A log of events with an attempt each, made and written faster than projection reads it. Numbers make the events.

Ids look as real ones do: a time in front, then what seems random. The metadata has three keys, two of few values and
one of a thousand.
"""

from collections.abc import Iterator

from confluent_kafka import Producer

from operations import clock
from operations.kafka_clients import producer_config
from schemas.avro_pieces import NOTHING, bytes_, long, string
from schemas.codec import DECISION, OUTCOME
from schemas.records import Decision, Outcome
from schemas.topics import Topic, stream_topic

WORKSPACE, STREAM, WORKFLOW = "ws_4F9KQ2C7Z1", "orders", "wf_bench"
TOPIC = stream_topic(WORKSPACE, "live", STREAM)
TOPIC_ID = "Zs0mFh2nQ0qPq9Vb2v4m3A"
TYPES = [f"order.kind{number:02d}" for number in range(50)]
ACTOR = b'{"type":"user","id":"usr_8842","tenant_id":"tnt_119"}'
OCCURRED_AT = "2026-05-18T14:22:11Z"
EVENTS_A_MS = 20
PARTITIONS = 8
STEP_EVENTS = 4_000


def received_ms(first_ms: int, number: int) -> int:
    return first_ms + number // EVENTS_A_MS


def event_id(first_ms: int, number: int) -> str:
    """The databases make the same (reads.py): it must fit in their 64-bit arithmetic."""
    return f"evt_{received_ms(first_ms, number):013d}{number * 2_654_435_761 % 10**12:013d}"


def delivery_id(first_ms: int, number: int) -> str:
    return f"dlv_{event_id(first_ms, number)[4:]}"


def metadata(number: int) -> bytes:
    return b'{"region":"eu-west-%d","channel":"web","customer":"cus_%04d"}' % (number % 3, number % 1_000)


class Records:
    """The values on `decisions` and `outcomes`, put together from pieces; `checked` compares some with the codec's."""

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._of_partition = [
            DECISION.prefix + string("admitted") + string(TOPIC) + string(TOPIC_ID) + long(partition)
            for partition in range(PARTITIONS)
        ]
        self._after_id = NOTHING * 3  # original_id, reason, direct
        self._types = [string(name) for name in TYPES]
        self._actor = string(OCCURRED_AT) + b"\x02" + bytes_(ACTOR)
        self._end = NOTHING + long(420) + long(1) + string(WORKFLOW) + NOTHING
        self._scope = string(WORKSPACE) + string("live") + string(STREAM) + string(WORKFLOW)
        self._attempt = NOTHING + string("event") + long(1) + long(1) + string("delivered")
        self._attempt_end = b"\x02" + long(200) + NOTHING * 4

    def decision(self, number: int) -> bytes:
        parts = (
            self._of_partition[number % PARTITIONS],
            long(number // PARTITIONS),
            long(received_ms(self._first_ms, number)),
            string(event_id(self._first_ms, number)),
            self._after_id,
            self._types[number % 50],
            self._actor,
            b"\x02",
            bytes_(metadata(number)),
            self._end,
        )
        return b"".join(parts)

    def outcome(self, number: int) -> bytes:
        at_ms = received_ms(self._first_ms, number)
        parts = (
            OUTCOME.prefix,
            string(delivery_id(self._first_ms, number)),
            string(event_id(self._first_ms, number)),
            self._scope,
            long(at_ms),
            self._attempt,
            long(at_ms + 12),
            long(at_ms + 12 + number % 40),
            self._attempt_end,
        )
        return b"".join(parts)

    def checked(self) -> None:
        """Raises AssertionError where a record is not what the general writer makes of the same fields."""
        for number in (0, 7, 1_234_567):
            ms = received_ms(self._first_ms, number)
            common = {"event_id": event_id(self._first_ms, number), "received_ms": ms}
            decision = Decision(
                outcome="admitted",
                topic=TOPIC,
                topic_id=TOPIC_ID,
                partition=number % PARTITIONS,
                offset=number // PARTITIONS,
                type=TYPES[number % 50],
                occurred_at=OCCURRED_AT,
                actor=ACTOR,
                metadata=metadata(number),
                data_bytes=420,
                routes=[WORKFLOW],
                **common,
            )
            outcome = Outcome(
                delivery_id=delivery_id(self._first_ms, number),
                workspace=WORKSPACE,
                environment="live",
                stream=STREAM,
                workflow_id=WORKFLOW,
                attempt=1,
                routes=1,
                status="delivered",
                started_ms=ms + 12,
                completed_ms=ms + 12 + number % 40,
                http_status=200,
                **common,
            )
            assert self.decision(number) == decision.encode()
            assert self.outcome(number) == outcome.encode()


def produce(bootstrap: str, events: int) -> int:
    """Writes them evenly over the partitions; the `received_ms` of the first. In steps, as in life: an outcome is on
    the log after its decision, about as much later as it takes to deliver.
    """
    first_ms = clock.now_ms() - events // EVENTS_A_MS
    records = Records(first_ms)
    records.checked()
    producer = Producer(producer_config(bootstrap, linger_ms=1, queue_messages_max=500_000))
    for first in range(0, events + STEP_EVENTS, STEP_EVENTS):
        for number in range(first, min(events, first + STEP_EVENTS)):
            producer.produce(Topic.DECISIONS, records.decision(number), partition=number % PARTITIONS)
        for number in range(max(0, first - STEP_EVENTS), min(events, first)):
            producer.produce(Topic.OUTCOMES, records.outcome(number), partition=(number + 3) % PARTITIONS)
        if producer.flush(60):
            raise TimeoutError("the broker did not take all records")
    return first_ms


def batches(events: int, size: int) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """The same without a broker."""
    records = Records(1_779_114_131_482)
    for first in range(0, events, size):
        numbers = range(first, min(events, first + size))
        yield [records.decision(number) for number in numbers], [records.outcome(number) for number in numbers]
