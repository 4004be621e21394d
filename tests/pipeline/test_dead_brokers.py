"""Workers on three brokers of which one dies, or two: none ends, and each goes on by itself."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.spawn import last_lines, wait_until
from operations.cluster_admin import ClusterAdmin
from operations.gone_topics import is_gone
from operations.topic_admin import ensure_topics, once_answered
from processors.runtime.changelog import topic_id_of
from schemas.topics import TopicSpec
from tests.support.kafka_topics import a_stream_topic, ensure_base_topics
from tests.support.plain_installation import GROUPS
from tests.support.three_brokers import NODES, ThreeBrokers
from tests.support.worker import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

REPLACED_SECONDS = 45.0
LONGER_THAN_PATIENCE_SECONDS = 75.0
"""Than the watchdog's 60 s, and every other time-out but that of a record on its way."""


@pytest.fixture
def workers(three_brokers: ThreeBrokers, tmp_path: Path) -> Iterator[list[Worker]]:
    """One of each group, started at once on a cluster that has nothing yet, and ready."""
    workers = [Worker(group, three_brokers.bootstrap, tmp_path / "atlas") for group in GROUPS]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.wait_until_ready()
        yield workers
    finally:
        for worker in workers:
            if worker.runs:
                worker.kill()


def all_ready(workers: list[Worker]) -> bool:
    return all(worker.missing() == {} for worker in workers)


def said(workers: list[Worker]) -> str:
    return "\n".join(f"{one.log.stem}, {one.missing()}: {last_lines(one.log, 5)}" for one in workers)


@pytest.mark.requirement("F1", "F2")
def test_a_dead_coordinator_ends_no_worker_and_all_are_ready_without_it(
    three_brokers: ThreeBrokers, workers: list[Worker]
) -> None:
    pids = [worker.pid for worker in workers]
    dead = three_brokers.coordinator_of("admission")
    coordinated = [
        one for one, group in zip(workers, GROUPS, strict=True) if three_brokers.coordinator_of(group) == dead
    ]
    three_brokers.kill(dead)
    given_up = lambda: all(one.metric("atlas_assignments_given_up_total") for one in coordinated)  # noqa: E731
    assert wait_until(given_up, 20, 0.2), "the session is shorter than what a broker's replacement takes"
    assert wait_until(lambda: all_ready(workers), REPLACED_SECONDS, 0.5), said(workers)
    three_brokers.start(dead)
    assert wait_until(three_brokers.in_sync, 60, 0.5)
    three_brokers.elect_preferred()
    assert wait_until(lambda: all_ready(workers), 15, 0.5), said(workers)
    assert [worker.runs for worker in workers] == [True] * len(workers), said(workers)
    assert [worker.pid for worker in workers] == pids


@pytest.mark.requirement("F1", "F2")
def test_a_session_longer_than_the_replacement_gives_nothing_up(three_brokers: ThreeBrokers, tmp_path: Path) -> None:
    worker = Worker("lifecycle", three_brokers.bootstrap, tmp_path / "atlas", ATLAS_SESSION_SECONDS="30")
    worker.start_until_ready()
    try:
        dead = three_brokers.coordinator_of("lifecycle")
        three_brokers.kill(dead)
        assert wait_until(lambda: three_brokers.coordinator_of("lifecycle") != dead, 30, 0.5)
        time.sleep(30.0)  # a whole session: had it not been heard by the new one, it would have ended
        assert worker.missing() == {}
        assert worker.metric("atlas_assignments_given_up_total") == 0
        assert worker.metric("atlas_rebalances_total") <= 2, "the one at the start, and its repetition"
    finally:
        worker.kill()


@pytest.mark.requirement("F2")
@pytest.mark.timeout(600)
def test_two_of_three_dead_for_longer_than_every_patience_end_no_worker(
    three_brokers: ThreeBrokers, workers: list[Worker]
) -> None:
    """One broker alone takes no writes (two must be in sync) and elects nobody: there is nothing to do but to wait."""
    dead = [broker for broker in range(NODES) if broker != three_brokers.coordinator_of("admission")]
    for broker in dead:
        three_brokers.kill(broker)
    time.sleep(LONGER_THAN_PATIENCE_SECONDS)
    assert [worker.runs for worker in workers] == [True] * len(workers), said(workers)
    for broker in dead:
        three_brokers.launch(broker)
    assert wait_until(lambda: all_ready(workers), 90, 0.5), said(workers)


@pytest.mark.requirement("F2")
def test_a_coordinator_that_hangs_is_left_for_the_one_that_replaced_it(
    three_brokers: ThreeBrokers, workers: list[Worker]
) -> None:
    """Its connections stay open and nothing answers: time-outs alone tell."""
    hung = three_brokers.coordinator_of("admission")
    three_brokers.pause(hung)
    try:
        elsewhere = lambda: all_ready(workers) and three_brokers.leads_nothing(hung)  # noqa: E731
        assert wait_until(elsewhere, 120, 1.0), said(workers)
    finally:
        three_brokers.resume(hung)
    assert wait_until(lambda: all_ready(workers), 30, 0.5), said(workers)
    assert [worker.runs for worker in workers] == [True] * len(workers), said(workers)


def test_a_topic_that_a_broker_does_not_know_yet_is_waited_for(three_brokers: ThreeBrokers) -> None:
    """One broker hears of nothing while it is frozen; asked as it wakes, it does not know what the others made.

    The others may name it as the controller meanwhile, so that they are asked twice.
    """
    ensure_base_topics(three_brokers.bootstrap)
    late = next(broker for broker in range(NODES) if broker != three_brokers.controller())
    others = ",".join(broker.bootstrap for broker in three_brokers.brokers if broker is not three_brokers.brokers[late])
    for number in range(4):
        topic = f"made-meanwhile-{number}"
        three_brokers.pause(late)
        asyncio.run(once_answered(ensure_topics, others, [TopicSpec(topic, 4, {})]))
        three_brokers.resume(late)
        if number % 2:
            assert not is_gone(three_brokers.brokers[late].bootstrap, topic, 20.0), "the others know it"
        assert len(topic_id_of(ClusterAdmin(three_brokers.brokers[late].bootstrap), topic)) == 16


def test_a_topic_is_gone_when_most_brokers_say_so_and_not_when_most_are_away(three_brokers: ThreeBrokers) -> None:
    topic = a_stream_topic(three_brokers.bootstrap)
    assert is_gone(three_brokers.bootstrap, "never-made", 20.0)
    assert not is_gone(three_brokers.bootstrap, topic, 20.0)
    three_brokers.kill(0)
    assert is_gone(three_brokers.bootstrap, "never-made", 20.0)
    assert not is_gone(three_brokers.bootstrap, topic, 20.0)
