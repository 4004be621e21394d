"""Topic work against a real broker: done once or again with the same end, refused for good, or asked again later."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from domain.control.values import TopicTask, TopicWork
from operations import clock
from operations.cluster_admin import ClusterAdmin
from operations.existing_topics import unread_topics
from operations.random_ids import random_id
from operations.topic_admin import TopicAdmin, TopicRefused, TopicTaken, ensure_topics
from operations.topic_ends import TopicEnds
from processors.control.topics import TopicWorker
from schemas.commands import decode_payload
from schemas.commands.payload import Payload
from schemas.commands.streams import StreamAltered, StreamCreated, StreamExpired
from schemas.commands.workflows import RouteTopicExpired, RouteTopicMade
from schemas.ids import STREAM
from schemas.records import Command
from schemas.topics import DAY_MS, RouteTopic, StreamTopic, TopicSpec, route_topic_spec, stream_topic_spec
from tests.support.ports import free_port
from tests.support.until import until

PARTITIONS = 2


def a_topic() -> StreamTopic:
    return StreamTopic(f"ws_{secrets.token_hex(5)}", "live", "orders-prod")


def a_task(topic: StreamTopic, task: TopicTask = TopicTask.CREATE, **changes: object) -> TopicWork:
    fields: dict[str, object] = {
        "task": task,
        "stream_id": random_id(STREAM, 1),
        "workspace": topic.workspace,
        "environment": topic.environment,
        "name": topic.stream,
        "retention_days": 3,
        "command_id": "cmd_1",
        "since_ms": 1,
    }
    return TopicWork(**fields | changes)  # type: ignore[arg-type]


def config_of(bootstrap: str, topic: StreamTopic | RouteTopic, *names: str) -> list[str]:
    resource = ConfigResource(ResourceType.TOPIC, topic.name)
    client = AdminClient({"bootstrap.servers": bootstrap})
    entries = client.describe_configs([resource])[resource].result(20)
    return [entries[name].value for name in names]


class Reports:
    """Takes reports as the log would; `failing` of them are not confirmed at first."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.failing = 0

    async def __call__(self, command: Command, partition: int) -> None:
        if self.failing:
            self.failing -= 1
            raise KafkaException("not confirmed")
        self.commands.append(command)

    @property
    def payloads(self) -> list[Payload]:
        return [decode_payload(command) for command in self.commands]


@pytest.fixture
def admin(kafka: str) -> TopicAdmin:
    return TopicAdmin(kafka)


@pytest.fixture
async def reports() -> Reports:
    return Reports()


@pytest.fixture
async def worker(admin: TopicAdmin, reports: Reports) -> AsyncIterator[TopicWorker]:
    worker = TopicWorker(admin, reports, PARTITIONS)
    worker.start()
    yield worker
    await worker.stop()


# TopicAdmin


@pytest.mark.requirement("F13", "K7")
async def test_a_topic_is_created_with_its_configuration_and_again_is_the_same(kafka: str, admin: TopicAdmin) -> None:
    topic = a_topic()
    topic_id = await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3))
    assert await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 5), is_fed=True) == topic_id
    assert await admin.topic_id(topic.name) == topic_id
    names = ("retention.ms", "message.timestamp.type", "compression.type")
    assert config_of(kafka, topic, *names) == [str(5 * DAY_MS), "LogAppendTime", "uncompressed"]


async def test_a_topic_is_deleted_only_by_its_id(admin: TopicAdmin) -> None:
    spec = stream_topic_spec(a_topic(), PARTITIONS, 3)
    first = await admin.create_topic(spec)
    await admin.delete_topic(spec.name, "another")
    assert await admin.topic_id(spec.name) == first
    await admin.delete_topic(spec.name, first)
    assert await admin.topic_id(spec.name) is None
    await admin.delete_topic(spec.name, first)
    assert await admin.create_topic(spec) != first


