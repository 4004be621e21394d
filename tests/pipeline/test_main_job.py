"""The main job, whole: HTTP and Kafka in, a workflow's endpoint out, every process and the broker real.

One installation a test; what was accepted must arrive byte-equal and reach `delivered`, whoever is stopped or killed.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench.system import System
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


def send_with_kcat(atlas: System, scratch: Path, prefix: str, payloads: list[tuple[str, str]]) -> list[str]:
    """Straight to the stream's topic; the names. kcat's own partitioner differs from Kafka's Java client."""
    names = [f"{prefix}-{number}" for number in range(len(payloads))]
    lines = [
        f"{name}\t".encode() + an_event(name, kind, data) for name, (kind, data) in zip(names, payloads, strict=True)
    ]
    (scratch / "records").write_bytes(b"\n".join(lines) + b"\n")
    topic = stream_topic(atlas.dev["events"]["workspace_id"], "live", STREAM)
    command = ["kcat", "-P", "-b", atlas.dev["kafka"], "-t", topic, "-K", "\t", "-l", str(scratch / "records")]
    subprocess.run(command, check=True, timeout=60)
    return names


@pytest.mark.requirement("A-001", "A-002", "A-014", "A-027", "A-045", "F42")
@pytest.mark.parametrize("payloads_of", [made_webhooks, github_webhooks])
def test_every_payload_arrives_byte_equal_over_http_and_kafka_and_over_a_restart(
    payloads_of: Callable[[], list[tuple[str, str]]], tmp_path: Path
) -> None:
    payloads = payloads_of()
    half = len(payloads) // 2
    with Receiver() as receiver:
        with System(tmp_path / "home", free_port_base()) as atlas:
            ids = send_over_http(prepare(atlas, receiver), "first", payloads[:half])
        with System(tmp_path / "home", free_port_base()) as atlas:
            api = the_api(atlas)
            ids |= send_over_http(api, "second", payloads[half:])
            sent = dict(zip(ids, payloads, strict=True))
            if shutil.which("kcat"):
                sent |= dict(zip(send_with_kcat(atlas, tmp_path, "kcat", payloads), payloads, strict=True))
            receiver.wait_for(len(sent), timeout_seconds=90)
            arrived = delivered_by_name(receiver.requests)
            assert arrived.keys() == sent.keys()
            for name, (kind, data) in sent.items():
                assert (arrived[name].type, bytes(arrived[name].data)) == (kind, data.encode())
                assert ids.get(name, arrived[name].id) == arrived[name].id
            for event in arrived.values():
                api.wait_for_status(event.id, "delivered")


@pytest.mark.requirement("F1", "F34", "F44")
def test_what_was_accepted_survives_a_kill_of_anyone_right_after(tmp_path: Path) -> None:
    with Receiver() as receiver, System(tmp_path / "home", free_port_base()) as atlas:
        api = prepare(atlas, receiver)
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
        arrived = delivered_by_name(receiver.requests)
        assert {name: event.id for name, event in arrived.items()} == ids
