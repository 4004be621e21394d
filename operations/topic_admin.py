"""Creates Kafka topics from their specs and refuses an installation whose partition counts were changed (F12).

A broker learns of a topic a moment after the controller made it, each in its own time, and a question goes to any of
them: "unknown" is believed once it has been the answer for a while, and one broker's knowing is not everybody's.
"""

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    TopicDescription,
)
from confluent_kafka.cimpl import NewTopic

from operations.existing_topics import correct_configuration, stamped_by_producers
from operations.kafka_clients import admin_config
from operations.logs import event
from schemas.topics import TopicSpec

log = logging.getLogger(__name__)
ADMIN_TIMEOUT_SECONDS = 30.0
VISIBLE_TIMEOUT_SECONDS = 30.0
UNKNOWN_SECONDS = 1.0
AGAIN_SECONDS = 0.05
ONCE_ANSWERED_SECONDS = 1.0
BROKER_DEFAULT_REPLICATION = -1
LEARN_SECONDS = 5.0
Answer = TypeVar("Answer")
NO_CONTROLLER = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT})
NEVER = frozenset(
    {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
    }
)


class PartitionsChanged(Exception):
    """A topic has another number of partitions than the installation is set to; the message names all such."""


def ensure_topics(bootstrap: str, specs: Sequence[TopicSpec], timeout_seconds: float = ADMIN_TIMEOUT_SECONDS) -> None:
    """Returns when every topic is there, cleaned and stamped as its spec says, and clients can see it; doing it again
    changes nothing.

    Raises PartitionsChanged before anything is created, KafkaException when the broker refuses or does not answer in
    time. Not every broker may know them yet: whoever uses one asks again.
    """
    client = AdminClient(admin_config(bootstrap))
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
    correct_configuration(client, [spec for spec in specs if spec.name in present])
    _create(client, [spec for spec in specs if spec.name not in present], timeout_seconds)
    _wait_visible(client, {spec.name for spec in specs}, timeout_seconds)


async def once_answered(ask: Callable[..., Answer], *arguments: Any) -> Answer:
    """What a blocking question to the brokers returns, asked again for as long as they do not answer it: at a start
    there is nothing to do but to wait. Raises KafkaException when they never will.
    """
    while True:
        try:
            return await asyncio.to_thread(ask, *arguments)
        except KafkaException as error:
            if error.args[0].code() in NEVER:
                raise
            event(log, "topics.unreachable", logging.WARNING, error=error.args[0].str())
            await asyncio.sleep(ONCE_ANSWERED_SECONDS)


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
    asked = client.create_topics(new, operation_timeout=timeout_seconds, request_timeout=timeout_seconds)
    for created in asked.values():
        try:
            created.result()  # the request's own time-out is a KafkaException, a wait's would be a TimeoutError
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another starter was quicker: as good
                raise


def _wait_visible(client: AdminClient, names: set[str], timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while missing := names - _partition_counts(client, timeout_seconds).keys():
        if time.monotonic() >= deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"created but not visible: {sorted(missing)}"))
        time.sleep(0.05)


def described_once_known(client: AdminClient, name: str) -> TopicDescription:
    """A topic that was made, or seen, before: waits until the broker that is asked knows it too. Blocking.

    Raises KafkaException when it is unknown for good, or no broker answers.
    """
    deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
    while True:
        asked = client.describe_topics(TopicCollection([name]), request_timeout=ADMIN_TIMEOUT_SECONDS)
        try:
            described: TopicDescription = asked[name].result()
        except KafkaException as error:
            if not _is_unknown(error) or time.monotonic() >= deadline:
                raise
        else:
            return described
        time.sleep(AGAIN_SECONDS)


def _is_unknown(error: KafkaException) -> bool:
    return bool(error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART)


class TopicRefused(Exception):
    """The broker will never do this as asked; the message is the broker's."""


class TopicTaken(TopicRefused):
    """A topic of that name exists and can't be taken over as it is; the message says why and what to do."""