@pytest.mark.requirement("S2")
async def test_the_longest_names_that_there_can_be_make_a_topic(admin: TopicAdmin) -> None:
    topic = StreamTopic(f"ws_{secrets.token_hex(5)}".ljust(64, "x"), "live", "s" * 64)
    assert await admin.create_topic(stream_topic_spec(topic, 1, 90))


async def test_how_many_partitions_of_those_topics_that_there_are(kafka: str, admin: TopicAdmin) -> None:
    topic = a_topic()
    await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3))
    asked = [topic.name, a_topic().name, "no/name"]
    assert await admin.partition_counts(asked) == {topic.name: PARTITIONS}
    assert await admin.partition_counts([]) == {}


async def test_what_the_broker_will_never_do_is_told_apart(admin: TopicAdmin) -> None:
    name = a_topic().name
    with pytest.raises(TopicRefused):
        await admin.create_topic(TopicSpec(name, 1, {"retention.ms": "soon"}))


# Topics that exist already


def a_topic_of_somebody(kafka: str, topic: StreamTopic | RouteTopic, partitions: int = PARTITIONS) -> str:
    """As a Kafka user makes one: their own retention, times by the producer."""
    config = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
    ensure_topics(kafka, [TopicSpec(topic.name, partitions, config)])
    return topic.name


def written(kafka: str, topic: str, timestamp_ms: int) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"old", partition=1, timestamp=timestamp_ms)
    assert producer.flush(20) == 0


YEAR_2001_MS = 1_000_000_000_000


async def test_one_with_another_number_of_partitions_is_left_as_it_is_and_the_reason_told(
    kafka: str, admin: TopicAdmin
) -> None:
    topic = a_topic()
    a_topic_of_somebody(kafka, topic, PARTITIONS + 1)
    with pytest.raises(TopicTaken, match=f"{topic.name} exists with 3 partitions, and needs 2. Delete that topic"):
        await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3), is_fed=True)
    assert config_of(kafka, topic, "retention.ms") == ["-1"]


@pytest.mark.requirement("K7", "F13")
async def test_one_whose_records_have_times_of_their_producers_is_no_streams(kafka: str, admin: TopicAdmin) -> None:
    topic = a_topic()
    written(kafka, a_topic_of_somebody(kafka, topic), YEAR_2001_MS)
    with pytest.raises(TopicTaken, match=r"times that their producers wrote \(partitions 1\)"):
        await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3), is_fed=True)
    await admin.configure(topic.name, {"message.timestamp.type": "LogAppendTime"})
    with pytest.raises(TopicTaken):
        await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3), is_fed=True)
    assert config_of(kafka, topic, "retention.ms") == ["-1"], "nothing of it was deleted"


@pytest.mark.parametrize("records", ["none", "with the broker's times"])
async def test_one_that_is_empty_or_stamped_by_the_broker_is_taken_over(
    kafka: str, admin: TopicAdmin, records: str
) -> None:
    topic = a_topic()
    a_topic_of_somebody(kafka, topic)
    if records != "none":
        await admin.configure(topic.name, {"message.timestamp.type": "LogAppendTime"})
        written(kafka, topic.name, YEAR_2001_MS)
    topic_id = await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3), is_fed=True)
    assert topic_id == await admin.topic_id(topic.name)
    wanted = [str(3 * DAY_MS), "LogAppendTime"]
    await until(lambda: config_of(kafka, topic, "retention.ms", "message.timestamp.type") == wanted)


async def test_one_that_a_route_is_to_write_to_keeps_its_configuration(kafka: str, admin: TopicAdmin) -> None:
    """It may hold what others keep for longer."""
    topic = RouteTopic(f"ws_{secrets.token_hex(5)}", "live", "orders")
    a_topic_of_somebody(kafka, topic)
    await admin.create_topic(route_topic_spec(topic, PARTITIONS))
    assert config_of(kafka, topic, "retention.ms", "message.timestamp.type") == ["-1", "CreateTime"]


