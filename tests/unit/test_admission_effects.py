"""What a decided event causes, put together from pieces, is byte for byte what the codec would have written."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.admission.effects import effects_of
from domain.admission.encoding import StreamPartition, stream_partition
from domain.admission.reading import ReadEvent
from domain.delivery.delivery_ids import delivery_id
from domain.idempotency.events import Admitted, Conflicted, KeyDecision, KeyEntry, Replayed
from schemas.avro_pieces import array, bytes_, long, read_long, string
from schemas.codec import DECISION, DELIVERY, EVENT, VERDICT
from schemas.entities import Stream, StreamStatus
from schemas.event_layout import pieces_of
from schemas.log_records import LogRecord, SourceRecord
from schemas.records import Decision, Delivery, Verdict
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.topics import StreamTopic

TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")
EVENT_ID = "evt_01KRXQEFHR0YPPAJDE7WAZCW0J"
ORIGINAL_ID = "evt_01KRXQEFHR0YPPAJDE7WAZCW0K"

texts = st.text(max_size=300)
json_bytes = st.binary(max_size=300)
whole_numbers = st.integers(0, 2**62)
events = st.fixed_dictionaries(
    {
        "id": st.just(EVENT_ID),
        "stream": st.just(TOPIC.stream),
        "type": texts,
        "occurred_at": texts,
        "data": st.binary(max_size=20_000),
        "actor": st.none() | json_bytes,
        "metadata": st.none() | json_bytes,
        "idempotency_key": st.none() | texts,
    }
)


def a_partition(routes: list[str]) -> StreamPartition:
    stream = Stream(
        id="stm_01",
        workspace=TOPIC.workspace,
        created_ms=1,
        environment="live",
        name=TOPIC.stream,
        default_routes=routes,
        status=StreamStatus.ACTIVE,
        topic=TOPIC.name,
        topic_id="b1XVUHkwQuO0UWZgeUpQ2g",
    )
    return stream_partition(TOPIC, stream, 3)


def an_entry(partition: StreamPartition, offset: int, received_ms: int, event_id: str) -> KeyEntry:
    source = SourceRecord(TOPIC.name, partition.stream.topic_id, 3, offset)
    return KeyEntry(event_id, b"h" * 16, received_ms, partition.stream.default_routes, source)


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_written_and_read_as_avro_does(number: int) -> None:
    written = long(number)
    assert read_long(written + b"rest", 0) == (number, len(written))
    body = EVENT.encode(an_empty_event() | {"data": b""})
    assert body.endswith(b"\x00" * 4)
    assert DECISION.decode(DECISION.prefix + a_decision_body(number))["received_ms"] == number


def an_empty_event() -> dict[str, object]:
    names = ("id", "stream", "type", "occurred_at")
    return dict.fromkeys(names, "") | {"actor": None, "metadata": None, "idempotency_key": None}


def a_decision_body(received_ms: int) -> bytes:
    return string("x") + string("t") + string("") + long(0) + long(0) + long(received_ms) + b"\x00" * 11


@given(events)
def test_pieces_of_an_event_are_its_fields(event: dict[str, object]) -> None:
    pieces = pieces_of(EVENT.encode(event))
    assert (pieces.event_id, pieces.idempotency_key) == (event["id"], event["idempotency_key"])
    assert pieces.data_bytes == len(event["data"])  # type: ignore[arg-type]
    assert pieces.kind_fields == string(str(event["type"])) + string(str(event["occurred_at"]))
    assert EVENT.decode_body(pieces.body) == event


@pytest.mark.requirement("A-029", "A-030", "A-040")
@given(
    event=events,
    routes=st.lists(texts, max_size=3, unique=True),
    offset=whole_numbers,
    times=st.tuples(whole_numbers, whole_numbers),
    outcome=st.sampled_from(["admitted", "replay", "conflict"]),
    direct=st.booleans(),
)
def test_everything_is_what_the_codec_would_write(
    event: dict[str, object], routes: list[str], offset: int, times: tuple[int, int], outcome: str, direct: bool
) -> None:
    partition, (received_ms, original_ms) = a_partition(routes), times
    correlation = b"c" * 16
    reply = ReplyTo(9, correlation).encode()
    record = LogRecord(TOPIC.name, 3, offset, received_ms, b"key", b"value", ((REPLY_HEADER, reply),))
    entry = an_entry(partition, offset, received_ms if outcome == "admitted" else original_ms, EVENT_ID)
    if outcome != "admitted":
        entry = msgspec.structs.replace(entry, event_id=ORIGINAL_ID)
    decided: KeyDecision = {
        "admitted": Admitted(entry, is_new=True),
        "replay": Replayed(entry),
        "conflict": Conflicted(entry),
    }[outcome]
    effects = effects_of(decided, partition, record, ReadEvent(pieces_of(EVENT.encode(event)), b"h" * 16, direct))
    assert decided.outcome == outcome
    assert effects.decision == expected_decision(outcome, partition, record, event, entry, direct).encode()
    if direct:
        assert effects.verdict is None
    else:
        verdict = Verdict(
            correlation=correlation,
            outcome=outcome,
            event_id=entry.event_id,
            received_ms=entry.received_ms,
            routes=routes,
        )
        assert effects.verdict == (9, verdict.encode())
    expected = [expected_delivery(route, entry, event).encode() for route in routes] if outcome == "admitted" else []
    assert [delivery["value"] for delivery in effects.deliveries] == expected
    assert (effects.conflict is not None) == (direct and outcome == "conflict"), "a gateway's caller is answered 409"
    if effects.conflict is not None:
        assert f"{ORIGINAL_ID} with other content ({TOPIC.name}, " in effects.conflict


def expected_decision(
    outcome: str, partition: StreamPartition, record: LogRecord, event: dict[str, object], entry: KeyEntry, direct: bool
) -> Decision:
    shown = {name: event[name] for name in ("type", "occurred_at", "actor", "metadata")}
    return Decision(
        outcome=outcome,
        topic=TOPIC.name,
        topic_id=partition.stream.topic_id,
        partition=3,
        offset=record.offset,
        received_ms=record.timestamp,
        event_id=EVENT_ID,
        original_id="" if outcome == "admitted" else ORIGINAL_ID,
        direct=direct,
        idempotency_key=event["idempotency_key"],  # type: ignore[arg-type]
        data_bytes=len(event["data"]),  # type: ignore[arg-type]
        routes=entry.routes if outcome == "admitted" else [],
        **(shown if outcome == "admitted" else {}),  # type: ignore[arg-type]
    )


def expected_delivery(route: str, entry: KeyEntry, event: dict[str, object]) -> Delivery:
    return Delivery(
        delivery_id=delivery_id(entry.source, entry.received_ms, route),
        event_id=EVENT_ID,
        workspace=TOPIC.workspace,
        environment="live",
        stream=TOPIC.stream,
        workflow_id=route,
        received_ms=entry.received_ms,
        event=EVENT.body_of(EVENT.encode(event)),
        routes=len(entry.routes),
    )


def test_the_records_have_the_fields_that_are_put_together() -> None:
    """Fails when an .avsc changes without encoding.py and effects.py."""
    fields = {codec.schema.name: [f["name"] for f in codec.schema.parsed["fields"]] for codec in (VERDICT, DELIVERY)}
    assert fields == {
        "Verdict": ["correlation", "outcome", "event_id", "received_ms", "routes", "status", "body"],
        "Delivery": [
            "delivery_id",
            "event_id",
            "workspace",
            "environment",
            "stream",
            "workflow_id",
            "replay",
            "received_ms",
            "event",
            "kind",
            "routes",
        ],
    }
    assert array([bytes_(b"a")]) == b"\x02\x02a\x00"
