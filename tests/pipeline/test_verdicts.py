"""Verdicts over a real broker: each to who waits for it, the others dropped and counted; commands on top of that."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from deploy.local.broker import Broker
from domain.security.callers import CallerContext
from ingest_gateway.log import verdicts as reader
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import EventLog, LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import FORGOTTEN_AFTER_SECONDS, TooManyWaiters, VerdictLate, VerdictWaiter
from operations.new_commands import new_command
from operations.random_ids import short_id
from schemas.commands.streams import CreateStream
from schemas.ids import WORKSPACE
from schemas.records import Command, Verdict
from schemas.replies import REPLY_HEADER, ReplyTo, decode_reply
from schemas.topics import VERDICT_PARTITIONS, Topic
from tests.support.kafka_topics import a_stream_topic, ensure_base_topics, read_all, send_verdict
from tests.support.metrics import sample
from tests.support.until import until

WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def bootstrap(kafka: str) -> Iterator[str]:
    ensure_base_topics(kafka)
    yield kafka


@asynccontextmanager
async def a_waiter(
    bootstrap: str, max_waiters: int = 100, partition: int | None = None
) -> AsyncIterator[VerdictWaiter]:
    waiter = VerdictWaiter(bootstrap, max_waiters=max_waiters, partition=partition)
    waiter.start()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await waiter.positioned()
        yield waiter
    finally:
        await waiter.stop()


def a_verdict(reply: ReplyTo, **fields: object) -> bytes:
    return Verdict(**{"correlation": reply.correlation, "outcome": "done", **fields}).encode()  # type: ignore[arg-type]


def unclaimed() -> float:
    return sample("atlas_verdicts_unclaimed_total")


async def test_each_verdict_reaches_who_waits_for_it_and_no_other(bootstrap: str) -> None:
    async with a_waiter(bootstrap, partition=7) as one, a_waiter(bootstrap, partition=7) as other:
        expected = [waiter.expect() for waiter in (one, other, one, other)]
        assert len({e.reply.correlation for e in expected}) == 4 and {e.reply.partition for e in expected} == {7}
        for number, waiting in reversed(list(enumerate(expected))):
            send_verdict(bootstrap, 7, a_verdict(waiting.reply, status=200 + number))
        verdicts = await asyncio.gather(*(waiting.verdict(WAIT_SECONDS) for waiting in expected))
        assert [verdict.status for verdict in verdicts] == [200, 201, 202, 203]


@pytest.mark.requirement("K8", "F35")
async def test_forged_repeated_and_unreadable_verdicts_are_dropped(bootstrap: str) -> None:
    async with a_waiter(bootstrap) as waiter:
        before, waiting = unclaimed(), waiter.expect()
        send_verdict(bootstrap, waiter.partition, a_verdict(ReplyTo(waiter.partition, b"\0" * 16)))
        send_verdict(bootstrap, waiter.partition, b"not a verdict")
        send_verdict(bootstrap, waiter.partition, a_verdict(waiting.reply, status=201))
        send_verdict(bootstrap, waiter.partition, a_verdict(waiting.reply, status=500))
        assert (await waiting.verdict(WAIT_SECONDS)).status == 201
        await until(lambda: unclaimed() >= before + 2)


@pytest.mark.requirement("F35")
async def test_a_late_verdict_is_counted_and_forgotten(bootstrap: str) -> None:
    async with a_waiter(bootstrap, max_waiters=1) as waiter:
        waiting = waiter.expect()
        with pytest.raises(VerdictLate):
            await waiting.verdict(0.01)
        before = unclaimed()
        send_verdict(bootstrap, waiter.partition, a_verdict(waiting.reply))
        await until(lambda: unclaimed() >= before + 1)
        with waiter.expect():  # there is room again
            pass


async def test_verdicts_from_before_the_start_are_not_read(bootstrap: str) -> None:
    partition = VERDICT_PARTITIONS - 1
    before = unclaimed()
    for _ in range(5):
        send_verdict(bootstrap, partition, a_verdict(ReplyTo(partition, b"\1" * 16)))
    async with a_waiter(bootstrap, partition=partition) as waiter:
        waiting = waiter.expect()
        send_verdict(bootstrap, partition, a_verdict(waiting.reply))
        await waiting.verdict(WAIT_SECONDS)
    assert unclaimed() == before


@pytest.mark.requirement("F36")
async def test_waiters_are_bounded_and_the_forgotten_make_room() -> None:
    waiter = VerdictWaiter("127.0.0.1:1", max_waiters=2)
    waiter.start()
    try:
        first, second = waiter.expect(), waiter.expect()
        with pytest.raises(TooManyWaiters) as busy:
            waiter.expect()
        assert isinstance(busy.value, LogBusy)
        second.forget()
        third = waiter.expect()
        first.started_seconds -= FORGOTTEN_AFTER_SECONDS + 1
        fourth = waiter.expect()
        assert third.reply.correlation != fourth.reply.correlation
    finally:
        await waiter.stop()


def a_command(workspace: str) -> Command:
    payload = CreateStream(name="orders-prod")
    return new_command(payload, workspace=workspace, environment="live", caller=CallerContext("key_1"), now_ms=0)


@asynccontextmanager
async def a_client(bootstrap: str, timeout_seconds: float) -> AsyncIterator[CommandClient]:
    events = EventLog(bootstrap)
    events.start()
    async with a_waiter(bootstrap) as verdicts:
        await events.append(a_stream_topic(bootstrap), b"k", b"", [])  # a new broker takes its time for the first one
        yield CommandClient(events, verdicts, timeout_seconds=timeout_seconds)
    await events.close(1.0)


async def the_command_of(bootstrap: str, workspace: str) -> tuple[Command, ReplyTo]:
    """The workspace's only command, once it is on the log, and where its verdict is awaited."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            stored = await asyncio.to_thread(read_all, bootstrap, Topic.COMMANDS)
            mine = [record for record in stored if record.key == workspace.encode()]
            if mine:
                (record,) = mine
                reply = decode_reply(dict(record.headers)[REPLY_HEADER])
                assert reply is not None
                return Command.decode(record.value), reply