@pytest.mark.parametrize("records", ["none", "some"])
def test_a_topic_without_a_stream_is_named_with_what_it_holds(kafka: str, records: str) -> None:
    topic, other = a_topic(), a_topic()
    for one in (topic, other):
        a_topic_of_somebody(kafka, one)
    if records == "some":
        written(kafka, topic.name, YEAR_2001_MS)
        written(kafka, topic.name, YEAR_2001_MS)
    found = unread_topics(ClusterAdmin(kafka), TopicEnds(kafka, 20.0), {other.name})
    assert found[topic.name] == (2 if records == "some" else 0)
    assert other.name not in found


# A broker that is away


async def test_a_broker_that_is_away_is_not_a_refusal() -> None:
    away = TopicAdmin(f"127.0.0.1:{free_port()}", timeout_seconds=0.2)
    with pytest.raises(KafkaException):
        await away.create_topic(TopicSpec("any", 1, {}))


# TopicWorker


async def test_a_creation_is_reported_with_the_topics_id(
    worker: TopicWorker, reports: Reports, admin: TopicAdmin
) -> None:
    topic = a_topic()
    task = a_task(topic)
    worker.take(0, [task])
    await until(lambda: bool(reports.commands))
    topic_id = await admin.topic_id(topic.name)
    assert reports.payloads == [StreamCreated(stream_id=task.stream_id, topic_id=topic_id or "none")]
    assert (reports.commands[0].workspace, reports.commands[0].environment) == (topic.workspace, "live")


@pytest.mark.requirement("F20")
async def test_a_report_that_is_not_confirmed_is_made_again_and_counts_as_the_same(
    worker: TopicWorker, reports: Reports
) -> None:
    task = a_task(a_topic())
    reports.failing = 2
    worker.take(0, [task, task])
    await until(lambda: len(reports.commands) == 1)
    worker.take(0, [task])
    await until(lambda: len(reports.commands) == 2)
    assert reports.commands[0] == reports.commands[1]


async def test_what_can_never_be_is_reported_as_failed(
    worker: TopicWorker, reports: Reports, admin: TopicAdmin
) -> None:
    topic = a_topic()
    await admin.create_topic(TopicSpec(topic.name, PARTITIONS + 1, {}))
    worker.take(0, [a_task(topic)])
    await until(lambda: bool(reports.commands))
    (report,) = reports.payloads
    assert isinstance(report, StreamCreated)
    assert report.taken is not None and "exists with 3 partitions, and needs 2" in report.taken
    assert report.failed == report.taken


async def test_the_retention_is_altered_in_the_order_of_the_updates(
    kafka: str, worker: TopicWorker, reports: Reports, admin: TopicAdmin
) -> None:
    topic = a_topic()
    topic_id = await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3))
    stream_id = random_id(STREAM, 1)
    for number in range(5):
        changes = {"retention_days": 10 + number, "command_id": f"cmd_{number}", "stream_id": stream_id}
        worker.take(0, [a_task(topic, TopicTask.ALTER, topic_id=topic_id, **changes)])
    await until(lambda: StreamAltered(stream_id=stream_id, update_id="cmd_4") in reports.payloads)
    newest = [str(14 * DAY_MS), "uncompressed"]  # the broker may show the one before for a moment
    await until(lambda: config_of(kafka, topic, "retention.ms", "compression.type") == newest)


@pytest.mark.requirement("F10")
@pytest.mark.parametrize("task", [TopicTask.ALTER, TopicTask.EXPIRE])
async def test_a_topic_of_the_same_name_but_another_id_is_left_alone(
    kafka: str, worker: TopicWorker, reports: Reports, admin: TopicAdmin, task: TopicTask
) -> None:
    topic = a_topic()
    await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3))
    worker.take(0, [a_task(topic, task, topic_id="another", retention_days=9)])
    await until(lambda: bool(reports.commands))
    assert config_of(kafka, topic, "retention.ms") == [str(3 * DAY_MS)]


