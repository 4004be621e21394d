"""Creates Kafka topics from their specs and refuses an installation whose partition counts were changed (F12).

A broker learns of a topic a moment after the controller made it, each in its own time, and a question goes to any of
them: one broker's "unknown" is no answer, and one broker's knowing is not everybody's.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from operations.cluster_admin import NEVER, TIMEOUT_SECONDS, ClusterAdmin
from operations.existing_topics import correct_configuration, stamped_by_producers
from operations.kafka_clients import UNKNOWN_TOPIC, code_of, reason_of
from operations.logs import event
from operations.outages import Outage
from schemas.topics import TopicSpec

log = logging.getLogger(__name__)
VISIBLE_TIMEOUT_SECONDS = 30.0
UNKNOWN_SECONDS = 1.0
AGAIN_SECONDS = 0.05
ONCE_ANSWERED_SECONDS = 1.0
REQUESTS_AT_ONCE = 16
_Answer = TypeVar("_Answer")


class PartitionsChanged(Exception):
    """A topic has another number of partitions than the installation is set to; the message names all such."""


def ensure_topics(cluster: str | ClusterAdmin, specs: Sequence[TopicSpec]) -> None:
    """Returns when every topic exists, is configured as its spec says, and clients can see it; a second call changes
    nothing. Blocking. Callers that repeat it keep one ClusterAdmin; an address is enough for a single call.

    Raises PartitionsChanged before anything is created, KafkaException when the broker refuses or does not answer in
    time. Not every broker may know the topics yet: code that uses one retries.
    """
    admin = cluster if isinstance(cluster, ClusterAdmin) else ClusterAdmin(cluster)
    present = admin.partition_counts()
    changed = [
        f"{spec.name} has {present[spec.name]} partitions, not {spec.partitions}"
        for spec in specs
        if present.get(spec.name, spec.partitions) != spec.partitions
    ]
    if changed:
        raise PartitionsChanged(
            f"{'; '.join(changed)}. The number is fixed when Atlas is installed, since it decides in which "
            "partition of a table each entry is: set ATLAS_PARTITIONS back to what it was."
        )
    correct_configuration(admin, [spec for spec in specs if spec.name in present])
    admin.create([spec for spec in specs if spec.name not in present])
    _wait_visible(admin, {spec.name for spec in specs})


async def once_answered(ask: Callable[..., _Answer], *arguments: Any) -> _Answer:
    """What a blocking question to the brokers returns. It is repeated until they answer: a starting process can only
    wait. Raises KafkaException when they never will.
    """
    outage = Outage(log, "topics")
    while True:
        try:
            answer = await asyncio.to_thread(ask, *arguments)
        except KafkaException as error:
            if code_of(error) in NEVER:
                raise
            outage.failed(error)
            await asyncio.sleep(ONCE_ANSWERED_SECONDS)
        else:
            outage.answered()
            return answer


def _wait_visible(admin: ClusterAdmin, names: set[str]) -> None:
    deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
    while missing := names - admin.partition_counts().keys():
        if time.monotonic() >= deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"created but not visible: {sorted(missing)}"))
        time.sleep(AGAIN_SECONDS)


class TopicRefused(Exception):
    """The broker will never do this as requested; the message is the broker's."""


class TopicTaken(TopicRefused):
    """A topic of that name exists and can't be taken over as it is; the message says why and what to do."""


class TopicAdmin:
    """Single topics, from an event loop. KafkaException: not now, try again; TopicRefused: never."""

    def __init__(self, bootstrap: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._admin = ClusterAdmin(bootstrap, timeout_seconds)
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="topic-admin")

    async def create_topic(self, spec: TopicSpec, *, is_fed: bool = False) -> str:
        """Creates the topic unless it exists; returns Kafka's id of it. An existing topic must have as many partitions,
        and keeps its configuration. `is_fed`: Atlas reads from it, so it gets the spec's configuration and must have no
        record with its producer's timestamp. Raises TopicTaken.
        """
        return await self._asked(_made, self._admin, spec, is_fed)

    async def topic_id(self, name: str) -> str | None:
        """None where no broker knows a topic of that name."""
        return await self._asked(_id_of, self._admin, name)

    async def partition_counts(self, names: Collection[str]) -> dict[str, int]:
        """Of those topics that there are and that we may see."""
        found = await self._asked(self._admin.present, names, _log_hidden)
        return {name: len(described.partitions) for name, described in found.items()}

    async def configure(self, name: str, config: dict[str, str]) -> None:
        """Sets these entries and leaves the others as they are."""
        await self._asked(self._admin.configure, name, config)

    async def delete_topic(self, name: str, topic_id: str) -> None:
        """Deletes the topic with this id; where the name has another, or no topic, nothing.

        Returns when the broker no longer shows it, so that a new topic of the name can't be taken for it.
        """
        await self._asked(_delete, self._admin, name, topic_id)

    async def _asked(self, ask: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """In a thread. What will never succeed becomes TopicRefused."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, ask, *arguments)
        except KafkaException as error:
            if code_of(error) in NEVER:
                raise TopicRefused(reason_of(error)) from error
            raise


def _made(admin: ClusterAdmin, spec: TopicSpec, is_fed: bool) -> str:
    is_new = bool(admin.create([spec]))
    described = admin.described(spec.name, VISIBLE_TIMEOUT_SECONDS)
    count = len(described.partitions)
    if count != spec.partitions:
        raise TopicTaken(
            f"A Kafka topic {spec.name} exists with {count} partitions, and needs {spec.partitions}. Delete that "
            "topic, or recreate it with that many, and ask again."
        )
    if is_fed and not is_new:
        _take_over(admin, spec)
    return str(described.topic_id)


def _take_over(admin: ClusterAdmin, spec: TopicSpec) -> None:
    by_producers = stamped_by_producers(admin.bootstrap, spec.name, spec.partitions)
    if by_producers:
        raise TopicTaken(
            f"A Kafka topic {spec.name} exists and holds records from before, with times that their producers "
            f"wrote (partitions {', '.join(map(str, by_producers))}). Delete that topic and ask again, then write "
            "them once more: the broker stamps the time of what is written to a stream."
        )
    admin.configure(spec.name, spec.config)


def _id_of(admin: ClusterAdmin, name: str) -> str | None:
    try:
        return str(admin.described(name, UNKNOWN_SECONDS).topic_id)
    except KafkaException as error:
        if code_of(error) in UNKNOWN_TOPIC and admin.is_gone(name):
            return None
        raise


def _delete(admin: ClusterAdmin, name: str, topic_id: str) -> None:
    if _id_of(admin, name) != topic_id:
        return
    admin.delete(name)
    deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        shown = admin.present([name]).get(name)
        if shown is None or str(shown.topic_id) != topic_id:
            return
        time.sleep(AGAIN_SECONDS / 5)


def _log_hidden(topic: str, error: KafkaException) -> None:
    event(log, "topic.hidden", logging.WARNING, topic=topic, error=reason_of(error))
