"""`atlas export`: what was admitted of a stream, with its payload, from a real log."""

import json
from pathlib import Path

import pytest

from processors.projection import export
from processors.projection.export import ExportFailed, admitted_events, write_ndjson, write_parquet
from schemas.codec import EVENT
from schemas.topics import StreamTopic, Topic, parse_stream_topic
from tests.support.kafka_topics import a_stream_topic, ensure_base_topics, produce
from tests.support.log_records import RECEIVED_MS, a_decision, event_id

DATA = b'{"total": 1.50, "text": "\\u00fc"}'


@pytest.fixture
def topic(kafka: str) -> StreamTopic:
    """Three records: one in Avro and one of a direct producer are admitted, between them a replay."""
    ensure_base_topics(kafka)
    name = a_stream_topic(kafka, 1)
    fields = {"type": "order.paid", "occurred_at": "2026-05-18T14:22:11Z", "data": DATA}
    avro = EVENT.encode({"id": event_id(1), "stream": "", "actor": None, "metadata": None, **fields})
    direct = b'{"type":"order.paid","occurred_at":"2026-05-18T14:22:11Z","data":%b}' % DATA
    for number, (value, outcome) in enumerate([(avro, "admitted"), (avro, "replay"), (direct, "admitted")]):
        partition, offset = produce(kafka, name, value)
        place = {"topic": name, "partition": partition, "offset": offset, "received_ms": RECEIVED_MS + number}
        decision = a_decision(number, outcome=outcome, type="order.paid", metadata=b'{"a": 1}', **place)
        produce(kafka, Topic.DECISIONS, decision.encode(), partition=0)
    found = parse_stream_topic(name)
    assert found is not None
    return found


def test_ndjson_has_the_payloads_as_they_were_sent(kafka: str, topic: StreamTopic, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    assert write_ndjson(admitted_events(kafka, topic), out) == 2
    lines = out.read_bytes().splitlines()
    assert all(DATA in line for line in lines)
    events = [json.loads(line) for line in lines]
    assert [event["id"] for event in events] == [event_id(0), event_id(2)]
    assert events[0]["received_at"] == "2026-05-18T14:22:11.482Z"
    assert (events[0]["metadata"], events[0]["actor"]) == ({"a": 1}, None)


def test_parquet_has_the_same(kafka: str, topic: StreamTopic, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow, the extra `export`, is not installed")
    out = tmp_path / "events.parquet"
    assert write_parquet(admitted_events(kafka, topic), out) == 2
    table = parquet.read_table(out)
    assert table.column("id").to_pylist() == [event_id(0), event_id(2)]
    assert table.column("data").to_pylist() == [DATA.decode()] * 2
    assert str(table.schema.field("received_at").type) == "timestamp[ms, tz=UTC]"


def test_parquet_is_written_group_by_group_as_events_come(
    kafka: str, topic: StreamTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow, the extra `export`, is not installed")
    monkeypatch.setattr(export, "ROW_GROUP", 1)
    assert write_parquet(admitted_events(kafka, topic), tmp_path / "events.parquet") == 2
    assert parquet.ParquetFile(tmp_path / "events.parquet").metadata.num_row_groups == 2


def test_a_stream_that_is_not_there_leaves_no_file(kafka: str, tmp_path: Path) -> None:
    ensure_base_topics(kafka)
    out = tmp_path / "events.ndjson"
    with pytest.raises(ExportFailed, match="nowhere"):
        write_ndjson(admitted_events(kafka, StreamTopic("ws_none", "live", "nowhere")), out)
    assert list(tmp_path.iterdir()) == []
