"""Kafka forgets a group's offsets after a week without members. Who comes back goes on where it was, nothing twice."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from domain.security.callers import CallerContext
from operations import clock
from operations.new_commands import new_command
from operations.random_ids import short_id
from operations.settings import ensure_master_key
from schemas.commands import command_key
from schemas.commands.workspaces import CreateWorkspace
from schemas.ids import WORKSPACE
from schemas.records import Audit, Telemetry
from schemas.telemetry import ModelCall, ModelCalls, encode_payload
from schemas.topics import Topic
from tests.support.brokers import a_broker
from tests.support.delivery_tenant import Tenant
from tests.support.kafka_topics import ensure_base_topics, produce, read_all
from tests.support.processor import Processor
from tests.support.receiver import Receiver
from tests.support.streams import LiveStream

WAIT_SECONDS = 60.0
GROUPS = ("admission", "control", "delivery", "lifecycle")
AGENTS = {"admission": "admission", "guardrails": "control", "delivery": "delivery", "lifecycle": "lifecycle"}
"""Each agent whose every record is one of ours, and its group; `control` is told more by itself."""
ROUTE = "wf_crm"


@dataclass
class Installation:
    """All groups that keep their offsets with Kafka. `sent`: events, each with a delivery, an outcome, a model call."""

    broker: Broker
    home: Path
    receiver: Receiver
    processes: dict[str, Processor]
    stream: LiveStream
    sent: int = 0
    commands: list[str] = field(default_factory=list)

    def start(self) -> None:
        for process in self.processes.values():
            process.spawn()
        for process in self.processes.values():
            process.wait_until_ready()

    def stop(self) -> None:
        for process in self.processes.values():
            process.ask_to_stop()
        assert [process.stopped() for process in self.processes.values()] == [0] * len(self.processes)

    def forget_offsets(self) -> None:
        """As Kafka does when `offsets.retention.minutes` have passed without a member."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        for future in admin.delete_consumer_groups(list(GROUPS)).values():
            future.result(WAIT_SECONDS)

    def send(self, count: int) -> None:
        """Events that admission lets in, which go to a workflow; and as many model calls. Returns when all is done."""
        before = {agent: self.handled(agent) for agent in AGENTS}
        writer = self.stream.writer()
        for _ in range(count):
            writer.send_as_gateway(data={"n": secrets.token_hex(8)})
            self._call_a_model()
        writer.flush()
        self.sent += count
        assert wait_until(lambda: len(self.receiver.requests) >= self.sent, WAIT_SECONDS), "not all is delivered"
        done = lambda: all(self.handled(agent) >= handled + count for agent, handled in before.items())  # noqa: E731
        assert wait_until(done, WAIT_SECONDS), before

    def command(self) -> None:
        """One that is decided, with an entry in the audit log."""
        workspace, now_ms = short_id(WORKSPACE), clock.now_ms()
        payload = CreateWorkspace(name="Acme")
        command = new_command(
            payload, workspace=workspace, environment="live", caller=CallerContext("key_1"), now_ms=now_ms
        )
        produce(self.broker.bootstrap, Topic.COMMANDS, command.encode(), key=command_key(command))
        self.commands.append(workspace)
        assert wait_until(lambda: workspace in self.decided(), WAIT_SECONDS), "no command was decided"

    def decided(self) -> list[str]:
        """Workspaces by the audit log: one entry a command that was decided."""
        return [Audit.decode(record.value).workspace for record in read_all(self.broker.bootstrap, Topic.AUDIT)]

    def handled(self, agent: str) -> float:
        """Records, by the process that runs now."""
        return self.processes[AGENTS[agent]].metric(f'atlas_records_total{{agent="{agent}"}}')

    def _call_a_model(self) -> None:
        call = ModelCall(
            ts_ms=clock.now_ms(),
            provider="openai",
            model="gpt-4o-mini",
            status=200,
            tokens_in=1,
            tokens_out=1,
            cost_nano=1,
            fingerprint="sha256:1",
            key_id="key_1",
        )
        payload = encode_payload(ModelCalls(calls=[call]))
        record = Telemetry(id=f"tel_{secrets.token_hex(8)}", kind=ModelCalls.kind, workspace="ws_1", payload=payload)
        produce(self.broker.bootstrap, Topic.BURN_TELEMETRY, record.encode(), key=b"ws_1")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("home")
    broker = a_broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    ensure_base_topics(broker.bootstrap)
    with Receiver() as receiver:
        tenant = Tenant(broker.bootstrap)
        tenant.workflow(ROUTE, receiver.url + "/hook")
        stream = LiveStream(broker.bootstrap, ensure_master_key(home), workspace=tenant.workspace, routes=[ROUTE])
        private = {"ATLAS_ALLOW_PRIVATE_TARGETS": "1"}
        processes = {group: Processor(group, broker.bootstrap, home, **private) for group in GROUPS}
        installed = Installation(broker, home, receiver, processes, stream)
        installed.start()
        installed.send(20)
        installed.command()
        yield installed
        for process in processes.values():
            process.kill()
        tenant.close()
    broker.kill()


@pytest.mark.requirement("F11")
@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_who_comes_back_without_offsets_does_nothing_twice_and_forgets_nothing(
    installation: Installation, disk: str
) -> None:
    installation.stop()
    installation.forget_offsets()
    if disk == "lost":
        shutil.rmtree(installation.home / "tables")
    installation.start()
    installation.send(3)
    assert {agent: installation.handled(agent) for agent in AGENTS} == dict.fromkeys(AGENTS, 3.0)
    assert len(installation.receiver.requests) == installation.sent
    installation.command()
    sent_commands = len(installation.commands)
    assert installation.processes["control"].metric("atlas_commands_repeated_total") == 0
    assert [installation.decided().count(workspace) for workspace in installation.commands] == [1] * sent_commands
