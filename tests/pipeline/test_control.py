"""The control process as it runs: a command in, a verdict and an entity out, topics made beside; killed and resumed."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from domain.entities.control_view import ControlView
from domain.security.callers import CallerContext
from operations import clock
from operations.kafka_clients import producer_config, reader_config
from operations.new_commands import new_command
from operations.random_ids import short_id
from operations.topic_admin import ensure_topics
from schemas.commands import command_key
from schemas.commands.answers import decode_refusal
from schemas.commands.payload import Payload
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import Stream
from schemas.ids import WORKSPACE
from schemas.records import Audit, Command, DeadLetter, Verdict
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.topics import DAY_MS, StreamTopic, Topic, TopicSpec, base_topics
from tests.support.brokers import a_broker
from tests.support.kafka_topics import produce, read_all
from tests.support.ports import free_port
from tests.support.processor import Processor

PARTITIONS = 4
REPLY_PARTITION = 7
ANSWER_SECONDS = 30.0
RETRIED = 'atlas_topic_tasks_total{outcome="retried",task="create"}'


class Asker:
    """Sends commands of one workspace and reads their verdicts, as a gateway does."""

    def __init__(self, bootstrap: str) -> None:
        self.workspace = short_id(WORKSPACE)
        self._bootstrap = bootstrap
        self._producer = Producer(producer_config(bootstrap) | {"partitioner": "murmur2_random"})
        self._consumer = Consumer(reader_config(bootstrap, f"asker-{self.workspace}"))
        self._consumer.assign([TopicPartition(Topic.VERDICTS, REPLY_PARTITION, 0)])
        self._answers: dict[bytes, list[Verdict]] = {}

    def command(self, payload: Payload, key: str | None = None) -> Command:
        now_ms = clock.now_ms()
        return new_command(
            payload,
            workspace=self.workspace,
            environment="live",
            caller=CallerContext("key_1"),
            now_ms=now_ms,
            idempotency_key=key,
        )

    def send(self, command: Command) -> bytes:
        """The correlation id of its verdict; the broker has the command."""
        reply = ReplyTo(REPLY_PARTITION, secrets.token_bytes(16))
        self.send_raw(command.encode(), command_key(command), reply)
        return reply.correlation

    def send_raw(self, value: bytes | None, key: bytes, reply: ReplyTo) -> None:
        self._producer.produce(Topic.COMMANDS, value, key, headers=[(REPLY_HEADER, reply.encode())])
        assert self._producer.flush(ANSWER_SECONDS) == 0

    def verdict(self, correlation: bytes) -> Verdict:
        deadline = time.monotonic() + ANSWER_SECONDS
        while correlation not in self._answers:
            assert time.monotonic() < deadline, "no verdict"
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                verdict = Verdict.decode(message.value())
                self._answers.setdefault(verdict.correlation, []).append(verdict)
        return self._answers[correlation][-1]

    def ask(self, payload: Payload, key: str | None = None) -> Verdict:
        return self.verdict(self.send(self.command(payload, key)))

    def create_stream(self, name: str, **fields: int) -> Stream:
        verdict = self.ask(CreateStream(name=name, **fields))  # type: ignore[arg-type]
        assert verdict.status == 201, verdict
        return msgspec.json.decode(verdict.body, type=Stream)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = a_broker(tmp_path_factory.mktemp("control-broker"))
    broker.start()
    ensure_topics(broker.bootstrap, base_topics(PARTITIONS))
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control-home")


@pytest.fixture
def stopped_control(broker: Broker, home: Path) -> Iterator[Processor]:
    """One group, so one process at a time; its tables outlive each test."""
    control = Processor("control", broker.bootstrap, home, ATLAS_PARTITIONS=str(PARTITIONS))
    yield control
    control.stop()  # it leaves its group, so that the next test's process needn't wait for its session to end


@pytest.fixture
def control(stopped_control: Processor) -> Processor:
    return stopped_control.start()


@pytest.fixture
def asker(broker: Broker, control: Processor) -> Asker:
    asker = Asker(broker.bootstrap)
    assert asker.ask(CreateWorkspace(name="Acme")).status == 201
    return asker


def view_of(broker: Broker) -> ControlView:
    view = ControlView()
    for record in read_all(broker.bootstrap, Topic.CONTROL):
        view.apply(record.key or b"", record.value)
    return view


def retention_ms(broker: Broker, stream: Stream) -> str:
    resource = ConfigResource(ResourceType.TOPIC, stream.topic)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    return str(client.describe_configs([resource])[resource].result(20)["retention.ms"].value)


def topic_of(broker: Broker, name: str) -> int:
    """How many partitions it has; 0 where there is none."""
    topics = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=20).topics
    return len(topics[name].partitions) if name in topics else 0


@pytest.mark.requirement("A-016", "A-020", "A-026")
def test_a_stream_lives_from_command_to_command(broker: Broker, asker: Asker) -> None:
    stream = asker.create_stream("orders-prod", retention_days=30)
    assert (topic_of(broker, stream.topic), retention_ms(broker, stream)) == (PARTITIONS, str(30 * DAY_MS))
    assert view_of(broker).stream(asker.workspace, "live", "orders-prod") == stream
    assert json.loads(asker.ask(CreateStream(name="orders-prod")).body)["code"] == "stream_exists"
    assert asker.ask(UpdateStream(stream=stream.id, retention_days=5)).status == 200
    assert wait_until(lambda: retention_ms(broker, stream) == str(5 * DAY_MS), ANSWER_SECONDS)
    assert asker.ask(DeleteStream(stream="orders-prod")).status == 204
    assert view_of(broker).stream(asker.workspace, "live", "orders-prod") is None
    assert topic_of(broker, stream.topic) == PARTITIONS


def test_a_topic_in_a_streams_way_is_told_to_who_asked_and_nothing_of_it_is_changed(
    broker: Broker, asker: Asker, control: Processor
) -> None:
    """It belongs to no stream, so it is counted as well."""
    name = StreamTopic(asker.workspace, "live", "orders-prod").name
    ensure_topics(broker.bootstrap, [TopicSpec(name, PARTITIONS + 1, {})])
    refused = asker.ask(CreateStream(name="orders-prod"), key="k")
    assert (refused.status, decode_refusal(refused.body).code) == (409, "topic_exists")
    assert f"{name} exists with {PARTITIONS + 1} partitions, and needs {PARTITIONS}" in str(refused.body)
    assert topic_of(broker, name) == PARTITIONS + 1

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics([name])[name].result(ANSWER_SECONDS)
    assert wait_until(lambda: topic_of(broker, name) == 0, ANSWER_SECONDS)
    assert asker.ask(CreateStream(name="orders-prod"), key="k").status == 201


def test_records_that_nobody_reads_are_counted_and_their_topic_is_named(
    broker: Broker, stopped_control: Processor, home: Path
) -> None:
    name = StreamTopic(short_id(WORKSPACE), "live", "misspelt").name
    ensure_topics(broker.bootstrap, [TopicSpec(name, 1, {})])
    for _ in range(3):
        produce(broker.bootstrap, name, b"read by nobody")
    control = stopped_control.start()
    assert wait_until(lambda: control.metric("atlas_unread_records") == 3, ANSWER_SECONDS)
    assert control.metric("atlas_unread_topics") == 1
    said = [line for line in (home / "control.log").read_text().splitlines() if "topic.unread" in line]
    assert len(said) == 1 and name in said[0]
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics([name])[name].result(ANSWER_SECONDS)


@pytest.mark.requirement("A-004")
def test_a_repeat_gets_the_same_answer_and_each_decision_one_audit(broker: Broker, asker: Asker) -> None:
    workflow = CreateWorkflow(id="wf_archive", name="Archive", url="https://example.com/hook")
    first, again = asker.ask(workflow, key="k"), asker.ask(workflow, key="k")
    assert (first.status, first.body) == (again.status, again.body) == (201, again.body)
    assert asker.ask(DeleteWorkflow(id="wf_archive")).status == 204
    assert view_of(broker).workflow(asker.workspace, "live", "wf_archive") is None
    audits = [Audit.decode(record.value) for record in read_all(broker.bootstrap, Topic.AUDIT)]
    assert [audit.action for audit in audits if audit.workspace == asker.workspace] == [
        "workspace.create",
        "workflow.create",
        "workflow.delete",
    ]


@pytest.mark.requirement("F18")
def test_what_cannot_be_read_is_set_aside_alone(broker: Broker, asker: Asker) -> None:
    key = asker.workspace.encode()
    unknown = asker.command(DeleteWorkflow(id="wf_x"))
    bad = [None, b"", b"{}", msgspec.structs.replace(unknown, kind="workflow.explode").encode()]
    for value in bad:
        asker.send_raw(value, key, ReplyTo(REPLY_PARTITION, secrets.token_bytes(16)))
    assert asker.ask(DeleteWorkflow(id="wf_x")).status == 404
    letters = [DeadLetter.decode(record.value) for record in read_all(broker.bootstrap, Topic.DEAD_LETTERS)]
    mine = [letter for letter in letters if letter.topic == Topic.COMMANDS and letter.key == key]
    assert [(letter.reason, letter.value) for letter in mine] == [("unreadable", value) for value in bad]


@pytest.mark.requirement("F35", "F20")
def test_what_was_asked_while_it_was_killed_is_done_when_it_is_back(broker: Broker, stopped_control: Processor) -> None:
    stopped_control.start()
    asker = Asker(broker.bootstrap)
    assert asker.ask(CreateWorkspace(name="Acme")).status == 201
    asked = [asker.command(CreateStream(name=f"stream-{number}"), key=f"k{number}") for number in range(20)]
    sent = [asker.send(command) for command in asked[:10]]
    stopped_control.kill()  # some are taken and not created, some not even read
    sent += [asker.send(command) for command in asked[10:]]
    stopped_control.start()
    streams = [msgspec.json.decode(asker.verdict(correlation).body, type=Stream) for correlation in sent]
    assert {topic_of(broker, stream.topic) for stream in streams} == {PARTITIONS}
    view = view_of(broker)
    assert view.streams_of(asker.workspace, "live") == sorted(streams, key=lambda one: (one.created_ms, one.id))
    again = asker.ask(CreateStream(name="stream-3"), key="k3")
    assert msgspec.json.decode(again.body, type=Stream) == streams[3]


@pytest.mark.requirement("F20")
def test_a_creation_that_the_process_took_and_did_not_do_is_resumed(
    broker: Broker, stopped_control: Processor, home: Path
) -> None:
    """Its admin client talks to a port where nobody listens, so that it takes the creation and can't do it."""
    stopped_control.start()
    asker = Asker(broker.bootstrap)
    assert asker.ask(CreateWorkspace(name="Acme")).status == 201
    stopped_control.kill()
    lame = Processor("control", broker.bootstrap, home, ATLAS_PARTITIONS=str(PARTITIONS), PYTHONPATH=lame_admin(home))
    try:
        lame.start()
        waiting = asker.send(asker.command(CreateStream(name="orders-prod")))
        assert wait_until(lambda: lame.metric(RETRIED) > 0, ANSWER_SECONDS)
        assert topic_of(broker, f"events.{asker.workspace}.live.orders-prod") == 0
    finally:
        lame.kill()
    stopped_control.start()
    assert asker.verdict(waiting).status == 201
    assert topic_of(broker, f"events.{asker.workspace}.live.orders-prod") == PARTITIONS


def lame_admin(home: Path) -> str:
    """A directory for PYTHONPATH whose sitecustomize gives the control agent an address where no broker is."""
    directory = home / "lame"
    directory.mkdir(exist_ok=True)
    lines = (
        "import operations.topic_admin as admin",
        "real = admin.TopicAdmin.__init__",
        f"admin.TopicAdmin.__init__ = lambda self, bootstrap: real(self, '127.0.0.1:{free_port()}', 1.0)",
    )
    (directory / "sitecustomize.py").write_text("\n".join(lines))
    return str(directory)
