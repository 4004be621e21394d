"""A stream's events from the log as rows for analysts: each admitted record once, with its payload.

`decisions` says which records were admitted and when, the stream's topic holds their payloads; both are read once, from
their beginnings to their present ends. The stream's decisions are kept in a temporary file while its topic is read,
and rows are written as they come, so memory does not grow with the stream. Records that the topic's retention has
removed are left out. An event that was admitted twice (its key's 24 hours were over) is listed twice.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from domain.events.direct_records import data_of_admitted
from domain.events.rules import EventInvalid
from domain.events.spine_events import STREAM as SPINE
from domain.events.spine_records import data_of
from domain.json.strict import JsonError
from operations.kafka_clients import reader_config, reason_of
from operations.message_headers import headers_of
from schemas.codec import DECISION, Undecodable
from schemas.records import Decision
from schemas.times import rfc3339
from schemas.topics import StreamTopic, Topic

FETCH_RECORDS, FETCH_SECONDS = 2_000, 1.0
ROW_GROUP = 10_000
ASIDE_CACHE_KIB = 32_768
JSON_PARTS = ("data", "actor", "metadata")
Event = dict[str, Any]
"""id, stream, type, received_at, occurred_at, idempotency_key, and as JSON text: data, actor, metadata."""


class ExportFailed(Exception):
    """The message says why; what was written so far is not whole."""


def admitted_events(bootstrap: str, topic: StreamTopic) -> Iterator[Event]:
    """In the order of each partition. Raises ExportFailed."""
    with closing(_Admitted()) as admitted:
        admitted.put(_decided(_records(bootstrap, Topic.DECISIONS), topic.name))
        for message in _records(bootstrap, topic.name):
            found = admitted.take(message.partition() or 0, message.offset() or 0)
            if found is not None:
                yield _event(found, topic.stream, _payload(message, topic))


class _Admitted:
    """The stream's decisions by the record that they are about, on disk: memory does not grow with the stream."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a file of its own, gone when it is closed
        self._database.execute(f"PRAGMA cache_size=-{ASIDE_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode=OFF")
        columns = "partition INTEGER, position INTEGER, decision BLOB, PRIMARY KEY (partition, position)"
        self._database.execute(f"CREATE TABLE admitted ({columns}) WITHOUT ROWID")

    def put(self, decisions: Iterator[tuple[int, int, bytes]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO admitted VALUES (?, ?, ?)", decisions)
        self._database.execute("COMMIT")

    def take(self, partition: int, offset: int) -> Decision | None:
        asked = "SELECT decision FROM admitted WHERE partition = ? AND position = ?"
        row = self._database.execute(asked, (partition, offset)).fetchone()
        return None if row is None else Decision.decode(row[0])

    def close(self) -> None:
        self._database.close()


def _decided(messages: Iterable[Message], topic: str) -> Iterator[tuple[int, int, bytes]]:
    for message in messages:
        value = message.value()
        try:
            outcome, of_topic, _, partition, offset, *_ = DECISION.values(value)
        except Undecodable:
            continue
        if (of_topic, outcome) == (topic, "admitted"):
            yield partition, offset, value or b""


def write_ndjson(events: Iterator[Event], out: Path) -> int:
    """One event a line, its JSON parts as they were sent; how many."""
    return _whole(out, lambda file: _lines(events, file))


def write_parquet(events: Iterator[Event], out: Path) -> int:
    """Text columns, JSON parts as text; how many."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ExportFailed("Parquet needs pyarrow: pip install 'atlas-events[export]'") from None
    names = ("id", "stream", "type", "received_at", "occurred_at", "idempotency_key", "data", "actor", "metadata")
    times = ("received_at",)
    fields = [(name, pyarrow.timestamp("ms", "UTC") if name in times else pyarrow.string()) for name in names]
    schema = pyarrow.schema(fields)

    def write(file: BinaryIO) -> int:
        count = 0
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            while group := list(islice(events, ROW_GROUP)):
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                count += len(group)
        return count

    return _whole(out, write)


def _whole(out: Path, write: Callable[[BinaryIO], int]) -> int:
    """The file gets its name only when it is whole."""
    arriving = out.with_name(f"{out.name}.arriving")
    try:
        with arriving.open("wb") as file:
            count = write(file)
        arriving.replace(out)
    except OSError as error:
        raise ExportFailed(f"{out} can't be written: {error}") from error
    finally:
        arriving.unlink(missing_ok=True)
    return count


def _lines(events: Iterator[Event], file: BinaryIO) -> int:
    count = 0
    for event in events:
        shown = event | {"received_at": rfc3339(event["received_at"])}
        shown |= {name: orjson.Fragment(event[name]) for name in JSON_PARTS if event[name] is not None}
        file.write(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count


def _event(decision: Decision, stream: str, data: str) -> Event:
    return {
        "id": decision.event_id,
        "stream": stream,
        "type": decision.type,
        "received_at": decision.received_ms,
        "occurred_at": decision.occurred_at,
        "idempotency_key": decision.idempotency_key,
        "data": data,
        "actor": None if decision.actor is None else decision.actor.decode(),
        "metadata": None if decision.metadata is None else decision.metadata.decode(),
    }


def _payload(message: Message, topic: StreamTopic) -> str:
    read = data_of if topic.stream == SPINE else data_of_admitted
    try:
        return read(message.value() or b"", headers_of(message)).decode()
    except (Undecodable, EventInvalid, JsonError, KeyError, msgspec.MsgspecError) as error:
        raise ExportFailed(f"an admitted record can't be read: {error}") from error


def _records(bootstrap: str, topic: str) -> Iterator[Message]:
    """All of a topic as of now."""
    consumer = Consumer(reader_config(bootstrap, "atlas-export") | {"enable.partition.eof": True})
    try:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error is not None:
            raise ExportFailed(f"{topic}: {found.error.str()}")
        consumer.assign([TopicPartition(topic, partition, 0) for partition in found.partitions])
        left = set(found.partitions)
        while left:
            for message in consumer.consume(FETCH_RECORDS, FETCH_SECONDS):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
    except KafkaException as error:
        raise ExportFailed(f"the log can't be read: {reason_of(error)}") from error
    finally:
        consumer.close()
