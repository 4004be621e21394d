"""The delivery process against a real broker and real endpoints: what arrives, is recorded, survives a kill."""

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.spawn import wait_until
from domain.delivery.signatures import signing_secret, timestamped_signature
from operations.settings import ensure_master_key
from schemas.records import DeadLetter, Delivery
from schemas.topics import Topic
from tests.support.delivery_tenant import DATA, GIVE_UP_SECONDS, Tenant
from tests.support.kafka_topics import produce, read_all
from tests.support.ports import free_port
from tests.support.processor import Processor
from tests.support.receiver import Receiver, answer, hang, once

Start = Callable[..., Processor]


@pytest.mark.requirement("A-002", "A-048", "A-057", "A-058")
def test_each_delivery_arrives_signed_and_byte_equal_and_its_outcome_is_recorded(
    start: Start, tenant: Tenant, receiver: Receiver, home: Path
) -> None:
    one = tenant.workflow("wf_one", receiver.url + "/one")
    tenant.workflow("wf_two", receiver.url + "/two")
    receiver.script("/two", answer(202, b"thanks"))
    deliveries = [
        *tenant.deliver("wf_one", 20, partition=0),
        *tenant.deliver("wf_one", 20, partition=1),
        *tenant.deliver("wf_two", 20, partition=1),
    ]
    delivery_process = start()
    outcomes = tenant.outcomes_of(deliveries)
    assert {outcome.status for (outcome,) in outcomes.values()} == {"delivered"}
    assert {outcome.attempt for (outcome,) in outcomes.values()} == {1}
    by_id = {request.headers["x-atlas-delivery"]: request for request in receiver.requests}
    assert len(receiver.requests) == len(by_id) == 60
    for delivery in deliveries:
        body = by_id[delivery.delivery_id].body
        assert b'"data":' + DATA + b"," in body
        assert f'"id":"{delivery.event_id}"'.encode() in body
    assert {outcome.response_excerpt for (outcome,) in outcomes.values()} == {None, b"thanks"}
    request = by_id[deliveries[0].delivery_id]
    secret = signing_secret(ensure_master_key(home), one.entity_id)
    sent_at = int(request.headers["webhook-timestamp"])
    assert request.headers["x-atlas-signature"] == timestamped_signature(secret, sent_at, request.body)
    assert delivery_process.metric('atlas_delivery_attempts_total{outcome="delivered"}') == 60
    assert delivery_process.metric("atlas_first_delivery_seconds_count") == 60


