"""Rebuilds the read model from the log, next to the live one, and swaps the two in one step; or only compares them.

The new read model is a SQLite file, or a PostgreSQL schema, of its own. It is filled from the beginning of the log, and
rows that their streams no longer keep are deleted. Then the live one's writers are held off (its readers are not) while
the last records are read, up to the live one's positions, and the two are swapped. So no reader goes back in time, and
none sees half a read model. Projection notices at its next transaction that its read model was replaced, and goes on
from the new one's positions.

If it is stopped at any moment, either the live read model is as it was or the new one has replaced it whole. The next
rebuild removes what was left over.
"""

import contextlib
import glob
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from sqlalchemy import Connection, Engine, make_url, select, text, update
from sqlalchemy.exc import OperationalError

from domain.entities.control_view import ControlView, StreamKey
from operations import clock
from operations.kafka_clients import reader_config
from operations.private_files import write_whole
from operations.read_model_engine import (
    generation_file,
    pointer_to,
    present_file,
    schema_writer,
    settle_bulk,
    sqlite_writer,
    writer_engine,
)
from processors.projection.log_batches import FETCH_RECORDS, FETCH_SECONDS, RebuildFailed
from processors.projection.replay import ends_of, replay
from processors.projection.retention import expiring, kept_days
from processors.projection.store import Store
from schemas.codec import Undecodable
from schemas.commands.streams import RETENTION_DAYS_MAX
from schemas.read_model import log_positions, metadata, read_model_state
from schemas.topics import Topic

READERS_FOLLOW_SECONDS = 1.0
HOLD_TRIES = 30
NEW_SCHEMA, OLD_SCHEMA = "atlas_read_model_new", "atlas_read_model_old"
BeforeStep = Callable[[str], None]
"""Called with the name of each step before it begins: to show progress, and for tests that end the process there."""


class Rebuilt(NamedTuple):
    records: int
    seconds: float


@dataclass
class NewReadModel:
    """A read model that is being made next to the live one. `settle` is called once it is filled: from then on what is
    written to it is safe as in the live one. `take_place` is called while the live one is held.
    """

    store: Store
    settle: Callable[[], None]
    take_place: Callable[[Connection], None]
    after: Callable[[], None]
    discard: Callable[[], None]
    reader: Callable[[], Engine]


def rebuild(database_url: str, bootstrap: str, step: BeforeStep = lambda step: None) -> Rebuilt:
    """Raises RebuildFailed, DatabaseAway."""
    started = time.monotonic()
    with new_read_model(database_url, step) as new:
        records = fill(new, bootstrap, step)
        with held(database_url, step) as live:
            records += replay(bootstrap, new.store, positions(live))
            new.store.count_from(live.execute(select(read_model_state.c.transactions)).scalar_one())
            step("swap")
            new.take_place(live)
            step("commit")
            live.commit()
        step("clean")
        new.after()
    return Rebuilt(records, time.monotonic() - started)


def fill(new: NewReadModel, bootstrap: str, step: BeforeStep = lambda step: None) -> int:
    """From the log's beginning to its present end, without what streams keep no longer; the records read."""
    store = new.store
    step("read")
    store.drop_indexes()
    records = replay(bootstrap, store, ends_of(bootstrap))
    step("index")
    store.make_indexes()
    step("expire")
    sweep(store, kept_days(_control(bootstrap).streams.values()), clock.now_ms())
    new.settle()
    return records


def sweep(store: Store, kept: Mapping[StreamKey, int], now_ms: int) -> None:
    for key in store.streams_shown():
        old = expiring(key, kept.get(key, RETENTION_DAYS_MAX), now_ms)
        while store.expire(old) > 0:
            pass


@contextmanager
def held(database_url: str, step: BeforeStep = lambda step: None) -> Iterator[Connection]:
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
def new_read_model(database_url: str, step: BeforeStep) -> Iterator[NewReadModel]:
    live = Store(writer_engine(database_url))
    live.prepare()
    live.close()
    step("make")
    url = make_url(database_url)
    make = _new_sqlite_file if url.get_backend_name() == "sqlite" else _new_postgresql_schema
    new = make(url.database or "" if url.get_backend_name() == "sqlite" else database_url)
    try:
        new.store.prepare()
        yield new
    finally:
        new.store.close()


def _new_sqlite_file(named: str) -> NewReadModel:
    _remove_others(named)
    generation = uuid.uuid4().hex[:12]
    file = generation_file(named, generation)
    store = Store(sqlite_writer(file, bulk=True))

    def settle() -> None:
        store.close()
        settle_bulk(file)
        new.store = Store(sqlite_writer(file))
        new.store.prepare()

    def take_place(_live: Connection) -> None:
        """All of it is in the file itself, before its name is given out."""
        new.store.close()
        write_whole(pointer_to(named), generation.encode())

    def after() -> None:
        time.sleep(READERS_FOLLOW_SECONDS)
        _remove_others(named)

    new = NewReadModel(store, settle, take_place, after, lambda: _remove_others(named), lambda: sqlite_writer(file))
    return new


def _remove_others(named: str) -> None:
    """Every file but the present one: earlier read models, and those that a rebuild left half made."""
    present = present_file(named).name
    base = Path(named)
    for file in base.parent.glob(f"{glob.escape(base.name)}*"):
        of_present = file.name in (present, f"{present}-wal", f"{present}-shm", pointer_to(named).name)
        if not of_present:
            file.unlink(missing_ok=True)


def _new_postgresql_schema(database_url: str) -> NewReadModel:
    engine = writer_engine(database_url)

    def drop(schemas: Iterable[str]) -> None:
        with engine.begin() as connection:
            for schema in schemas:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))

    drop((NEW_SCHEMA, OLD_SCHEMA))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {NEW_SCHEMA}"))
    engine.dispose()

    def take_place(live: Connection) -> None:
        schema = live.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
        live.execute(text(f"CREATE SCHEMA {OLD_SCHEMA}"))
        for table in (*metadata.tables, "alembic_version"):
            live.execute(text(f"ALTER TABLE {schema}.{table} SET SCHEMA {OLD_SCHEMA}"))
            live.execute(text(f"ALTER TABLE {NEW_SCHEMA}.{table} SET SCHEMA {schema}"))

    def after() -> None:
        drop((NEW_SCHEMA, OLD_SCHEMA))
        engine.dispose()

    def reader() -> Engine:
        """Raises RebuildFailed where it would be the live one: nothing may be dropped, written or compared there."""
        writer = schema_writer(database_url, NEW_SCHEMA)
        with writer.connect() as connection:
            schema = connection.execute(text("SELECT current_schema()")).scalar_one()
        if schema != NEW_SCHEMA:
            raise RebuildFailed(f"the database gives {schema} where {NEW_SCHEMA} was asked for")
        return writer

    store = Store(reader())
    return NewReadModel(store, lambda: None, take_place, after, after, reader)


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
            first = consumer.poll(FETCH_SECONDS)
            for message in (*(() if first is None else (first,)), *consumer.consume(FETCH_RECORDS, 0)):
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
