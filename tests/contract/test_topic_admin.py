"""Topics from their specs: made once, seen at once, and never with another number of partitions."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from deploy.local.spawn import wait_until
from operations.topic_admin import PartitionsChanged, ensure_topics
from schemas.topics import TopicSpec, base_topics


@pytest.fixture
def own_name(request: pytest.FixtureRequest, worker_id: str) -> Callable[[str], str]:
    return lambda name: f"{request.node.name}-{worker_id}-{name}".replace("[", "-").replace("]", "")


def configs(kafka: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    client = AdminClient({"bootstrap.servers": kafka})
    entries = client.describe_configs([resource])[resource].result(20)
    return {name: entry.value for name, entry in entries.items()}


def until_now(condition: Callable[[], bool]) -> None:
    """A broker shows a changed configuration a moment later."""
    assert wait_until(condition, 20)


@pytest.mark.requirement("K7")
def test_topics_get_their_partitions_and_configuration(kafka: str, own_name: Callable[[str], str]) -> None:
    specs = [TopicSpec(own_name(spec.name), spec.partitions, spec.config) for spec in base_topics(3)]
    ensure_topics(kafka, specs)
    topics = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=20).topics
    assert {spec.name: len(topics[spec.name].partitions) for spec in specs} == {s.name: s.partitions for s in specs}
    for spec in specs:
        assert configs(kafka, spec.name).items() >= spec.config.items()
        assert configs(kafka, spec.name)["message.timestamp.type"] == "LogAppendTime"


def test_doing_it_again_changes_nothing_and_adds_what_is_new(kafka: str, own_name: Callable[[str], str]) -> None:
    first, second = TopicSpec(own_name("first"), 2, {}), TopicSpec(own_name("second"), 2, {})
    ensure_topics(kafka, [first])
    ensure_topics(kafka, [first, second])
    ensure_topics(kafka, [first, second])
    assert {first.name, second.name} <= AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=20).topics.keys()


def test_another_number_of_partitions_is_refused_before_anything_is_made(
    kafka: str, own_name: Callable[[str], str]
) -> None:
    ensure_topics(kafka, [TopicSpec(own_name("kept"), 2, {})])
    wished = [TopicSpec(own_name("kept"), 4, {}), TopicSpec(own_name("new"), 4, {})]
    with pytest.raises(PartitionsChanged, match=r"kept has 2 partitions, not 4\..*set ATLAS_PARTITIONS back"):
        ensure_topics(kafka, wished)
    assert own_name("new") not in AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=20).topics


@pytest.mark.requirement("K7", "F13")
def test_a_topic_of_atlas_that_somebody_else_made_is_cleaned_and_stamped_as_it_must_be(
    kafka: str, own_name: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """As a cluster makes one by itself that creates topics when they are first asked for. What else is set stays."""
    name, wanted = own_name("entities"), {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"}
    ensure_topics(kafka, [TopicSpec(name, 2, {"retention.ms": "1234567", "max.message.bytes": "2000000"})])
    spec = TopicSpec(name, 2, wanted | {"retention.ms": "1"})
    ensure_topics(kafka, [spec])
    until_now(lambda: configs(kafka, name).items() >= (wanted | {"retention.ms": "1234567"}).items())
    assert [record.message for record in caplog.records] == ["topic.corrected"]
    ensure_topics(kafka, [spec])
    assert len(caplog.records) == 1


def test_a_configuration_that_the_broker_refuses_is_an_error(kafka: str, own_name: Callable[[str], str]) -> None:
    with pytest.raises(KafkaException, match=r"no\.such\.setting"):
        ensure_topics(kafka, [TopicSpec(own_name("bad"), 1, {"no.such.setting": "1"})])
