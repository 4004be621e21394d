"""Routes that are Kafka topics, by the delivery process on a real broker, read by a real consumer."""

from collections.abc import Callable

import pytest

from operations.topic_admin import ensure_topics
from schemas.partitioner import partition_for
from schemas.topics import RouteTopic, route_topic_spec
from tests.support.delivery_tenant import DATA, Tenant
from tests.support.kafka_topics import PARTITIONS, Stored, read_all
from tests.support.ports import free_port
from tests.support.processor import Processor
from tests.support.receiver import Receiver

Start = Callable[..., Processor]
SHORT = "events:" + ",".join(["300ms"] * 60)


def topic_of(tenant: Tenant, name: str = "orders") -> RouteTopic:
    return RouteTopic(tenant.workspace, "live", name)


def make(tenant: Tenant, topic: RouteTopic) -> None:
    ensure_topics(tenant.kafka, [route_topic_spec(topic, PARTITIONS)])


def headers(record: Stored) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


@pytest.mark.requirement("A-002")
def test_each_event_is_one_record_with_its_bytes_key_and_headers(start: Start, tenant: Tenant) -> None:
    topic = topic_of(tenant)
    make(tenant, topic)
    tenant.workflow("wf_lake", "", topic=topic.name)
    plain = tenant.deliver("wf_lake", 20, partition=0)
    keyed = tenant.deliver("wf_lake", 3, partition=1, idempotency_key="order-7", actor=b'{"type":"user","id":"u1"}')
    delivery_process = start()
    outcomes = tenant.outcomes_of([*plain, *keyed])
    assert {(one.status, one.attempt, one.http_status, one.error_code) for (one,) in outcomes.values()} == {
        ("delivered", 1, None, None)
    }
    records = {headers(record)["atlas-delivery"]: record for record in read_all(tenant.kafka, topic.name)}
    assert records.keys() == outcomes.keys()
    for delivery in [*plain, *keyed]:
        record = records[delivery.delivery_id]
        key = b"order-7" if delivery in keyed else delivery.event_id.encode()
        assert (record.key, record.value, record.partition) == (key, DATA, partition_for(key, PARTITIONS))
    found = headers(records[keyed[0].delivery_id])
    assert found.pop("atlas-received-at").endswith("Z")
    assert found == {
        "atlas-event-id": keyed[0].event_id,
        "atlas-type": "order.fulfilled",
        "atlas-stream": "orders",
        "atlas-workspace": tenant.workspace,
        "atlas-environment": "live",
        "atlas-workflow-id": "wf_lake",
        "atlas-occurred-at": "2026-05-18T14:12:11Z",
        "atlas-idempotency-key": "order-7",
        "atlas-actor": '{"type":"user","id":"u1"}',
        "atlas-delivery": keyed[0].delivery_id,
        "atlas-attempt": "1",
    }
    assert delivery_process.metric('atlas_delivery_attempts_total{outcome="delivered"}') == 23


@pytest.mark.requirement("A-049", "A-053")
def test_a_topic_that_takes_nothing_fails_on_the_schedule_and_holds_up_nobody(
    start: Start, tenant: Tenant, receiver: Receiver
) -> None:
    """It does not exist yet; meanwhile others get theirs."""
    topic = topic_of(tenant)
    tenant.workflow("wf_lake", "", topic=topic.name)
    tenant.workflow("wf_hook", receiver.url)
    deliveries = tenant.deliver("wf_lake", 3, partition=2)
    others = tenant.deliver("wf_hook", 50, partition=2)
    start(ATLAS_RETRY_LADDER=SHORT, ATLAS_ATTEMPT_TIMEOUT_SECONDS="0.5")
    assert {made[-1].status for made in tenant.ended(others).values()} == {"delivered"}
    failed = tenant.outcomes_of(deliveries)
    for made in (failed[one.delivery_id] for one in deliveries):
        assert (made[0].status, made[0].attempt) == ("retry_scheduled", 1)
        assert made[0].error_code in ("connection_failed", "upstream_timeout") and made[0].error_message
    make(tenant, topic)
    for made in tenant.ended(deliveries).values():
        assert made[-1].status == "delivered"
        assert [one.attempt for one in made] == list(range(1, len(made) + 1))
    last = {headers(record)["atlas-delivery"]: headers(record) for record in read_all(tenant.kafka, topic.name)}
    assert all(int(last[one.delivery_id]["atlas-attempt"]) > 1 for one in deliveries)


@pytest.mark.requirement("A6", "A7")
@pytest.mark.parametrize("name", ["control", "events.{own}.live.orders", "routes.ws_other.live.orders"])
def test_nothing_is_written_to_a_topic_of_anybody_else(start: Start, tenant: Tenant, name: str) -> None:
    """Whatever `control` has."""
    if name.startswith("routes"):
        make(tenant, RouteTopic("ws_other", "live", "orders"))
    tenant.workflow("wf_lake", "", topic=name.format(own=tenant.workspace))
    deliveries = tenant.deliver("wf_lake", 1, partition=3)
    start(ATLAS_RETRY_LADDER="events:100ms")
    ((*_, last),) = tenant.ended(deliveries).values()
    assert (last.status, last.error_code) == ("exhausted", "target_forbidden")


def test_what_waits_goes_where_its_workflow_leads_when_its_time_has_come(start: Start, tenant: Tenant) -> None:
    tenant.workflow("wf_lake", f"http://127.0.0.1:{free_port()}/")
    deliveries = tenant.deliver("wf_lake", 2, partition=4)
    start(ATLAS_RETRY_LADDER=SHORT)
    tenant.outcomes_of(deliveries)
    topic = topic_of(tenant)
    make(tenant, topic)
    tenant.workflow("wf_lake", "", topic=topic.name)
    tenant.ended(deliveries)
    assert len(read_all(tenant.kafka, topic.name)) == 2
