"""Admission that lives and does nothing: its loop blocked, or one batch that hangs. Others take over, and it ends."""

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.local.spawn import last_lines
from domain.admission.rerouting import placement_key
from schemas.partitioner import partition_for
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.pipeline.admission.test_restarts import all_decided, by_place
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS
from tests.support.streams import LiveStream
from tests.support.worker import Worker

WORD = "get-stuck-here"
EACH = list(range(PARTITIONS))
MakeStuck = Callable[..., Worker]


@pytest.fixture
def a_stuck_one(broker: str, home: Path, tmp_path: Path) -> Iterator[MakeStuck]:
    """A further process of the group, with a home of its own, that gets stuck at records with the word."""
    made: list[Worker] = []

    def make(how: str, patience_seconds: float) -> Worker:
        settings = {
            "ATLAS_MASTER_KEY": (home / "master.key").read_text().strip(),
            "STUCK_AT": WORD,
            "STUCK_HOW": how,
            "STALLED_SECONDS": str(patience_seconds),
        }
        made.append(Worker("admission", broker, tmp_path / "stuck", module="tests.support.stuck_worker", **settings))
        return made[-1]

    yield make
    for worker in made:
        if worker.runs:
            worker.kill()


def send(stream: LiveStream, partitions: Iterable[int], word: str = "") -> int:
    """One event for each, on the partition that its key names; how many."""
    writer, numbers, sent = stream.writer(), itertools.count(), 0
    for partition in partitions:
        keys = (f"{word}{secrets.token_hex(4)}-{number}" for number in numbers)
        key = next(key for key in keys if partition_for(placement_key(key, ""), PARTITIONS) == partition)
        writer.send_as_gateway(idempotency_key=key, data={"word": word})
        sent += 1
    writer.flush()
    assert writer.errors == []
    return sent


def said(worker: Worker) -> str:
    return "\n".join(last_lines(worker.log, 200))


def decided_once(written: Written, stream: LiveStream, records: int) -> None:
    places = by_place(all_decided(written, stream, records))
    assert len(places) == records
    assert all(len(versions) == 1 for versions in places.values())


@pytest.mark.slow
@pytest.mark.requirement("F28", "F16")
@pytest.mark.timeout(240)
def test_one_whose_loop_is_blocked_is_no_member_any_more_though_its_heartbeats_have_a_thread(
    admission: Worker, a_stuck_one: MakeStuck, a_stream: MakeStream, written: Written
) -> None:
    """It is patient for an hour, so that what is decided was taken over, and not left by its end."""
    stuck = a_stuck_one("blocks", 3_600.0)
    stuck.start_until_ready()
    stream = a_stream()
    sent = send(stream, EACH * 4)
    decided_once(written, stream, sent)
    sent += send(stream, EACH, WORD)
    decided_once(written, stream, sent)
    assert stuck.runs
    assert "heartbeat.held_back" in said(stuck)


@pytest.mark.slow
@pytest.mark.requirement("F28", "F30")
@pytest.mark.timeout(240)
def test_one_whose_loop_stays_blocked_ends_and_leaves_where_it_stood(
    admission: Worker, a_stuck_one: MakeStuck, a_stream: MakeStream, written: Written
) -> None:
    assert admission.stop() == 0
    stuck = a_stuck_one("blocks", 6.0)
    stuck.start_until_ready()
    stream = a_stream()
    sent = send(stream, EACH, WORD)
    assert stuck.ended() == 1
    assert "handle_or_not" in said(stuck), "the stack of the call that blocks"
    admission.start_until_ready()
    decided_once(written, stream, sent)


@pytest.mark.slow
@pytest.mark.requirement("F30")
@pytest.mark.timeout(240)
def test_a_batch_that_hangs_alone_while_others_go_on_ends_the_process(
    admission: Worker, a_stuck_one: MakeStuck, a_stream: MakeStream, written: Written
) -> None:
    assert admission.stop() == 0
    stuck = a_stuck_one("hangs", 10.0)
    stuck.start_until_ready()
    stream = a_stream()
    sent = send(stream, [3], WORD)
    while stuck.runs:
        sent += send(stream, [4] * 10)
        if stuck.runs:
            time.sleep(0.2)
    assert len(written.decisions(stream, 1)) > 10, "the others went on"
    assert stuck.ended() == 1
    assert f"admission handles 1 records of {stream.name}[3] from offset 0 for" in said(stuck)
    admission.start_until_ready()
    decided_once(written, stream, sent)


@pytest.mark.requirement("F29")
def test_members_have_no_static_id_so_that_none_can_be_taken_twice(admission: Worker, broker: str) -> None:
    """aiokafka does not know the error with which a static id is taken away (1186): it would stall without a word."""
    client = AdminClient({"bootstrap.servers": broker})
    members = client.describe_consumer_groups(["admission"])["admission"].result(TIMEOUT_SECONDS).members
    assert members != []
    assert {member.group_instance_id for member in members} <= {None, ""}
