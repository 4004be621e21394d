"""Many records read together are what one reads alone, and rows made together are those made one by one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events.spine_events import STREAM as SPINE
from processors.projection.changes import Changes, each
from processors.projection.columns import ByColumns, together
from processors.projection.projectors import attempts, events
from schemas.avro_columns import ColumnReader, Columns
from schemas.codec import DECISION, OUTCOME, Codec, Undecodable
from schemas.read_model import LogPosition
from schemas.topics import Topic, stream_topic
from tests.support.log_records import RECEIVED_MS, WORKSPACE, ProjectionInput, a_decision, an_outcome, event_id
from tests.unit.test_avro_reader import values_of

CODECS = (DECISION, OUTCOME)
PLAIN = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=200)


def fields_of(codec: Codec) -> list[tuple[str, Any]]:
    return [(field["name"], field["type"]) for field in json.loads(codec.schema.text)["fields"]]


def usual_of(kind: Any) -> st.SearchStrategy[Any]:
    if kind == "string":
        return PLAIN
    if isinstance(kind, dict):
        return st.lists(PLAIN, max_size=5)
    return st.none() | PLAIN if kind == ["null", "string"] else values_of(kind)


def record_of(codec: Codec) -> st.SearchStrategy[bytes]:
    """Usual ones, others, and what is none."""
    usual = st.fixed_dictionaries({name: usual_of(kind) for name, kind in fields_of(codec)})
    other = st.fixed_dictionaries({name: values_of(kind) for name, kind in fields_of(codec)})
    whole = usual.map(codec.encode)
    cut = st.tuples(whole, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])
    damaged = st.tuples(whole, st.integers(0, 400), st.binary(min_size=1, max_size=2)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    return whole | whole | other.map(codec.encode) | cut | damaged | st.binary(max_size=40)


def cells(columns: Columns, name: str, kind: Any) -> list[Any]:
    """A field of the regular records, as the general reader gives it."""
    if isinstance(kind, dict):
        return columns.encoded(name, name)
    if isinstance(kind, list):
        by_type = {"string": columns.maybe_texts, "bytes": columns.maybe_bytes}
        return list(by_type.get(kind[1], columns.maybe_numbers)(name))
    return list(columns.texts(name) if kind == "string" else columns.numbers(name))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.schema.name))
@given(data=st.data())
@settings(max_examples=25)
def test_what_is_read_together_is_what_is_read_alone(codec: Codec, data: st.DataObject) -> None:
    values = data.draw(st.lists(record_of(codec), min_size=1, max_size=12))
    columns = ColumnReader.of_text(codec.schema.text).read(values, codec.prefix)
    alone = [codec.values(values[place]) for place in columns.regular]
    for number, (name, kind) in enumerate(fields_of(codec)):
        expected = [row[number] for row in alone]
        if isinstance(kind, dict):
            arrays = [text.encode("latin-1") for text in cells(columns, name, kind)]
            assert [codec.values(values[place])[number] for place in columns.regular] == expected
            assert all(array in values[place] for array, place in zip(arrays, columns.regular, strict=True))
        else:
            assert cells(columns, name, kind) == expected, name


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.schema.name))
@given(data=st.data())
@settings(max_examples=12)
def test_what_is_usual_is_read_together(codec: Codec, data: st.DataObject) -> None:
    """Else nothing would be gained: texts of ASCII, numbers of 63 bits, a few routes."""
    small = {"int": st.integers(-9_000, 2**31 - 1), "long": st.integers(0, 2**41)}

    def strategy(kind: Any) -> st.SearchStrategy[Any]:
        if isinstance(kind, list) and kind[1] in small:
            return st.none() | small[kind[1]]
        return small[kind] if isinstance(kind, str) and kind in small else usual_of(kind)

    usual = st.fixed_dictionaries({name: strategy(kind) for name, kind in fields_of(codec)}).map(codec.encode)
    values = data.draw(st.lists(usual, min_size=1, max_size=12))
    columns = ColumnReader.of_text(codec.schema.text).read([None, *values, b""], codec.prefix)
    assert columns.regular == list(range(1, len(values) + 1))
    assert columns.only([True] + [False] * (len(values) - 1)).regular == [1]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.schema.name))
@given(data=st.data())
@settings(max_examples=5)
def test_a_last_record_that_is_cut_short_is_left_to_the_general_reader(codec: Codec, data: st.DataObject) -> None:
    usual = st.fixed_dictionaries({name: usual_of(kind) for name, kind in fields_of(codec)}).map(codec.encode)
    whole, last = data.draw(usual), data.draw(usual)
    for length in range(len(last)):
        columns = ColumnReader.of_text(codec.schema.text).read([whole, last[:length]], codec.prefix)
        assert 1 not in columns.regular, length


LONG = b'{"long":"' + b"x" * 2_000 + b'"}'
DECISIONS = st.builds(
    a_decision,
    st.integers(0, 40),
    outcome=st.sampled_from(["admitted"] * 6 + ["replay", "conflict", "refused", "lost"]),
    topic=st.sampled_from([stream_topic(WORKSPACE, "live", name) for name in ("orders", "a-b", SPINE)] + ["commands"]),
    topic_id=st.sampled_from(["one", "two"]),
    partition=st.integers(2, 3),
    direct=st.booleans(),
    original_id=st.just(event_id(1)),
    type=st.sampled_from(["a.b", "naïve", "nul\x00"]),
    actor=st.sampled_from([None, b'{"type":"source","id":"s1"}', b'{"id":"\xc3\xa9"}', b"\xff"]),
    metadata=st.sampled_from(
        [None, b'{"a":"b","n":1}', b"[]", b'{"a":"\\u0000"}', b'{"long":"' + b"x" * 2_000 + b'"}']
    ),
    idempotency_key=st.sampled_from([None, "key", "schl\u00fcssel"]),
    routes=st.lists(st.sampled_from(["wf_1", "wf_2"]), max_size=3),
) | st.builds(a_decision, event_id=st.sampled_from(["", "e" * 300, "x\x00y"]))
OUTCOMES = st.builds(
    an_outcome,
    st.integers(0, 40),
    workflow_id=st.sampled_from(["wf_one", "whk_1", "", "w" * 250]),
    kind=st.sampled_from(["event", "event", "webhook", "other"]),
    attempt=st.integers(1, 3),
    status=st.sampled_from(["delivered", "retry_scheduled", "lost"]),
    http_status=st.sampled_from([None, 200, 503]),
    error_code=st.sampled_from([None, "upstream_status"]),
    error_message=st.sampled_from([None, "no", "n\x00", "né"]),
    next_attempt_ms=st.sampled_from([None, RECEIVED_MS]),
    response_excerpt=st.sampled_from([None, b"\x00\xff"]),
)


@pytest.mark.parametrize(
    ("topic", "codec", "kind", "apply", "records"),
    [
        (Topic.DECISIONS, DECISION, events.BY_COLUMNS, events.apply, DECISIONS),
        (Topic.OUTCOMES, OUTCOME, attempts.BY_COLUMNS, attempts.apply, OUTCOMES),
    ],
    ids=["decisions", "outcomes"],
)
@given(data=st.data())
@settings(max_examples=25)
def test_rows_made_together_are_those_made_one_by_one(
    topic: Topic, codec: Codec, kind: ByColumns, apply: Any, records: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(records, min_size=8, max_size=16)) * 8
    values = [record.encode() for record in chosen] + [b"", b"{}", codec.prefix]
    batch = [ProjectionInput(topic, 3, offset, value) for offset, value in enumerate(values)]
    one, many = Changes(LogPosition(topic, 3, len(batch))), Changes(LogPosition(topic, 3, len(batch)))
    each(apply)(one, batch)
    together(codec, kind, apply)(many, batch)
    assert {table: sorted(rows, key=repr) for table, rows in many.rows.items() if rows} == {
        table: sorted(rows, key=repr) for table, rows in one.rows.items() if rows
    }
    assert sorted(many.unreadable, key=repr) == sorted(one.unreadable, key=repr)
    assert many.sources.keys() == one.sources.keys()


def test_the_last_word_on_a_streams_position_is_that_of_the_later_record() -> None:
    """Records of a topic that was made anew among those before it, whichever are read together."""
    told = [("old", 7), ("old", 9), ("new", 0), ("new", 1)]
    batch = [
        a_decision(number, topic_id=topic_id, offset=offset, partition=3, type="naïve" if number % 2 else "plain")
        for number, (topic_id, offset) in enumerate(told * 20)
    ]
    log = [ProjectionInput(Topic.DECISIONS, 3, offset, decision.encode()) for offset, decision in enumerate(batch)]
    changes = Changes(LogPosition(Topic.DECISIONS, 3, len(log)))
    together(DECISION, events.BY_COLUMNS, events.apply)(changes, log)
    (source,) = changes.sources.values()
    assert (source.topic_id, source.next_offset, source.log_offset) == ("new", 2, len(log) - 1)


def test_values_of_another_schema_are_left_to_the_general_reader() -> None:
    columns = ColumnReader.of_text(DECISION.schema.text).read([an_outcome().encode()] * 3, DECISION.prefix)
    assert len(columns) == 0
    with pytest.raises(Undecodable):
        DECISION.values(an_outcome().encode())
