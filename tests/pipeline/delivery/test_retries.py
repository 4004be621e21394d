"""The retry schedule on a real broker: every step in order, also if processes are killed on the way."""

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable

import pytest

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from domain.delivery.retry_table import RetryTable
from domain.tables import MemoryTable
from operations import clock
from processors.delivery.loaded import endpoint_id_of
from schemas.commands import decode_payload
from schemas.commands.workflows import DisableWorkflow
from schemas.records import Delivery, Outcome
from schemas.topics import Topic
from tests.support.delivery_tenant import GIVE_UP_SECONDS, Tenant
from tests.support.kafka_topics import committed_offsets, produce
from tests.support.ports import free_port
from tests.support.processor import Processor
from tests.support.receiver import Behaviour, Receiver, answer, drip, hang

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

Start = Callable[..., Processor]
STEPS = ("100ms", "200ms", "150ms", "300ms", "100ms", "250ms", "100ms", "200ms")
SHORT = "events:" + ",".join(STEPS)
DAY_MS = 86_400_000


def assert_no_gap(outcomes: dict[str, list[Outcome]], last_status: str) -> None:
    """Attempts are numbered 1 to n in the log's order (one made again after a kill repeats its number)."""
    for made in outcomes.values():
        numbers = [outcome.attempt for outcome in made]
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(1, numbers[-1] + 1)), numbers
        assert made[-1].status == last_status
        for outcome, following in itertools.pairwise(made):
            made_again = outcome.attempt == following.attempt
            assert outcome.status == "retry_scheduled" or made_again, [(one.attempt, one.status) for one in made]


