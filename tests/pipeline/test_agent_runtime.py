"""What `AgentRuntime` promises to agents, held by the runtime on a real broker and by the fake that tests use.

The real one has not joined its group here: membership and rebalances have tests of their own. So partitions are
assigned by hand, and `give_up` does not send the member to its coordinator.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from confluent_kafka import KafkaError
from faust.types import TP

from operations import random_ids
from operations.settings import Settings
from operations.topic_admin import ensure_topics
from processors.runtime.agent import Abandoned, Agent, AgentRuntime, AgentSpec, Batch, LeaseLost, OutboxFailed
from processors.runtime.lease import Lease
from processors.runtime.runtime import Runtime
from processors.runtime.transport import Consumer
from schemas.log_records import LogRecord
from schemas.records import DeadLetter
from schemas.topics import Topic, TopicSpec
from tests.support.fake_runtime import FakeRuntime
from tests.support.kafka_topics import PARTITIONS, ensure_base_topics, read_all

PARTITION = 3
TABLE = "seen"


class Idle(Agent):
    """It handles nothing; the test does an agent's work. `forgot` counts how often it was given up."""

    forgot = 0

    async def handle(self, batch: Batch) -> None:
        raise NotImplementedError

    def given_up(self) -> None:
        self.forgot += 1


class Process(Protocol):
    """A runtime with an idle agent on the topic `topic`, whose partition PARTITION is this process's."""

    topic: str
    agent: Idle
    lease: Lease

    @property
    def runtime(self) -> AgentRuntime: ...

    async def on_log(self) -> list[tuple[int | None, bytes | None, bytes | None]]:
        """Partition, key and value of the records of `topic`, in each partition's order."""
        ...

    async def letters(self) -> list[DeadLetter]:
        """Those about records of `topic`."""
        ...

    def failure(self) -> BaseException | None:
        """What the process ends with."""
        ...


class Fake:
    def __init__(self, directory: Path) -> None:
        self.topic = "output"
        self.agent = Idle()
        self.runtime = FakeRuntime(directory)
        self.lease = self.runtime.lease
        self.runtime.add(self.agent, AgentSpec("idle", [Topic.ADMISSION], tables={TABLE: None}))
        self.runtime.hold_lease()

    async def on_log(self) -> list[tuple[int | None, bytes | None, bytes | None]]:
        return [(one.partition, one.key, one.value) for one in self.runtime.sent if one.topic == self.topic]

    async def letters(self) -> list[DeadLetter]:
        return [DeadLetter.decode(one.value) for one in self.runtime.sent if one.topic == Topic.DEAD_LETTERS]

    def failure(self) -> BaseException | None:
        return next(iter(self.runtime.failures), None)

    async def close(self) -> None:
        self.runtime.close()


