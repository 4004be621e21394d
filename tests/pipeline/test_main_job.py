"""The main job, whole: HTTP and Kafka in, a workflow's endpoint out, every process and the broker real.

One installation, which was stopped and started again in the middle; what was accepted must arrive byte-equal and reach
`delivered`, whoever is stopped or killed.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import pytest
from confluent_kafka import Producer

from bench.system import System
from deploy.local.spawn import wait_until
from schemas.topics import stream_topic
from tests.support.api import EventsApi
from tests.support.payloads import github_webhooks, made_webhooks
from tests.support.ports import free_port_base
from tests.support.receiver import Receiver, Request
from tests.support.victims import VICTIMS, kill

OCCURRED_AT = "2026-05-18T14:22:11Z"
STREAM = "webhooks"
pytestmark = pytest.mark.timeout(300)


class Delivered(msgspec.Struct):
    """What a workflow's endpoint is sent."""

    id: str
    type: str
    data: msgspec.Raw
    metadata: dict[str, str]


def delivered_by_name(requests: list[Request]) -> dict[str, Delivered]:
    """By the name that the sender wrote into the metadata."""
    bodies = [msgspec.json.decode(request.body, type=Delivered) for request in requests]
    return {body.metadata["name"]: body for body in bodies}


def an_event(name: str, kind: str, data: str) -> bytes:
    """Written by hand, so that `data` goes out as it stands."""
    head = json.dumps({"stream": STREAM, "type": kind, "occurred_at": OCCURRED_AT, "metadata": {"name": name}})
    return f'{head[:-1]}, "data": {data}}}'.encode()


def the_api(atlas: System) -> EventsApi:
    return EventsApi(atlas.dev["events"]["url"], atlas.dev["events"]["live_key"])


def prepare(atlas: System, receiver: Receiver) -> EventsApi:
    api = the_api(atlas)
    workflow = api.post("/v1/workflows", {"id": "wf_archive", "name": "Archive", "url": receiver.url + "/hook"})
    assert workflow.status == 201, workflow.body
    stream = api.post("/v1/event-streams", {"name": STREAM, "default_routes": ["wf_archive"]})
    assert stream.status == 201, stream.body
    return api


def send_over_http(api: EventsApi, prefix: str, payloads: list[tuple[str, str]]) -> dict[str, str]:
    """Event ids by name; every other event has an Idempotency-Key."""
    ids = {}
    for number, (kind, data) in enumerate(payloads):
        name = f"{prefix}-{number}"
        headers = {"Idempotency_Key": name} if number % 2 else {}
        ids[name] = api.post_until(202, "/v1/events", an_event(name, kind, data), **headers).json["id"]
    return ids


def send_to_kafka(atlas: System, prefix: str, payloads: list[tuple[str, str]]) -> list[str]:
    """Straight to the stream's topic; the names. The partitioner is librdkafka's own, as kcat has it: it differs from
    Kafka's Java client.
    """
    topic = stream_topic(atlas.dev["events"]["workspace_id"], "live", STREAM)
    producer = Producer({"bootstrap.servers": atlas.dev["kafka"], "partitioner": "consistent_random"})
    names = [f"{prefix}-{number}" for number in range(len(payloads))]
    for name, (kind, data) in zip(names, payloads, strict=True):
        producer.produce(topic, an_event(name, kind, data), name.encode())
    assert producer.flush(60) == 0
    return names


@dataclass
class Restarted:
    """An installation that was stopped and started again. `ids`: of events that were sent before, by name; `before`:
    what they held.
    """

    atlas: System
    receiver: Receiver
    api: EventsApi
    ids: dict[str, str]
    before: dict[str, tuple[str, str]]

    def arrived(self, names: Iterable[str]) -> dict[str, Delivered]:
        """Of these events, once all are there."""
        wanted = set(names)
        found: dict[str, Delivered] = {}

        def all_came() -> bool:
            found.update(delivered_by_name(self.receiver.requests))
            return wanted <= found.keys()

        assert wait_until(all_came, 90, 0.1), wanted - found.keys()
        return {name: found[name] for name in wanted}


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    home = tmp_path_factory.mktemp("main-job") / "home"
    payloads = made_webhooks()[:87]
    with Receiver() as receiver:
        with System(home, free_port_base()) as atlas:
            ids = send_over_http(prepare(atlas, receiver), "before", payloads)
        with System(home, free_port_base()) as atlas:
            yield Restarted(atlas, receiver, the_api(atlas), ids, dict(zip(ids, payloads, strict=True)))


@pytest.mark.requirement("A-001", "A-002", "A-014", "A-027", "A-045", "F42")
@pytest.mark.parametrize("payloads_of", [made_webhooks, github_webhooks])
def test_every_payload_arrives_byte_equal_over_http_and_kafka_and_over_a_restart(
    payloads_of: Callable[[], list[tuple[str, str]]], restarted: Restarted
) -> None:
    payloads, kind_of = payloads_of(), payloads_of.__name__
    ids = send_over_http(restarted.api, f"http-{kind_of}", payloads)
    sent = dict(zip(ids, payloads, strict=True))
    names = send_to_kafka(restarted.atlas, f"kafka-{kind_of}", payloads)
    sent |= dict(zip(names, payloads, strict=True)) | restarted.before
    ids |= restarted.ids
    arrived = restarted.arrived(sent)
    for name, (kind, data) in sent.items():
        assert (arrived[name].type, bytes(arrived[name].data)) == (kind, data.encode())
        assert ids.get(name, arrived[name].id) == arrived[name].id
    for event in arrived.values():
        restarted.api.wait_for_status(event.id, "delivered")


@pytest.mark.requirement("F1", "F34", "F44")
def test_what_was_accepted_survives_a_kill_of_anyone_right_after(restarted: Restarted) -> None:
    atlas, api = restarted.atlas, restarted.api
    ids: dict[str, str] = {}
    for victim in VICTIMS:
        for number in range(5):
            name = f"{victim}-{number}"
            body = an_event(name, "order.fulfilled", '{"total_cents": 4299}')
            ids[name] = api.post_until(202, "/v1/events", body, Idempotency_Key=name).json["id"]
        kill(atlas, victim)
    for name, event_id in ids.items():
        event = api.wait_for_status(event_id, "delivered", give_up_seconds=90)
        assert [attempt["status"] for attempt in event["attempts"]] == ["delivered"], name
    assert {name: event.id for name, event in restarted.arrived(ids).items()} == ids