async def test_a_command_goes_out_under_its_workspace_and_comes_back_as_a_verdict(bootstrap: str) -> None:
    workspace = short_id(WORKSPACE)
    async with a_client(bootstrap, WAIT_SECONDS) as commands:
        asked = asyncio.create_task(commands.submit(a_command(workspace)))
        command, reply = await the_command_of(bootstrap, workspace)
        assert (command.kind, command.workspace, command.actor) == ("stream.create", workspace, "key_1")
        await asyncio.to_thread(send_verdict, bootstrap, reply.partition, a_verdict(reply, status=201, body=b"{}"))
        assert (await asked).status == 201


@pytest.mark.requirement("F35")
async def test_a_command_that_nobody_decides_is_late_and_is_on_the_log(bootstrap: str) -> None:
    workspace = short_id(WORKSPACE)
    async with a_client(bootstrap, WAIT_SECONDS) as commands:
        with pytest.raises(VerdictLate):
            await commands.submit(a_command(workspace), timeout_seconds=1.0)
    await the_command_of(bootstrap, workspace)


async def test_a_command_to_a_broker_that_does_not_answer_is_not_confirmed(hurt_broker: Broker) -> None:
    ensure_base_topics(hurt_broker.bootstrap)
    async with a_client(hurt_broker.bootstrap, 0.5) as commands:
        hurt_broker.pause()
        with pytest.raises(LogUnavailable):
            await commands.submit(a_command("ws_1"))
        hurt_broker.resume()


async def test_a_reader_that_fails_says_so_instead_of_being_silent(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_consumer: object) -> list[Verdict]:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(reader, "_one_round", fails)
    told: list[str] = []
    waiter = VerdictWaiter(bootstrap, max_waiters=1, on_fatal=told.append)
    waiter.start()
    try:
        await until(lambda: told != [])
    finally:
        await waiter.stop()
    assert told == ["the reader of verdicts failed: ValueError('nobody thought of this')"]
