"""`atlas up` on each version of Kafka that it offers: it starts, an event is delivered, and it stops.

The jars of the versions that are not the default come from Maven, once, into `ATLAS_CACHE` or deploy/kafka/jars.
"""

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from bench.system import System
from deploy.local import jars
from operations.kafka_clients import admin_config
from tests.support.api import EventsApi
from tests.support.events import an_event
from tests.support.ports import free_port_base
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("version", jars.kafka_versions())
def test_the_main_job_on_this_version(version: str, tmp_path: Path) -> None:
    env = {"ATLAS_KAFKA_VERSION": version}
    with Receiver() as receiver, System(tmp_path / "home", free_port_base(), env) as atlas:
        api = EventsApi(atlas.dev["events"]["url"], atlas.dev["events"]["live_key"])
        assert api.post("/v1/workflows", {"id": "wf_one", "name": "One", "url": receiver.url}).status == 201
        assert api.post("/v1/event-streams", {"name": "orders", "default_routes": ["wf_one"]}).status == 201
        event = api.post("/v1/events", an_event(stream="orders", data={"n": 1}), Idempotency_Key="k")
        assert event.status == 202
        shown = api.wait_for_status(event.json["id"], "delivered")
        assert [attempt["status"] for attempt in shown["attempts"]] == ["delivered"]
        again = api.post("/v1/events", an_event(stream="orders", data={"n": 1}), Idempotency_Key="k")
        assert again.json["id"] == event.json["id"]
        assert AdminClient(admin_config(atlas.dev["kafka"])).list_topics(timeout=10).brokers
    assert (tmp_path / "home" / "kafka" / "kafka-version").read_text().strip() == version