class TopicAdmin:
    """Single topics, from an event loop. KafkaException: not now, ask again; TopicRefused: never."""

    def __init__(self, bootstrap: str, timeout_seconds: float = ADMIN_TIMEOUT_SECONDS) -> None:
        self._bootstrap = bootstrap
        self._client = AdminClient(admin_config(bootstrap))
        self._timeout_seconds = timeout_seconds

    async def create_topic(self, spec: TopicSpec, *, is_fed: bool = False) -> str:
        """Kafka's id of the topic, made now or before. One made before must have as many partitions, and keeps its
        configuration. `is_fed`: Atlas reads from it, so that it gets the spec's configuration and may hold no record
        whose time its producer has written. Raises TopicTaken.
        """
        new = NewTopic(spec.name, spec.partitions, BROKER_DEFAULT_REPLICATION, config=dict(spec.config))
        is_new = True
        try:
            await self._answer(self._client.create_topics([new], request_timeout=self._timeout_seconds)[spec.name])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
            is_new = False
        described = await self._described(spec.name, VISIBLE_TIMEOUT_SECONDS)
        count = len(described.partitions)
        if count != spec.partitions:
            raise TopicTaken(
                f"A Kafka topic {spec.name} exists with {count} partitions, and needs {spec.partitions}. Delete that "
                "topic, or make it anew with as many, and ask again."
            )
        if is_fed and not is_new:
            await self._take_over(spec)
        return str(described.topic_id)

    async def _take_over(self, spec: TopicSpec) -> None:
        by_producers = await asyncio.to_thread(stamped_by_producers, self._bootstrap, spec.name, spec.partitions)
        if by_producers:
            raise TopicTaken(
                f"A Kafka topic {spec.name} exists and holds records from before, with times that their producers "
                f"wrote (partitions {', '.join(map(str, by_producers))}). Delete that topic and ask again, then write "
                "them once more: the broker stamps the time of what is written to a stream."
            )
        await self.configure(spec.name, spec.config)

    async def topic_id(self, name: str) -> str | None:
        """None where there is no topic of that name, as far as several answers say."""
        try:
            return str((await self._described(name, UNKNOWN_SECONDS)).topic_id)
        except KafkaException as error:
            if _is_unknown(error):
                return None
            raise

    async def _shown_id(self, name: str) -> str | None:
        """As the one broker says that is asked."""
        try:
            return str((await self._describe(name)).topic_id)
        except KafkaException as error:
            if _is_unknown(error):
                return None
            raise

    async def partition_counts(self, names: Collection[str]) -> dict[str, int]:
        """Of those topics that there are and that we may see."""
        counts: dict[str, int] = {}
        if names:
            asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=self._timeout_seconds)
            for name, future in asked.items():
                try:
                    counts[name] = len((await self._answer(future)).partitions)
                except TopicRefused as refused:
                    event(log, "topic.hidden", logging.WARNING, topic=name, error=str(refused))
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise
        return counts

    async def configure(self, name: str, config: dict[str, str]) -> None:
        """Sets these entries and leaves the others as they are."""
        if not config:
            return
        entries = [
            ConfigEntry(entry, value, incremental_operation=AlterConfigOpType.SET) for entry, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        await self._answer(
            self._client.incremental_alter_configs([resource], request_timeout=self._timeout_seconds)[resource]
        )

    async def delete_topic(self, name: str, topic_id: str) -> None:
        """Deletes the topic with this id; where the name has another, or no topic, nothing.

        Returns when the broker no longer shows it, so that a new topic of the name can't be taken for it.
        """
        if await self.topic_id(name) != topic_id:
            return
        try:
            await self._answer(self._client.delete_topics([name], request_timeout=self._timeout_seconds)[name])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        deadline = time.monotonic() + VISIBLE_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if await self._shown_id(name) != topic_id:
                return
            await asyncio.sleep(0.01)

    async def _described(self, name: str, patience_seconds: float) -> TopicDescription:
        """A topic made just now may take a moment until the broker asked knows it."""
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                return await self._describe(name)
            except KafkaException as error:
                if not _is_unknown(error) or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    async def _describe(self, name: str) -> TopicDescription:
        asked = self._client.describe_topics(TopicCollection([name]), request_timeout=self._timeout_seconds)
        described: TopicDescription = await self._answer(asked[name])
        return described

    async def _answer(self, future: concurrent.futures.Future[Any]) -> Any:
        """As `_result`. librdkafka waits for the controller that it knows, though that is dead: it has to be told to
        look who it is now, so that the next question is answered.
        """
        try:
            return await _result(future)
        except KafkaException as error:
            if error.args[0].code() in NO_CONTROLLER:
                await asyncio.to_thread(learn_controller, self._client)
            raise


def learn_controller(client: AdminClient) -> None:
    """Whose requests go to a controller that is away: the next ones go to whoever it is now. Blocking."""
    try:
        client.list_topics(timeout=LEARN_SECONDS)
    except KafkaException as error:
        log.debug("nobody says who the controller is: %s", error)


async def _result(future: concurrent.futures.Future[Any]) -> Any:
    """Awaits librdkafka's answer; what will never succeed becomes TopicRefused."""
    try:
        return await asyncio.wrap_future(future)
    except KafkaException as error:
        if error.args[0].code() in NEVER:
            raise TopicRefused(error.args[0].str()) from error
        raise
