"""A workspace for tests of delivery: makes workflows and deliveries on the log, and reads what became of them."""

import secrets
from typing import Any

from confluent_kafka import KafkaException, Producer

from deploy.local.spawn import wait_until
from operations import clock
from operations.random_ids import short_id
from schemas.codec import EVENT
from schemas.entities import Workflow
from schemas.ids import DELIVERY, WORKSPACE, derived_id
from schemas.ids import EVENT as EVENT_ID
from schemas.records import Command, Delivery, Outcome
from schemas.topics import Topic
from tests.support.kafka_topics import produce
from tests.support.log_tail import LogTail

GIVE_UP_SECONDS = 60.0
DATA = b'{"total" : 1.0, "note":"caf\\u00e9 \xf0\x9f\x92\xa5","big":12345678901234567890}'
ENDED = frozenset({"delivered", "exhausted"})


class Tenant:
    """A workspace of its own: makes workflows and deliveries, and reads what became of them."""

    def __init__(self, kafka: str) -> None:
        self.kafka = kafka
        self.workspace = short_id(WORKSPACE)
        self._tails: dict[str, LogTail] = {}
        self._outcomes: list[Outcome] = []
        """Of everybody on this broker, as far as they were read."""

    def workflow(self, workflow_id: str, url: str, **fields: Any) -> Workflow:
        """Made, or replaced by this state."""
        name = f"Name of {workflow_id}"
        workflow = Workflow(
            id=workflow_id, workspace=self.workspace, created_ms=1, environment="live", name=name, url=url, **fields
        )
        entity = workflow.to_entity()
        produce(self.kafka, Topic.CONTROL, entity.encode(), key=entity.key)
        return workflow

    def delete(self, workflow: Workflow) -> None:
        produce(self.kafka, Topic.CONTROL, None, key=workflow.to_entity().key)

    def deliver(self, workflow_id: str, count: int = 1, partition: int = 0, **event: Any) -> list[Delivery]:
        return self.deliver_to_each([workflow_id] * count, partition, **event)

    def deliver_to_each(self, workflow_ids: list[str], partition: int = 0, **event: Any) -> list[Delivery]:
        """One delivery each, in this order."""
        made = [self.delivery(workflow_id, **event) for workflow_id in workflow_ids]
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 1})
        for delivery in made:
            producer.produce(Topic.DELIVERIES, delivery.encode(), partition=partition)
        assert producer.flush(GIVE_UP_SECONDS) == 0
        return made

    def outcomes(self) -> list[Outcome]:
        """None while the broker can't be asked."""
        try:
            records = self._tail(Topic.OUTCOMES).to_end()
        except KafkaException:
            return []
        self._outcomes += [Outcome.decode(record.value) for record in records[len(self._outcomes) :]]
        return [outcome for outcome in self._outcomes if outcome.workspace == self.workspace]

    def outcomes_of(self, deliveries: list[Delivery]) -> dict[str, list[Outcome]]:
        """By delivery id, once each of these has one."""
        wanted = {delivery.delivery_id for delivery in deliveries}
        found: dict[str, list[Outcome]] = {}

        def complete() -> bool:
            found.clear()
            for outcome in self.outcomes():
                found.setdefault(outcome.delivery_id, []).append(outcome)
            return wanted <= found.keys()

        assert wait_until(complete, GIVE_UP_SECONDS, 0.1), f"{len(found)} of {len(wanted)} deliveries have an outcome"
        return found

    def ended(self, deliveries: list[Delivery]) -> dict[str, list[Outcome]]:
        """By delivery id and in the log's order, once the last outcome of each is delivered or exhausted. An end can be
        followed by others: if a worker is killed before the offset is committed, the next one makes the attempt again.
        """
        wanted = {delivery.delivery_id for delivery in deliveries}
        found: dict[str, list[Outcome]] = {}

        def complete() -> bool:
            found.clear()
            for outcome in self.outcomes():
                found.setdefault(outcome.delivery_id, []).append(outcome)
            return not self.open_of(found, wanted)

        assert wait_until(complete, GIVE_UP_SECONDS, 0.1), f"{self.open_of(found, wanted)} deliveries have not ended"
        return {delivery_id: found[delivery_id] for delivery_id in wanted}

    def commands(self) -> list[Command]:
        read = [Command.decode(record.value) for record in self._tail(Topic.COMMANDS).to_end()]
        return [command for command in read if command.workspace == self.workspace]

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()

    def _tail(self, topic: str) -> LogTail:
        if topic not in self._tails:
            self._tails[topic] = LogTail(self.kafka, topic)
        return self._tails[topic]

    @staticmethod
    def open_of(found: dict[str, list[Outcome]], wanted: set[str]) -> int:
        return sum(not any(one.status in ENDED for one in found.get(delivery_id, [])[-1:]) for delivery_id in wanted)

    def delivery(self, workflow_id: str, **event_fields: Any) -> Delivery:
        now_ms = clock.now_ms()
        unique = secrets.token_bytes(8)
        event: dict[str, Any] = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:12:11Z", "data": DATA}
        event |= event_fields
        return Delivery(
            delivery_id=derived_id(DELIVERY, now_ms, unique),
            event_id=derived_id(EVENT_ID, now_ms, unique),
            workspace=self.workspace,
            environment="live",
            stream="orders",
            workflow_id=workflow_id,
            received_ms=now_ms,
            event=EVENT.body_of(EVENT.encode(event)),
        )
