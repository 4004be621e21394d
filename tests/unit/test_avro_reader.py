"""The compiled reader reads what fastavro reads, and refuses what is no record (schemas/avro_reader.py)."""

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro_reader import AvroReader, Malformed, reader_of
from schemas.codec import CODECS, Codec
from tests.support.log_records import a_decision, an_outcome

READABLE = [codec for codec in CODECS if codec.schema.name in {"Decision", "Outcome", "Audit", "Entity", "Event"}]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=300),
    "bytes": st.binary(max_size=300),
    "int": st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(2**33, 2**41) | st.integers(-9_000, 9_000),
    "boolean": st.booleans(),
}


def readers() -> list[tuple[Codec, AvroReader]]:
    return [(codec, reader_of(json.loads(codec.schema.text))) for codec in READABLE]


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, list):
        return st.none() | VALUES[kind[1]]
    return st.lists(VALUES["string"], max_size=5) if isinstance(kind, dict) else VALUES[kind]


RECORDS = st.sampled_from(readers()).flatmap(
    lambda pair: st.tuples(
        st.just(pair),
        st.tuples(*(values_of(field["type"]) for field in json.loads(pair[0].schema.text)["fields"])),
    )
)


@given(RECORDS, st.binary(max_size=12))
def test_it_reads_what_was_written_wherever_it_stands(
    record: tuple[tuple[Codec, AvroReader], tuple[Any, ...]], before: bytes
) -> None:
    (codec, read), values = record
    names = [field["name"] for field in json.loads(codec.schema.text)["fields"]]
    body = codec.body_of(codec.encode(dict(zip(names, values, strict=True))))
    assert read(before + body, len(before)) == values


@given(st.sampled_from(readers()), st.data())
def test_of_any_bytes_it_says_what_the_general_reader_says_or_refuses_them(
    pair: tuple[Codec, AvroReader], data: st.DataObject
) -> None:
    """It may refuse more (a number of 70 bits), never read something else."""
    codec, read = pair
    whole = (a_decision() if codec.schema.name == "Decision" else an_outcome()).encode()[10:]
    at = data.draw(st.integers(0, len(whole) - 1))
    body = data.draw(st.just(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]) | st.binary(max_size=60))
    try:
        values = read(body, 0)
    except Malformed:
        return
    source = io.BytesIO(body)
    record = fastavro.schemaless_reader(source, codec.schema.parsed, None)
    assert tuple(record.values()) == values
    assert source.tell() == len(body)


@pytest.mark.parametrize("codec", READABLE, ids=lambda codec: str(codec.schema.name))
def test_nothing_cut_short_or_with_more_behind_it_is_read(codec: Codec) -> None:
    read = reader_of(json.loads(codec.schema.text))
    kinds = [field["type"] for field in json.loads(codec.schema.text)["fields"]]
    plain = {"string": "text", "bytes": b"bytes", "int": 300, "long": 1_779_114_131_482, "boolean": True}
    values = {
        field["name"]: ["a", "b"] if isinstance(kind, dict) else plain[kind if isinstance(kind, str) else kind[1]]
        for field, kind in zip(json.loads(codec.schema.text)["fields"], kinds, strict=True)
    }
    body = codec.body_of(codec.encode(values))
    assert read(body, 0) == tuple(values.values())
    for length in range(len(body)):
        with pytest.raises(Malformed):
            read(body[:length], 0)
    with pytest.raises(Malformed, match="follow"):
        read(body + b"\x00", 0)
