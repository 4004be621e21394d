"""Reads and changes topics and their configuration, with one client for the life of the process.

It deals, for every request, with three traps: librdkafka waits for the controller that it knows, even a dead one, until
it asks for metadata again; each broker learns of a new topic some moments after the controller created it; and a client
that failed is destroyed by whichever thread collects the garbage, so it is kept. `TopicEnds` asks where topics begin
and end.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    TopicDescription,
)
from confluent_kafka.cimpl import NewTopic

from operations.gone_topics import is_gone
from operations.kafka_clients import UNKNOWN_TOPIC, admin_config, code_of
from schemas.topics import TopicSpec

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 30.0
LEARN_SECONDS = 5.0
AGAIN_SECONDS = 0.05
BROKER_DEFAULT_REPLICATION = -1
NO_CONTROLLER = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_CONTROLLER}
)
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
"""Errors that asking again never helps with."""


Refusal = Callable[[str, KafkaException], object]
"""Gets the name of a topic that the brokers will never answer about, and the error."""


class ClusterAdmin:
    """Blocking: for threads, of which any number may use it. All raise KafkaException: not now, or never (`NEVER`)."""

    def __init__(self, bootstrap: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.bootstrap = bootstrap
        self.timeout_seconds = timeout_seconds
        self._client = AdminClient(admin_config(bootstrap))
        self._controller_is_doubtful = False

    def doubt_controller(self) -> None:
        """An election is likely: the next request first asks which broker is controller, as after a failed request."""
        self._controller_is_doubtful = True

    def metadata(self) -> ClusterMetadata:
        """Of brokers and all topics, as one broker has it."""
        return self._client.list_topics(timeout=self.timeout_seconds)

    def partition_counts(self) -> dict[str, int]:
        return {name: len(topic.partitions) for name, topic in self.metadata().topics.items()}

    # Single topics

    def create(self, specs: Sequence[TopicSpec]) -> set[str]:
        """Returns the topics that this call created, not those that existed or that another process created first."""
        if not specs:
            return set()
        new = [
            NewTopic(str(spec.name), spec.partitions, BROKER_DEFAULT_REPLICATION, config=dict(spec.config))
            for spec in specs
        ]
        seconds = self.timeout_seconds
        asked = self._asking().create_topics(new, operation_timeout=seconds, request_timeout=seconds)
        return {name for name, future in asked.items() if self._unless(future, {KafkaError.TOPIC_ALREADY_EXISTS})}

    def delete(self, topic: str) -> None:
        """Nothing where it is gone already."""
        self._unless(self._asking().delete_topics([topic], request_timeout=self.timeout_seconds)[topic], UNKNOWN_TOPIC)

    def described(self, topic: str, patience_seconds: float) -> TopicDescription:
        """One that was made, or seen, before: waits so long until the broker that is asked knows it too."""
        deadline = time.monotonic() + patience_seconds
        while True:
            if (found := self.present([topic]).get(topic)) is not None:
                return found
            if time.monotonic() >= deadline:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"{topic} is not known"))
            time.sleep(AGAIN_SECONDS)

    def present(self, topics: Collection[str], on_refused: Refusal | None = None) -> dict[str, TopicDescription]:
        """The topics that one broker knows. Topics that brokers will not describe, because of missing rights for
        example, are passed to `on_refused` and left out; without `on_refused` the error is raised.
        """
        if not topics:
            return {}
        collection = TopicCollection(sorted(topics))
        asked = self._asking().describe_topics(collection, request_timeout=self.timeout_seconds)
        return self._each(asked, UNKNOWN_TOPIC, on_refused)

    def is_gone(self, topic: str) -> bool:
        """Whether no broker knows it; a single one may be out of date."""
        return is_gone(self.bootstrap, topic, self.timeout_seconds)

    # Configuration

    def configurations(
        self, kind: ResourceType, names: Collection[str], on_refused: Refusal | None = None
    ) -> dict[str, dict[str, str]]:
        """Entries of each, by name. `on_refused` as for `present`."""
        resources = {ConfigResource(kind, str(name)): name for name in names}
        if not resources:
            return {}
        asked = self._asking().describe_configs(list(resources), request_timeout=self.timeout_seconds)
        answers = {resources[resource]: future for resource, future in asked.items()}
        found = self._each(answers, frozenset(), on_refused)
        return {name: {entry: one.value for entry, one in entries.items()} for name, entries in found.items()}

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Sets these entries and leaves the others as they are."""
        if not config:
            return
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, str(topic), incremental_configs=entries)
        asked = self._asking().incremental_alter_configs([resource], request_timeout=self.timeout_seconds)
        self._result(asked[resource])

    # Answers

    def _each(
        self, asked: Mapping[str, "Future[Any]"], left_out: Collection[int], on_refused: Refusal | None
    ) -> dict[str, Any]:
        found = {}
        for name, future in asked.items():
            try:
                found[name] = self._result(future)
            except KafkaException as error:
                if code_of(error) in NEVER and on_refused is not None:
                    on_refused(name, error)
                elif code_of(error) not in left_out:
                    raise
        return found

    def _unless(self, future: "Future[Any]", codes: Collection[int]) -> bool:
        """Whether it was done; False where the answer was one of these errors."""
        try:
            self._result(future)
        except KafkaException as error:
            if code_of(error) in codes:
                return False
            raise
        return True

    def _result(self, future: "Future[Any]") -> Any:
        """The request's own time-out is a KafkaException; a wait's would be a TimeoutError."""
        try:
            answer = future.result()
        except KafkaException as error:
            self._controller_is_doubtful |= code_of(error) in NO_CONTROLLER
            raise
        self._controller_is_doubtful = False
        return answer

    def _asking(self) -> AdminClient:
        """Requests go to the controller that was known last, even if it is away; metadata names the present one."""
        if self._controller_is_doubtful:
            try:
                self._client.list_topics(timeout=LEARN_SECONDS)
            except KafkaException as error:
                log.debug("no broker says which one is controller: %s", error)
        return self._client