@pytest.mark.requirement("A-050")
def test_failed_attempts_are_recorded_with_their_reason(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    receiver.script("/hang", hang())
    receiver.script("/broken", answer(500, b"<h1>oh no</h1>"))
    tenant.workflow("wf_hang", receiver.url + "/hang")
    tenant.workflow("wf_broken", receiver.url + "/broken")
    tenant.workflow("wf_nobody", f"http://127.0.0.1:{free_port()}/")
    tenant.delete(tenant.workflow("wf_gone", receiver.url + "/gone"))
    expected = {
        "wf_hang": ("upstream_timeout", "Name of wf_hang did not respond within 2s", None),
        "wf_broken": ("upstream_status", "Name of wf_broken answered 500", 500),
        "wf_nobody": ("connection_failed", "Name of wf_nobody refused the connection", None),
        "wf_gone": ("endpoint_disabled", "wf_gone was deleted", None),
        "wf_never_was": ("endpoint_disabled", "wf_never_was was deleted", None),
    }
    start(ATLAS_ATTEMPT_TIMEOUT_SECONDS="2")
    deliveries = {workflow_id: tenant.deliver(workflow_id) for workflow_id in expected}
    outcomes = tenant.outcomes_of([one for made in deliveries.values() for one in made])
    for workflow_id, (delivery,) in deliveries.items():
        (outcome,) = outcomes[delivery.delivery_id]
        ends_there = workflow_id in ("wf_gone", "wf_never_was")
        assert outcome.status == ("exhausted" if ends_there else "retry_scheduled")
        assert (outcome.error_code, outcome.error_message, outcome.http_status) == expected[workflow_id]


@pytest.mark.requirement("W1")
def test_inner_addresses_are_refused_unless_development_allows_them(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    tenant.workflow("wf_inner", receiver.url)
    tenant.workflow("wf_local", f"http://localhost:{receiver.port}/")
    start(ATLAS_ALLOW_PRIVATE_TARGETS="")
    deliveries = [*tenant.deliver("wf_inner"), *tenant.deliver("wf_local")]
    outcomes = tenant.outcomes_of(deliveries)
    assert {outcome.error_code for (outcome,) in outcomes.values()} == {"target_forbidden"}
    assert receiver.connections == 0


@pytest.mark.requirement("F18")
def test_a_record_that_cannot_be_read_is_set_aside_alone(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    tenant.workflow("wf_one", receiver.url)
    before = tenant.deliver("wf_one", 3, partition=2)
    bad_event = tenant.deliver("wf_one", 0) or Delivery.decode(before[0].encode())
    marks = [secrets.token_bytes(12), b"", bad_event.encode()[:-3]]
    where = [produce(tenant.kafka, Topic.DELIVERIES, value, partition=2) for value in marks]
    after = tenant.deliver("wf_one", 3, partition=2)
    delivery_process = start()
    assert tenant.outcomes_of([*before, *after])
    letters = [DeadLetter.decode(record.value) for record in read_all(tenant.kafka, Topic.DEAD_LETTERS)]
    mine = {(letter.partition, letter.offset): letter for letter in letters if letter.topic == Topic.DELIVERIES}
    assert [mine[position].value for position in where] == marks
    assert {mine[position].reason for position in where} == {"unreadable"}
    assert delivery_process.stop() == 0
    start()  # what was set aside is confirmed, so it is not read again
    tenant.outcomes_of(tenant.deliver("wf_one", 1, partition=2))
    again = [DeadLetter.decode(record.value) for record in read_all(tenant.kafka, Topic.DEAD_LETTERS)]
    assert len(again) == len(letters)


@pytest.mark.requirement("A-002")
def test_a_kill_in_the_middle_of_attempts_loses_none(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    """Killed while 32 attempts hang: after the restart those are made again, same delivery ids, same bodies."""
    tenant.workflow("wf_one", receiver.url + "/one")
    done = tenant.deliver("wf_one", 10, partition=3)
    first = start()
    tenant.outcomes_of(done)
    receiver.script("/one", hang())
    hanging = tenant.deliver("wf_one", 40, partition=3)
    receiver.wait_for(10 + 32)
    first.kill()
    receiver.script("/one", answer(200))
    start()
    outcomes = tenant.outcomes_of([*done, *hanging])
    assert {outcome.status for made in outcomes.values() for outcome in made} == {"delivered"}
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request.headers["x-atlas-delivery"], set()).add(request.body)
    assert all(len(bodies[delivery.delivery_id]) == 1 for delivery in [*done, *hanging])
    assert len(receiver.requests) >= 10 + 32 + 40


@pytest.mark.requirement("F42")
def test_a_clean_stop_lets_attempts_end_and_repeats_none(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    receiver.script("/slow", answer(200, after_seconds=1.0))
    tenant.workflow("wf_slow", receiver.url + "/slow")
    deliveries = tenant.deliver("wf_slow", 100, partition=4)
    first = start()
    receiver.wait_for(32)
    asked_at = time.monotonic()
    first.ask_to_stop()
    assert first.stopped() == 0
    assert time.monotonic() - asked_at <= 10
    made = len(receiver.requests)
    assert 32 <= made < 100  # those that ran have ended, those that waited were not begun
    assert len(tenant.outcomes()) == made
    receiver.script("/slow", answer(200))
    start()
    outcomes = tenant.outcomes_of(deliveries)
    assert len(receiver.requests) == 100
    assert all(len(made) == 1 for made in outcomes.values())


def test_an_endpoint_that_hangs_holds_back_its_own_deliveries_only(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    """All on one partition, the hanging ones first. It was quick before; one of which nothing is known gets 4."""
    tenant.workflow("wf_hang", receiver.url + "/hang")
    tenant.workflow("wf_new", receiver.url + "/new")
    tenant.workflow("wf_quick", receiver.url + "/quick")
    delivery_process = start()
    tenant.outcomes_of(tenant.deliver("wf_hang", 1, partition=5))
    for path in ("/hang", "/new"):
        receiver.script(path, hang())
    tenant.deliver("wf_hang", 100, partition=5)
    tenant.deliver("wf_new", 100, partition=5)
    quick = tenant.deliver("wf_quick", 100, partition=5)
    outcomes = tenant.outcomes_of(quick)
    assert sum(outcome.workflow_id == "wf_quick" for made in outcomes.values() for outcome in made) == 100
    # Attempts run side by side: those of the quick endpoint may have ended while others' connections are still made.
    assert wait_until(lambda: len(receiver.requests) >= 1 + 32 + 4 + 100, GIVE_UP_SECONDS), len(receiver.requests)
    assert sum(request.path == "/hang" for request in receiver.requests) == 1 + 32
    assert sum(request.path == "/new" for request in receiver.requests) == 4
    assert delivery_process.metric("atlas_delivery_running") == 32 + 4

    def waiting() -> float:
        """In memory, or in the table where the machine was slow enough to find out that the endpoints are."""
        in_memory, put_there, taken_back = (
            delivery_process.metric(name)
            for name in ("atlas_delivery_waiting", "atlas_delivery_spilled_total", "atlas_delivery_fetched")
        )
        return in_memory + put_there - taken_back

    # Asked for one after the other: what was put into the table in between is counted twice.
    assert wait_until(lambda: waiting() == 100 - 32 + 100 - 4, GIVE_UP_SECONDS), waiting()
    delivery_process.kill()
    for path in ("/hang", "/new"):
        receiver.script(path, answer(200))
    start()
    assert wait_until(lambda: len(tenant.outcomes()) >= 301, GIVE_UP_SECONDS)


@pytest.mark.requirement("F43")
def test_very_many_endpoints_that_hang_leave_room_for_those_that_are_quick(
    start: Start, tenant: Tenant, receiver: Receiver, tmp_path: Path
) -> None:
    """Far more than all attempts that may run at once, on the same partitions and before the quick one's. Which is
    quick is not left to the clock: a busy machine can take a second for an answer.
    """
    receiver.script("/hang", hang())
    tenant.workflow("wf_quick", receiver.url + "/quick")
    delivery_process = start(ATLAS_ATTEMPT_TIMEOUT_SECONDS="600", PYTHONPATH=slow_is_nobody(tmp_path))
    tenant.outcomes_of(tenant.deliver("wf_quick", 1, partition=1))
    hanging = [f"wf_hang{number}" for number in range(200)]
    for workflow_id in hanging:
        tenant.workflow(workflow_id, receiver.url + "/hang")
    for number, workflow_id in enumerate(hanging):
        tenant.deliver(workflow_id, 24, partition=number % 2)
    assert wait_until(lambda: delivery_process.metric("atlas_delivery_running") == 768, GIVE_UP_SECONDS)
    outcomes = tenant.outcomes_of([*tenant.deliver("wf_quick", 100, 0), *tenant.deliver("wf_quick", 100, 1)])
    assert {outcome.workflow_id for made in outcomes.values() for outcome in made} == {"wf_quick"}
    assert delivery_process.metric("atlas_delivery_running") == 768


@pytest.mark.requirement("F42", "F43")
def test_a_slow_endpoints_backlog_goes_to_the_table_and_its_partition_is_read_on(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    """More than memory may hold, all on one partition, before the deliveries of an endpoint that answers."""
    receiver.script("/hang", hang())
    tenant.workflow("wf_hang", receiver.url + "/hang")
    tenant.workflow("wf_quick", receiver.url + "/quick")
    hanging = tenant.deliver("wf_hang", 2_500, partition=6)
    quick = tenant.deliver("wf_quick", 100, partition=6)
    first = start()
    outcomes = tenant.outcomes_of(quick)
    assert {outcome.status for made in outcomes.values() for outcome in made} == {"delivered"}
    assert first.metric("atlas_delivery_spilled_total") > 0
    assert first.metric("atlas_delivery_running") + first.metric("atlas_delivery_waiting") <= 2_000
    first.kill()
    receiver.script("/hang", answer(200))
    start()
    outcomes = tenant.ended(hanging)
    assert {outcome.attempt for made in outcomes.values() for outcome in made} == {1}


def test_a_second_worker_takes_its_share_and_nothing_is_lost(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    tenant.workflow("wf_one", receiver.url)
    first = start()
    deliveries = [one for partition in range(8) for one in tenant.deliver("wf_one", 25, partition)]
    second = start()
    deliveries += [one for partition in range(8) for one in tenant.deliver("wf_one", 25, partition)]
    tenant.outcomes_of(deliveries)
    assert second.metric("atlas_first_delivery_seconds_count") > 0
    late = [one for partition in range(8) for one in tenant.deliver("wf_one", 5, partition)]
    assert first.stop() == 0
    outcomes = tenant.outcomes_of([*deliveries, *late])
    assert {outcome.status for made in outcomes.values() for outcome in made} == {"delivered"}


@pytest.mark.requirement("F47", "F43")
def test_while_it_cannot_be_found_out_whether_workflows_are_gone_their_deliveries_wait_and_hold_up_nobody(
    start: Start, tenant: Tenant, receiver: Receiver, tmp_path: Path
) -> None:
    """More deleted workflows than attempts may run at once to endpoints of which nothing is known yet."""
    away = tmp_path / "control-is-away"
    may_answer = threading.Event()
    retried = tenant.workflow("wf_retried", receiver.url + "/retried")
    receiver.script("/retried", once(may_answer, answer(503)))
    tenant.workflow("wf_new", receiver.url + "/new")
    process = start(PYTHONPATH=ends_told_without(away), ATLAS_RETRY_LADDER="events:300ms")
    failing = tenant.deliver("wf_retried", 1, partition=2)
    receiver.wait_for(1)
    away.touch()
    tenant.delete(retried)
    gone = tenant.deliver_to_each([f"wf_gone_{number}" for number in range(800)], partition=3)
    live = tenant.deliver("wf_new", 1, partition=3)
    [delivered] = tenant.outcomes_of(live)[live[0].delivery_id]
    assert delivered.status == "delivered"
    may_answer.set()  # so it is retried when the workflow is gone, however long all this took
    tenant.outcomes_of(failing)
    assert len(tenant.outcomes()) == 2, "nobody said of any other that it is gone"
    away.unlink()
    ended = tenant.ended([*gone, *failing])
    assert {made[-1].error_code for made in ended.values()} == {"endpoint_disabled"}
    assert [one.attempt for one in ended[failing[0].delivery_id]] == [1, 2]
    assert process.metric("atlas_delivery_running") == 0


def slow_is_nobody(directory: Path) -> str:
    """A directory for PYTHONPATH: however long its attempts take, no endpoint counts as slow."""
    lines = (
        "import functools, processors.delivery.limits as module",
        "module.Limits = functools.partial(module.Limits, slow_seconds=3_600.0)",
    )
    (directory / "sitecustomize.py").write_text("\n".join(lines))
    return str(directory)


def ends_told_without(away: Path) -> str:
    """A directory for PYTHONPATH: while the file is there, the broker does not say where `control` ends."""
    directory = away.parent / "without-ends"
    directory.mkdir()
    lines = (
        "import os, confluent_kafka, operations.topic_ends as topic_ends",
        "real = topic_ends.TopicEnds.ends",
        "def ends(self, topic):",
        f"    if topic == 'control' and os.path.exists({str(away)!r}):",
        "        raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(-185))",
        "    return real(self, topic)",
        "topic_ends.TopicEnds.ends = ends",
    )
    (directory / "sitecustomize.py").write_text("\n".join(lines))
    return str(directory)
