"""Every process of Atlas on a cluster that lets in only who has a certificate and a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bench.system import System
from cli.main import main as atlas_command
from operations.kafka_clients import admin_config
from operations.kafka_security import Cluster, read_security
from schemas.topics import stream_topic
from tests.support.api import EventsApi
from tests.support.events import an_event
from tests.support.ports import free_port, free_port_base
from tests.support.receiver import Receiver
from tests.support.secured_broker import PASSWORD, SecuredBroker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]  # a broker and an installation of its own


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SecuredBroker]:
    broker = SecuredBroker(tmp_path / "broker", free_port(), free_port())
    broker.start()
    yield broker
    broker.kill()


def topics_seen(env: dict[str, str]) -> set[str]:
    faults: list[str] = []
    client = AdminClient(admin_config(Cluster(env["ATLAS_KAFKA"], read_security(env, faults))))
    assert not faults
    return set(client.list_topics(timeout=5).topics)


@pytest.mark.requirement("K15")
def test_the_whole_of_atlas_works_on_a_secured_cluster(broker: SecuredBroker, tmp_path: Path) -> None:
    with Receiver() as receiver, System(tmp_path / "home", free_port_base(), broker.env) as atlas:
        api = EventsApi(atlas.dev["events"]["url"], atlas.dev["events"]["live_key"])
        assert api.post("/v1/workflows", {"id": "wf_one", "name": "One", "url": receiver.url}).status == 201
        assert api.post("/v1/event-streams", {"name": "orders", "default_routes": ["wf_one"]}).status == 201
        event = api.post("/v1/events", an_event(stream="orders", data={"n": 1}), Idempotency_Key="k")
        assert event.status == 202 and "Atlas-Decision" not in event.headers
        shown = api.wait_for_status(event.json["id"], "delivered")
        assert [attempt["status"] for attempt in shown["attempts"]] == ["delivered"]
        assert atlas.dev["kafka"] == broker.env["ATLAS_KAFKA"]
        told = "".join(path.read_text() for path in (tmp_path / "home" / "logs").iterdir()) + atlas.output.read_text()
        assert PASSWORD not in told
        env = {**broker.env, "ATLAS_HOME": str(tmp_path / "home")}
        command = CliRunner(env=env).invoke(atlas_command, ["dead-letters"])
        assert (command.exit_code, command.output) == (0, "")
        workspace = atlas.dev["events"]["workspace_id"]
    assert stream_topic(workspace, "live", "orders") in topics_seen(broker.env)
    for missing in ("ATLAS_KAFKA_SASL_PASSWORD", "ATLAS_KAFKA_SSL_CERTIFICATE", "ATLAS_KAFKA_SSL_CA"):
        wrong = {**broker.env, "ATLAS_KAFKA_SSL_KEY": broker.env["ATLAS_KAFKA_SSL_KEY"]}
        if missing.endswith("PASSWORD"):
            wrong[missing] = "wrong"
        else:
            del wrong[missing]
        if missing.endswith("CERTIFICATE"):
            del wrong["ATLAS_KAFKA_SSL_KEY"]
        with pytest.raises(KafkaException):
            topics_seen(wrong)
