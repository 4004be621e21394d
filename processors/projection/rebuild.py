"""Makes the read model anew from the log, beside the live one, and puts it in its place in one step; or compares them.

The new one stands in a SQLite file of its own, or in a PostgreSQL schema of its own. It is filled from the log's
beginning and swept of what streams keep no longer. Then the live one's writers are held off (readers are not) while the
last records are read, up to where the live one stands, and the swap is made: so no reader goes back in time, and none
sees a half. Projection finds itself replaced at its next transaction, and goes on from the new one's positions.

Stopped anywhere, the live read model stays as it is, or the new one is in its place whole; what is left lying is taken
away by the next rebuild.
"""

import contextlib
import glob
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from sqlalchemy import Connection, Engine, make_url, select, text, update
from sqlalchemy.exc import OperationalError

from operations.kafka_clients import reader_config
from operations.read_model_engine import (
    generation_file,
    pointer_to,
    present_file,
    schema_writer,
    sqlite_writer,
    writer_engine,
)
from processors.projection.decide import project
from processors.projection.projectors import PROJECTORS
from processors.projection.retention import StreamKey, expiring, kept_days
from processors.projection.store import RowsRefused, Store
from schemas.codec import Undecodable
from schemas.commands import RETENTION_DAYS_MAX
from schemas.control_view import ControlView
from schemas.read_model import log_positions, metadata, read_model_state
from schemas.topics import Topic

FETCH_RECORDS = 5_000
FETCH_SECONDS = 1.0
SILENT_SECONDS_MAX = 60.0
READERS_FOLLOW_SECONDS = 1.0
HOLD_TRIES = 30
NEW_SCHEMA, OLD_SCHEMA = "atlas_read_model_new", "atlas_read_model_old"
Positions = Mapping[tuple[str, int], int]
Step = Callable[[str], None]
"""Told before each step, for who watches (and for tests that end the process there)."""


class RebuildFailed(Exception):
    """The live read model stays as it is; the message says why."""


class Rebuilt(NamedTuple):
    records: int
    seconds: float


@dataclass
class Beside:
    """A read model that is being made beside the live one. `take_place` is called while the live one is held."""

    store: Store
    take_place: Callable[[Connection], None]
    after: Callable[[], None]
    discard: Callable[[], None]
    reader: Callable[[], Engine]


class LogRead(NamedTuple):
    """As much of a record as projection looks at."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def rebuild(database_url: str, bootstrap: str, step: Step = lambda step: None) -> Rebuilt:
    """Raises RebuildFailed, DatabaseAway."""
    started = time.monotonic()
    with beside_live(database_url, step) as beside:
        records = fill(beside.store, bootstrap, step)
        with held(database_url, step) as live:
            records += replay(bootstrap, beside.store, positions(live))
            step("swap")
            beside.take_place(live)
            step("commit")
            live.commit()
        step("clean")
        beside.after()
    return Rebuilt(records, time.monotonic() - started)


def fill(store: Store, bootstrap: str, step: Step = lambda step: None) -> int:
    """From the log's beginning to its present end, without what streams keep no longer; the records read."""
    step("read")
    records = replay(bootstrap, store, ends_of(bootstrap))
    step("expire")
    sweep(store, kept_days(_control(bootstrap).streams.values()), time.time_ns() // 1_000_000)
    return records


def sweep(store: Store, kept: Mapping[StreamKey, int], now_ms: int) -> None:
    for key in store.streams_shown():
        old = expiring(key, kept.get(key, RETENTION_DAYS_MAX), now_ms)
        while store.expire(old) > 0:
            pass


@contextmanager
def held(database_url: str, step: Step = lambda step: None) -> Iterator[Connection]:
    """The live read model with its writers held off; its readers go on. Nothing is kept unless it is committed."""
    engine = writer_engine(database_url)
    step("hold")
    try:
        with _patiently(engine) as connection:
            connection.execute(update(read_model_state).values(generation="replaced"))
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _patiently(engine: Engine) -> Connection:
    """A transaction that has the write lock: SQLite gives it up after a second, however busy the other writer is."""
    for _ in range(HOLD_TRIES):
        connection = engine.connect()
        try:
            connection.execute(select(read_model_state.c.number))
            return connection
        except OperationalError:
            connection.close()
    raise RebuildFailed("the live read model did not let go of its write lock")


@contextmanager
def beside_live(database_url: str, step: Step) -> Iterator[Beside]:
    live = Store(writer_engine(database_url))
    live.prepare()
    live.close()
    step("make")
    url = make_url(database_url)
    make = _sqlite_beside if url.get_backend_name() == "sqlite" else _postgresql_beside
    beside = make(url.database or "" if url.get_backend_name() == "sqlite" else database_url)
    try:
        beside.store.prepare()
        yield beside
    finally:
        beside.store.close()


def _sqlite_beside(named: str) -> Beside:
    _remove_others(named)
    generation = uuid.uuid4().hex[:12]
    file = generation_file(named, generation)
    store = Store(sqlite_writer(file))

    def take_place(_live: Connection) -> None:
        """All of it is in the file itself, before its name is given out."""
        store.close()
        arriving = Path(f"{pointer_to(named)}.arriving")
        arriving.write_text(generation)
        arriving.replace(pointer_to(named))

    def after() -> None:
        time.sleep(READERS_FOLLOW_SECONDS)
        _remove_others(named)

    return Beside(store, take_place, after, lambda: _remove_others(named), lambda: sqlite_writer(file))


def _remove_others(named: str) -> None:
    """Every file but the present one: earlier read models, and those that a rebuild left half made."""
    present = present_file(named).name
    base = Path(named)
    for file in base.parent.glob(f"{glob.escape(base.name)}*"):
        of_present = file.name in (present, f"{present}-wal", f"{present}-shm", pointer_to(named).name)
        if not of_present:
            file.unlink(missing_ok=True)


def _postgresql_beside(database_url: str) -> Beside:
    engine = writer_engine(database_url)

    def drop(schemas: Iterable[str]) -> None:
        with engine.begin() as connection:
            for schema in schemas:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))

    drop((NEW_SCHEMA, OLD_SCHEMA))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {NEW_SCHEMA}"))

    def take_place(live: Connection) -> None:
        schema = live.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
        live.execute(text(f"CREATE SCHEMA {OLD_SCHEMA}"))
        for table in (*metadata.tables, "alembic_version"):
            live.execute(text(f"ALTER TABLE {schema}.{table} SET SCHEMA {OLD_SCHEMA}"))
            live.execute(text(f"ALTER TABLE {NEW_SCHEMA}.{table} SET SCHEMA {schema}"))

    def after() -> None:
        drop((NEW_SCHEMA, OLD_SCHEMA))
        engine.dispose()

    def new() -> Engine:
        return schema_writer(database_url, NEW_SCHEMA)

    return Beside(Store(new()), take_place, after, after, new)


