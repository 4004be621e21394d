"""The hand-made writer of events writes what Avro's own writer does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.avro import encode_event
from domain.events.rules import EventFields, to_record
from schemas.codec import EVENT, Codec

FIELDS = st.builds(
    EventFields,
    stream=st.text(max_size=70),
    type=st.text(max_size=70),
    occurred_at=st.text(max_size=40),
    occurred_ms=st.just(0),
    data=st.binary(max_size=200),
    actor=st.none() | st.binary(max_size=70),
    metadata=st.none() | st.binary(max_size=70),
    idempotency_key=st.none() | st.text(max_size=70),
)


@given(fields=FIELDS, event_id=st.text(max_size=70))
def test_the_bytes_are_avros(fields: EventFields, event_id: str) -> None:
    assert encode_event(fields, event_id) == EVENT.encode(to_record(fields, event_id))


@pytest.mark.parametrize("size_bytes", [0, 63, 64, 127, 128, 8_191, 8_192, 1_048_576, 3_000_000])
def test_lengths_around_the_steps_of_a_varint(size_bytes: int) -> None:
    fields = EventFields(stream="", type="", occurred_at="", occurred_ms=0, data=b"x" * size_bytes)
    assert EVENT.decode(encode_event(fields, "evt_1"))["data"] == fields.data


def test_a_registrys_header_is_written_too(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec("Event")
    codec.use_registry(7)
    monkeypatch.setattr("domain.events.avro.EVENT", codec)
    fields = EventFields(stream="s", type="t", occurred_at="o", occurred_ms=0, data=b"{}")
    assert encode_event(fields, "evt_1") == codec.encode(to_record(fields, "evt_1"))