class Real:
    def __init__(self, kafka: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topic = f"output-{secrets.token_hex(4)}"
        self.agent = Idle()
        self._kafka = kafka
        settings = Settings.from_env(
            {
                "ATLAS_KAFKA": kafka,
                "ATLAS_HOME": str(directory),
                "ATLAS_MASTER_KEY": "07" * 32,
                "ATLAS_PARTITIONS": str(PARTITIONS),
            }
        )
        monkeypatch.setattr(Consumer, "start_over", lambda self: None)
        self.runtime = Runtime(settings, f"group-{random_ids.short_id('g')}")
        self.lease = self.runtime.consumer.lease
        self.runtime.add(self.agent, AgentSpec("idle", [Topic.ADMISSION], tables={TABLE: None}))

    async def prepare(self) -> None:
        ensure_base_topics(self._kafka)
        ensure_topics(self._kafka, [TopicSpec(self.topic, PARTITIONS, {})])
        await self.runtime.tables.prepare(PARTITIONS)
        hold(self.lease)

    async def on_log(self) -> list[tuple[int | None, bytes | None, bytes | None]]:
        stored = await asyncio.to_thread(read_all, self._kafka, self.topic)
        return [(one.partition, one.key, one.value) for one in stored]

    async def letters(self) -> list[DeadLetter]:
        stored = await asyncio.to_thread(read_all, self._kafka, Topic.DEAD_LETTERS)
        return [letter for one in stored if (letter := DeadLetter.decode(one.value)).topic == self.topic]

    def failure(self) -> BaseException | None:
        return self.runtime.failed.exception() if self.runtime.failed.done() else None

    async def close(self) -> None:
        await self.runtime.outbox.stop()
        self.runtime.tables.close()
        self.failure()


def hold(lease: Lease) -> None:
    now = asyncio.get_running_loop().time()
    lease.begin(now)
    lease.renew(now + 3_600.0)
    lease.loop_ran(now + 3_600.0)


@pytest.fixture(params=["fake", "real"])
async def process(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    process: Fake | Real
    if request.param == "fake":
        process = Fake(tmp_path)
    else:
        process = Real(request.getfixturevalue("kafka"), tmp_path, monkeypatch)
        await process.prepare()
    assert await process.runtime.open_tables(PARTITION)
    yield process
    await process.close()


class Kept(NamedTuple):
    committed: dict[bytes, bytes]
    in_view: dict[bytes, bytes]


def rows(process: Process) -> Kept:
    """What a reader beside batches sees, and what the next unit of work sees."""
    committed = process.runtime.committed(PARTITION, TABLE)
    return Kept(dict(committed.scan(b"")), dict(process.runtime.begin_at(PARTITION).table(TABLE).scan(b"")))


async def test_a_unit_of_work_is_on_the_log_and_in_its_table_once_it_is_committed(process: Process) -> None:
    work = process.runtime.begin_at(PARTITION)
    table = work.table(TABLE)
    table.put(b"key", b"new")
    work.produce(process.topic, b"one", partition=PARTITION)
    work.produce_values(process.topic, PARTITION, [b"two", b"three"])
    assert table.get(b"key") == b"new", "its own changes are in its view"
    assert rows(process) == ({}, {}), "and in no other before they are committed"
    await work.commit()
    assert await process.on_log() == [(PARTITION, None, value) for value in (b"one", b"two", b"three")]
    assert rows(process) == ({b"key": b"new"}, {b"key": b"new"})


async def test_a_unit_that_is_not_committed_changes_no_table(process: Process) -> None:
    dropped = process.runtime.begin_at(PARTITION)
    dropped.table(TABLE).put(b"key", b"dropped")
    kept = process.runtime.begin_at(PARTITION)
    kept.table(TABLE).put(b"other", b"kept")
    await kept.commit()
    assert rows(process) == ({b"other": b"kept"}, {b"other": b"kept"})


async def test_tables_may_be_saved_before_anything_is_produced(process: Process) -> None:
    work = process.runtime.begin_at(PARTITION)
    work.table(TABLE).put(b"key", b"saved")
    await work.save()
    assert rows(process).committed == {b"key": b"saved"}
    work.produce(process.topic, b"after", partition=PARTITION)
    await work.commit()
    assert [value for _partition, _key, value in await process.on_log()] == [b"after"]


async def test_records_may_be_confirmed_before_the_table_changes(process: Process) -> None:
    work = process.runtime.begin_at(PARTITION)
    work.produce(process.topic, b"first", partition=PARTITION)
    await work.records_confirmed()
    assert [value for _partition, _key, value in await process.on_log()] == [b"first"]
    work.table(TABLE).put(b"key", b"then")
    assert rows(process).committed == {}
    await work.commit()
    assert rows(process).committed == {b"key": b"then"}


async def test_outputs_without_tables_are_on_the_log_in_order_once_they_are_confirmed(process: Process) -> None:
    for prompt in (False, True):
        out = process.runtime.outputs(prompt=prompt)
        out.produce(process.topic, b"one", partition=PARTITION, headers=[("name", b"value")])
        out.produce(process.topic, None, key=b"gone", partition=PARTITION)
        await out.confirmed()
    assert await process.on_log() == [(PARTITION, None, b"one"), (PARTITION, b"gone", None)] * 2


async def test_one_record_is_set_aside(process: Process) -> None:
    batch = Batch(TP(process.topic, PARTITION), [LogRecord(process.topic, PARTITION, 7, 1_000, None, b"?", ())], 1)
    work = process.runtime.begin(batch, eager=True)
    work.dead_letter(batch.records[0], "unreadable", "it is no event")
    await work.commit()
    [letter] = await process.letters()
    assert (letter.offset, letter.reason, letter.value) == (7, "unreadable", b"?")


async def test_nothing_is_begun_on_tables_that_are_closed_and_they_are_opened_again(process: Process) -> None:
    runtime = process.runtime
    runtime.close_tables(PARTITION)
    runtime.close_tables(PARTITION)
    with pytest.raises(Abandoned):
        runtime.begin_at(PARTITION)
    assert await runtime.open_tables(PARTITION) and await runtime.open_tables(PARTITION)
    await runtime.begin_at(PARTITION).commit()


async def test_nothing_of_a_table_leaves_without_a_lease(process: Process) -> None:
    work = process.runtime.begin_at(PARTITION)
    work.table(TABLE).put(b"key", b"late")
    process.lease.expire()
    with pytest.raises(LeaseLost):
        await work.commit()
    hold(process.lease)
    assert rows(process) == ({}, {})


async def test_an_assignment_that_is_given_up_leaves_nothing_on_its_way(process: Process) -> None:
    runtime = process.runtime
    work, out, epoch = runtime.begin_at(PARTITION), runtime.outputs(), runtime.epoch
    work.table(TABLE).put(b"key", b"late")
    runtime.give_up("the coordinator is away")
    runtime.give_up("again, which does nothing")
    assert process.agent.forgot == 1
    with pytest.raises(Abandoned):
        await work.commit()
    with pytest.raises(Abandoned):
        out.produce(process.topic, b"late", partition=PARTITION)
    with pytest.raises(Abandoned):
        runtime.outputs().produce(process.topic, b"nothing begins before the next assignment", partition=PARTITION)
    with pytest.raises(Abandoned):
        runtime.begin_at(PARTITION)
    assert (await process.on_log(), process.failure()) == ([], None)
    assert runtime.epoch >= epoch


async def test_a_failure_ends_the_process_and_what_passes_gives_up_the_assignment(process: Process) -> None:
    runtime = process.runtime
    runtime.fail(Abandoned("it belongs to an assignment that is over"))
    assert (process.failure(), process.agent.forgot) == (None, 0)
    runtime.fail(OutboxFailed("verdicts", KafkaError(KafkaError._MSG_TIMED_OUT)))
    assert (process.failure(), process.agent.forgot) == (None, 1)
    first = OutboxFailed("verdicts", KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    runtime.fail(first)
    runtime.fail(ValueError("a later one"))
    assert process.failure() is first


async def test_a_partition_of_others_is_not_owned_and_not_confirmed(process: Process) -> None:
    elsewhere = TP(Topic.ADMISSION, PARTITION + 1)
    assert not process.runtime.owned(elsewhere)
    process.runtime.confirm(elsewhere, 5)
    assert not process.runtime.owned(elsewhere)
