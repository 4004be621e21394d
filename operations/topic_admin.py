"""Creates Kafka topics from their specs and refuses an installation whose partition counts were changed (F12)."""

import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.topics import TopicSpec

ADMIN_TIMEOUT_SECONDS = 30.0
BROKER_DEFAULT_REPLICATION = -1


class PartitionsChanged(Exception):
    """A topic has another number of partitions than the installation is set to; the message names all such."""


def ensure_topics(bootstrap: str, specs: Sequence[TopicSpec], timeout_seconds: float = ADMIN_TIMEOUT_SECONDS) -> None:
    """Returns when every topic is there and clients can see it; doing it again changes nothing.

    Raises PartitionsChanged before anything is created, KafkaException when the broker refuses or does not answer.
    """
    client = AdminClient({"bootstrap.servers": bootstrap})
    present = _partition_counts(client, timeout_seconds)
    changed = [
        f"{spec.name} has {present[spec.name]} partitions, not {spec.partitions}"
        for spec in specs
        if present.get(spec.name, spec.partitions) != spec.partitions
    ]
    if changed:
        raise PartitionsChanged(
            f"{'; '.join(changed)}. The number is fixed when Atlas is installed, since every table's entries lie "
            "where it put them: set ATLAS_PARTITIONS back to what it was."
        )
    _create(client, [spec for spec in specs if spec.name not in present], timeout_seconds)
    _wait_visible(client, {spec.name for spec in specs}, timeout_seconds)


def _partition_counts(client: AdminClient, timeout_seconds: float) -> dict[str, int]:
    topics = client.list_topics(timeout=timeout_seconds).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _create(client: AdminClient, specs: Sequence[TopicSpec], timeout_seconds: float) -> None:
    if not specs:
        return
    new = [
        NewTopic(str(spec.name), spec.partitions, BROKER_DEFAULT_REPLICATION, config=dict(spec.config))
        for spec in specs
    ]
    for created in client.create_topics(new, operation_timeout=timeout_seconds).values():
        try:
            created.result(timeout_seconds)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another starter was quicker: as good
                raise


def _wait_visible(client: AdminClient, names: set[str], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while missing := names - _partition_counts(client, timeout_seconds).keys():
        if time.monotonic() >= deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"created but not visible: {sorted(missing)}"))
        time.sleep(0.05)