async def test_a_topic_goes_when_it_is_due_and_not_before(
    worker: TopicWorker, reports: Reports, admin: TopicAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = a_topic()
    topic_id = await admin.create_topic(stream_topic_spec(topic, PARTITIONS, 3))
    due_ms = clock.now_ms() + DAY_MS
    expiry = a_task(topic, TopicTask.EXPIRE, topic_id=topic_id, due_ms=due_ms)
    worker.take(0, [expiry])
    worker.take_due()
    await asyncio.sleep(0.05)
    assert (reports.commands, await admin.topic_id(topic.name)) == ([], topic_id)
    monkeypatch.setattr(clock, "now_ms", lambda: due_ms)
    worker.take_due()
    await until(lambda: reports.payloads == [StreamExpired(stream_id=expiry.stream_id)])
    assert await admin.topic_id(topic.name) is None


async def test_what_another_process_owns_now_is_dropped(reports: Reports, admin: TopicAdmin) -> None:
    worker = TopicWorker(admin, reports, PARTITIONS)
    dropped, kept = a_topic(), a_topic()
    worker.take(0, [a_task(dropped)])
    worker.take(1, [a_task(kept)])
    worker.drop({0})
    worker.start()
    await until(lambda: bool(reports.commands))
    await worker.stop()
    assert [command.workspace for command in reports.commands] == [kept.workspace]
    assert await admin.topic_id(dropped.name) is None


# Topics of routes


def a_route_task(topic: RouteTopic, task: TopicTask, **changes: object) -> TopicWork:
    about = {"stream_id": topic.name, "name": topic.topic, "workflow_id": "wf_lake", "retention_days": 14}
    return a_task(StreamTopic(topic.workspace, topic.environment, ""), task, **about | changes)


async def test_a_routes_topic_is_made_kept_for_14_days_and_reported_by_its_name(
    kafka: str, admin: TopicAdmin, worker: TopicWorker, reports: Reports
) -> None:
    topic = RouteTopic(f"ws_{secrets.token_hex(5)}", "live", "orders")
    worker.take(0, [a_route_task(topic, TopicTask.CREATE)])
    await until(lambda: len(reports.commands) == 1)
    (made,) = reports.payloads
    assert isinstance(made, RouteTopicMade)
    assert (made.topic, made.topic_id) == (topic.name, await admin.topic_id(topic.name))
    assert config_of(kafka, topic, "retention.ms", "message.timestamp.type") == [str(14 * DAY_MS), "LogAppendTime"]
    worker.take(0, [a_route_task(topic, TopicTask.EXPIRE, topic_id=made.topic_id)])
    await until(lambda: len(reports.commands) == 2)
    assert reports.payloads[1] == RouteTopicExpired(topic=topic.name)
    assert await admin.topic_id(topic.name) is None


async def test_an_expiry_that_is_not_wanted_any_more_is_not_carried_out(
    admin: TopicAdmin, worker: TopicWorker, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = RouteTopic(f"ws_{secrets.token_hex(5)}", "live", "orders")
    topic_id = await admin.create_topic(route_topic_spec(topic, PARTITIONS))
    expiry = a_route_task(topic, TopicTask.EXPIRE, topic_id=topic_id, due_ms=clock.now_ms() + DAY_MS)
    worker.take(0, [expiry])
    worker.forget([a_route_task(topic, TopicTask.EXPIRE, topic_id="another"), expiry])
    monkeypatch.setattr(clock, "now_ms", lambda: expiry.due_ms)
    worker.take_due()
    worker.take(0, [a_route_task(topic, TopicTask.CREATE)])  # the same lane: done after what stood there before
    await until(lambda: len(reports.commands) == 1)
    assert isinstance(reports.payloads[0], RouteTopicMade)
    assert await admin.topic_id(topic.name) == topic_id