@pytest.mark.requirement("A-049", "A-065", "X-14")
def test_every_step_fires_in_order_and_then_it_is_exhausted(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    receiver.script("/dead", answer(500))
    tenant.workflow("wf_dead", receiver.url + "/dead")
    deliveries = tenant.deliver("wf_dead", 3, partition=1)
    start(ATLAS_RETRY_LADDER=SHORT)
    outcomes = tenant.ended(deliveries)
    assert_no_gap(outcomes, "exhausted")
    for delivery in deliveries:
        made = outcomes[delivery.delivery_id]
        assert [outcome.attempt for outcome in made] == list(range(1, 10))
        for one, following in itertools.pairwise(made):
            step_ms = int(STEPS[one.attempt - 1].removesuffix("ms"))
            assert one.next_attempt_ms is not None
            assert step_ms <= one.next_attempt_ms - one.completed_ms <= step_ms * 1.2
            assert following.started_ms >= one.next_attempt_ms
        sent = [one for one in receiver.requests if one.headers["x-atlas-delivery"] == delivery.delivery_id]
        assert [request.headers["x-atlas-attempt"] for request in sent] == [str(number) for number in range(1, 10)]
        assert len({request.body for request in sent}) == 1


@pytest.mark.requirement("A-065")
def test_an_endpoint_that_recovers_gets_what_waited_and_no_more(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    receiver.script("/hook", answer(500), answer(503, b"", "Retry-After: 1"), answer(302), answer(200))
    tenant.workflow("wf_hook", receiver.url + "/hook")
    deliveries = tenant.deliver("wf_hook", 1, partition=2)
    start(ATLAS_RETRY_LADDER="events:50ms,50ms,1100ms,50ms")
    (made,) = tenant.ended(deliveries).values()
    assert [(one.attempt, one.status, one.http_status) for one in made] == [
        (1, "retry_scheduled", 500),
        (2, "retry_scheduled", 503),
        (3, "retry_scheduled", 302),
        (4, "delivered", 200),
    ]
    asked = made[1].next_attempt_ms
    assert asked is not None and asked - made[1].completed_ms == 1_000
    assert len(receiver.requests) == 4


@pytest.mark.requirement("F44", "F45")
@pytest.mark.timeout(240)
def test_killed_at_any_point_each_delivery_is_made_and_no_attempt_is_left_out(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    receiver.script("/flaky", _flaky(chance))
    tenant.workflow("wf_flaky", receiver.url + "/flaky")
    deliveries = [one for partition in range(8) for one in tenant.deliver("wf_flaky", 10, partition)]
    schedule = "events:" + ",".join(["300ms"] * 40)
    for _kill in range(4):
        process = start(ATLAS_RETRY_LADDER=schedule)
        time.sleep(chance.uniform(0.0, 1.5))
        process.kill()
    start(ATLAS_RETRY_LADDER=schedule)
    outcomes = tenant.ended(deliveries)
    assert_no_gap(outcomes, "delivered")
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request.headers["x-atlas-delivery"], set()).add(request.body)
    assert {len(sent) for sent in bodies.values()} == {1}
    assert bodies.keys() == outcomes.keys()


@pytest.mark.requirement("F44")
@pytest.mark.timeout(240)
def test_retries_go_on_after_the_broker_was_killed(
    start: Start, tenant: Tenant, receiver: Receiver, delivery_broker: Broker
) -> None:
    """A worker that hears nothing of its broker for longer than its session ends, and is started again."""
    receiver.script("/flaky", *[answer(500)] * 60, answer(200))
    tenant.workflow("wf_flaky", receiver.url + "/flaky")
    deliveries = [one for partition in range(4) for one in tenant.deliver("wf_flaky", 10, partition)]
    schedule = "events:" + ",".join(["500ms"] * 10)
    start(ATLAS_RETRY_LADDER=schedule)
    receiver.wait_for(50)
    delivery_broker.kill()
    delivery_broker.start()
    start(ATLAS_RETRY_LADDER=schedule)
    assert_no_gap(tenant.ended(deliveries), "delivered")


@pytest.mark.requirement("F45")
def test_after_a_week_of_downtime_all_is_made_within_the_endpoints_budget(
    start: Start, tenant: Tenant, receiver: Receiver, broker: str
) -> None:
    """The waiting deliveries are written to the table's changelog as they were a week ago."""
    start().stop()  # makes the changelog
    busy = _Concurrency()
    receiver.script("/back", busy.behaviour(0.01))
    tenant.workflow("wf_back", receiver.url + "/back")
    tenant.workflow("wf_live", receiver.url + "/live")
    week_ago_ms = clock.now_ms() - 7 * DAY_MS
    waiting = [tenant.delivery("wf_back") for _ in range(500)]
    _write_waiting(broker, 3, waiting, week_ago_ms)
    live = tenant.deliver("wf_live", 50, partition=3)
    start()
    tenant.ended(live)
    outcomes = tenant.ended(waiting)
    assert {(one.attempt, one.status) for made in outcomes.values() for one in made} == {(2, "delivered")}
    assert 1 < busy.most <= 32


@pytest.mark.requirement("A-066", "F47")
def test_a_410_disables_the_endpoint_and_what_waits_is_made_after_its_reactivation(
    start: Start, tenant: Tenant, receiver: Receiver, broker: str
) -> None:
    receiver.script("/gone", answer(410))
    workflow = tenant.workflow("wf_gone", receiver.url + "/gone")
    first = start(ATLAS_RETRY_LADDER=SHORT)
    refused = tenant.deliver("wf_gone", 1, partition=4)
    ((outcome,),) = tenant.outcomes_of(refused).values()
    assert (outcome.status, outcome.http_status, outcome.error_code) == ("disabled", 410, "endpoint_disabled")
    (command,) = tenant.commands()
    assert decode_payload(command) == DisableWorkflow(id="wf_gone", reactivations=0)
    tenant.workflow("wf_gone", workflow.url, disabled_ms=1)
    # Nobody says that a workflow never was before all of `control` is read; so from here on it is known as disabled.
    tenant.outcomes_of(tenant.deliver("wf_never_was", 1, partition=4))
    later = tenant.deliver("wf_gone", 5, partition=4)
    _, last_offset = produce(broker, Topic.DELIVERIES, later[-1].encode(), partition=4)  # once more: it changes nothing

    def all_stored() -> bool:
        return committed_offsets(broker, "delivery", Topic.DELIVERIES)[4] > last_offset

    assert wait_until(all_stored, GIVE_UP_SECONDS)
    first.kill()
    second = start(ATLAS_RETRY_LADDER=SHORT)
    assert len(receiver.requests) == 1
    receiver.script("/gone", answer(200))
    tenant.workflow("wf_gone", workflow.url, reactivations=1)
    outcomes = tenant.ended([*refused, *later])
    assert [(one.attempt, one.status) for one in outcomes[refused[0].delivery_id]] == [
        (1, "disabled"),
        (2, "delivered"),
    ]
    assert {outcomes[one.delivery_id][0].attempt for one in later} == {1}
    assert len(receiver.requests) == 1 + 6
    assert second.stop() == 0


@pytest.mark.requirement("F47")
def test_what_waits_for_a_deleted_workflow_ends_without_being_sent(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    receiver.script("/hook", answer(500))
    workflow = tenant.workflow("wf_hook", receiver.url + "/hook")
    deliveries = tenant.deliver("wf_hook", 5, partition=5)
    first = start(ATLAS_RETRY_LADDER="events:2s,2s,2s,2s,2s,2s,2s,2s,2s,2s")
    tenant.outcomes_of(deliveries)
    first.kill()
    tenant.delete(workflow)
    sent = len(receiver.requests)
    start()
    outcomes = tenant.ended(deliveries)
    assert {(made[-1].status, made[-1].error_message) for made in outcomes.values()} == {
        ("exhausted", "wf_hook was deleted")
    }
    assert len(receiver.requests) == sent


@pytest.mark.requirement("F43")
def test_dead_slow_and_dripping_endpoints_hold_up_nobody_else(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    """All on one partition, theirs first, more than their budgets; the others are through while these still hang."""
    receiver.script("/slow", hang())
    receiver.script("/drip", drip(b"H" * 3_600, 1.0))
    urls = {"wf_dead": f"http://127.0.0.1:{free_port()}", "wf_slow": receiver.url + "/slow"}
    urls["wf_drip"] = receiver.url + "/drip"
    for workflow_id, url in urls.items():
        tenant.workflow(workflow_id, url)
        tenant.deliver(workflow_id, 200, partition=7)
    quick = [f"wf_quick{number}" for number in range(7)]
    for workflow_id in quick:
        tenant.workflow(workflow_id, f"{receiver.url}/{workflow_id}")
    deliveries = [one for workflow_id in quick for one in tenant.deliver(workflow_id, 50, partition=7)]
    process = start()
    outcomes = tenant.ended(deliveries)
    assert {one.status for made in outcomes.values() for one in made} == {"delivered"}
    assert process.metric("atlas_delivery_running") >= 8  # those of the slow and the dripping one, unknown till now


@pytest.mark.requirement("F48")
def test_an_endpoint_that_comes_back_is_not_fallen_upon(start: Start, tenant: Tenant, receiver: Receiver) -> None:
    busy = _Concurrency()
    receiver.script("/back", *[answer(503)] * 60, busy.behaviour(0.005))
    tenant.workflow("wf_back", receiver.url + "/back")
    deliveries = tenant.deliver("wf_back", 1_000, partition=0)
    start(ATLAS_RETRY_LADDER="events:1s,1s,1s,1s,1s,1s,1s,1s")
    outcomes = tenant.ended(deliveries)
    assert_no_gap(outcomes, "delivered")
    assert busy.seen[0] == 1
    assert all(count <= index + 2 for index, count in enumerate(busy.seen[:32]))


@pytest.mark.requirement("F43")
def test_ordered_deliveries_of_a_key_wait_behind_one_that_is_retried(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    tenant.workflow("wf_ordered", receiver.url + "/ordered", ordering="per_key")
    receiver.script("/ordered", answer(500), answer(200), answer(500), answer(200))
    by_key = {
        key: [
            *tenant.deliver("wf_ordered", 6, partition=1, metadata=b'{"ordering_key":"%s"}' % key.encode()),
            *tenant.deliver("wf_ordered", 6, partition=1, metadata=b'{"ordering_key":"%s"}' % key.encode()),
        ]
        for key in ("a", "b", "c")
    }
    every = [one for deliveries in by_key.values() for one in deliveries]
    first = start(ATLAS_RETRY_LADDER=SHORT)
    receiver.wait_for(8)
    first.kill()
    start(ATLAS_RETRY_LADDER=SHORT)
    assert_no_gap(tenant.ended(every), "delivered")
    arrived = [request.headers["x-atlas-delivery"] for request in receiver.requests]
    for deliveries in by_key.values():
        mine = [one.delivery_id for one in deliveries]
        assert list(dict.fromkeys(one for one in arrived if one in mine)) == mine
        positions = [mine.index(one) for one in arrived if one in mine]
        assert positions == sorted(positions)  # nothing goes before the one ahead of it has ended


class _Concurrency:
    """Notes how many requests are being answered as each begins."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._running = 0

    @property
    def most(self) -> int:
        return max(self.seen)

    def behaviour(self, seconds: float) -> Behaviour:
        """Counted as ended before the answer leaves: whoever gets it may send the next at once."""
        ended = answer(200)

        async def behave(reader, writer) -> bool:  # type: ignore[no-untyped-def]
            self._running += 1
            self.seen.append(self._running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self._running -= 1
            return await ended(reader, writer)

        return behave


def _flaky(chance: random.Random) -> Behaviour:
    good, bad = answer(200), answer(503)

    async def behave(reader, writer) -> bool:  # type: ignore[no-untyped-def]
        return await (good if chance.random() < 0.25 else bad)(reader, writer)

    return behave


def _write_waiting(kafka: str, partition: int, deliveries: list[Delivery], due_ms: int) -> None:
    """As if each had failed once and were due since `due_ms`."""
    table = MemoryTable()
    waiting = RetryTable(table)
    for delivery in deliveries:
        waiting.schedule_next(
            delivery.delivery_id,
            delivery.encode(),
            endpoint_id_of(delivery),
            attempts=1,
            first_ms=due_ms,
            due_ms=due_ms,
        )
    for key, value in table.scan(b""):
        produce(kafka, "delivery-waiting-changelog", value, key=key, partition=partition)
