"""A stream's events in a Kafka topic, from `POST /v1/workflows` to a consumer, on a whole installation."""

import json

import pytest
from confluent_kafka import Consumer

from deploy.local.spawn import wait_until
from tests.pipeline.lifecycle.conftest import WAIT_SECONDS, Tenant

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("outcome webhooks")]


class Reader:
    """As any consumer group would read it: subscribed to the topic's name."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.records: list[tuple[bytes, bytes, dict[str, str]]] = []
        self._consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest", "log_level": 0}
        )
        self._consumer.subscribe([topic])

    def wait_for(self, count: int) -> None:
        def arrived() -> bool:
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is None:
                headers = {name: value.decode() for name, value in message.headers()}
                self.records.append((message.key(), message.value(), headers))
            return len(self.records) >= count

        assert wait_until(arrived, WAIT_SECONDS, 0.0), f"{len(self.records)} of {count} records"

    def close(self) -> None:
        self._consumer.close()


@pytest.mark.requirement("A-002", "A-029", "A-068")
def test_admitted_events_are_records_of_the_topic_one_each(tenant: Tenant) -> None:
    topic = f"routes.{tenant.workspace}.live.{tenant.name}"
    made = tenant.post(201, "/v1/workflows", {"kind": "kafka", "name": "Lake", "topic": topic})
    assert (made["kind"], made["topic"], made["url"]) == ("kafka", topic, None) and "signing_secret" not in made
    hook, _ = tenant.workflow("hook")
    tenant.stream(made["id"], hook)
    event = {"stream": tenant.name, "type": "order.paid", "occurred_at": "2026-05-18T14:22:11Z", "data": {"n": 1.50}}
    repeated = [tenant.api.post("/v1/events", event, Idempotency_Key="k-1") for _ in range(3)]
    conflict = tenant.api.post("/v1/events", {**event, "data": {"n": 2}}, Idempotency_Key="k-1")
    assert [answer.status for answer in (*repeated, conflict)] == [202, 202, 202, 409]
    event_id = repeated[0].json["id"]
    others = [tenant.send(number) for number in range(5)]
    shown = tenant.api.wait_for_status(event_id, "delivered")
    assert {(one["workflow_id"], one["status"]) for one in shown["attempts"]} == {
        (made["id"], "delivered"),
        (hook, "delivered"),
    }
    reader = Reader(tenant.kafka, topic)
    try:
        reader.wait_for(6)
        by_id = {headers["atlas-event-id"]: (key, json.loads(value)) for key, value, headers in reader.records}
        assert by_id == {
            event_id: (b"k-1", {"n": 1.5}),
            **{one: (one.encode(), {"n": number}) for number, one in enumerate(others)},
        }
        replay = tenant.post(202, f"/v1/events/{event_id}/replay", {"workflows": [made["id"]]})
        reader.wait_for(7)
        key, value, headers = reader.records[-1]
        assert (key, json.loads(value), headers["atlas-event-id"]) == (b"k-1", {"n": 1.5}, event_id)
        assert headers["atlas-replay"] == str(replay["number"])
        assert len(reader.records) == 7
    finally:
        reader.close()
    assert tenant.api.call("DELETE", f"/v1/workflows/{made['id']}").status == 204
    again = tenant.post(201, "/v1/workflows", {"kind": "kafka", "name": "Lake", "topic": topic})
    assert again["id"] != made["id"]