def positions(connection: Connection) -> dict[tuple[str, int], int]:
    rows = connection.execute(select(log_positions.c.topic, log_positions.c.partition, log_positions.c.next_offset))
    return {(topic, partition): next_offset for topic, partition, next_offset in rows}


def _control(bootstrap: str) -> ControlView:
    """The entities as of now."""
    view = ControlView()
    consumer = Consumer(reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}") | {"enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(Topic.CONTROL, timeout=10).topics[Topic.CONTROL].partitions
        consumer.assign([TopicPartition(Topic.CONTROL, partition, 0) for partition in partitions])
        left = set(partitions)
        while left:
            for message in consumer.consume(FETCH_RECORDS, FETCH_SECONDS):
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
                elif error is None:
                    with contextlib.suppress(Undecodable):
                        view.apply(message.key() or b"", message.value())
    except KafkaException as error:
        raise RebuildFailed(f"control can't be read: {error}") from error
    finally:
        consumer.close()
    return view


def replay(bootstrap: str, store: Store, ends: Positions) -> int:
    """Reads each partition on from where the store is to its end, and writes it; how many records that were."""
    consumer = Consumer(reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}") | {"fetch.wait.max.ms": 20})
    try:
        begun, there = store.positions(), ends_of(bootstrap)  # of some partitions retention may have left nothing
        left = {tp: end for tp, end in ends.items() if begun.get(tp, 0) < end and tp in there}
        consumer.assign([TopicPartition(*tp, begun.get(tp, 0)) for tp in left])
        return sum(_written(store, batch) for batch in _batches(consumer, left))
    except KafkaException as error:
        raise RebuildFailed(f"the log can't be read: {error}") from error
    finally:
        consumer.close()


def ends_of(bootstrap: str) -> dict[tuple[str, int], int]:
    """Where each partition of projection's topics ends now; those that never had a record are left out."""
    consumer = Consumer(reader_config(bootstrap, f"rebuild-{uuid.uuid4().hex}"))
    try:
        ends = {}
        for topic in PROJECTORS:
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                if high > low:
                    ends[str(topic), partition] = high
        return ends
    except KafkaException as error:
        raise RebuildFailed(f"the log can't be read: {error}") from error
    finally:
        consumer.close()


def _batches(consumer: Consumer, left: dict[tuple[str, int], int]) -> Iterator[list[list[LogRead]]]:
    """Until every partition has reached its end, which is noticed at the last record before it."""
    heard_at = time.monotonic()
    while left:
        messages = [m for m in consumer.consume(FETCH_RECORDS, FETCH_SECONDS) if m.error() is None]
        if messages:
            heard_at = time.monotonic()
            yield [list(records) for records in _by_partition(messages).values()]
            _note_reached(consumer, left)
        elif time.monotonic() - heard_at > SILENT_SECONDS_MAX:
            raise RebuildFailed(f"the log gave nothing for {SILENT_SECONDS_MAX:g} s")
        else:
            _note_reached(consumer, left)


def _note_reached(consumer: Consumer, left: dict[tuple[str, int], int]) -> None:
    for reached in consumer.position([TopicPartition(*tp) for tp in left]):
        if reached.offset >= left[reached.topic, reached.partition]:
            del left[reached.topic, reached.partition]


def _by_partition(messages: Iterable[Message]) -> dict[tuple[str, int], list[LogRead]]:
    found: dict[tuple[str, int], list[LogRead]] = {}
    for message in messages:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        found.setdefault((topic, partition), []).append(
            LogRead(topic, partition, offset, message.key(), message.value())
        )
    return found


def _written(store: Store, batches: Sequence[Sequence[LogRead]]) -> int:
    try:
        store.apply([project(records) for records in batches])
    except RowsRefused:
        for records in batches:
            store.apply([project(records, without=store.refused(records, project))])
    return sum(len(records) for records in batches)
