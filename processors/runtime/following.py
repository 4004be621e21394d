"""Topics that agents read outside the group's subscription: partition p of each belongs to the member that the group
gave partition p of the subscribed topics to.

When a group subscribes to a new topic, all members give up their partitions, and wait for every member's next heartbeat
before any of them reads on. So the group subscribes to topics that never change, and streams' topics are followed by
this rule: members need not agree with each other, and what is read already goes on. A member that has not heard of a
stream yet leaves its records on the log until it has.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from confluent_kafka import KafkaException

from operations.outages import Outage
from operations.topic_admin import PartitionsChanged, TopicAdmin

log = logging.getLogger(__name__)
MISSING_AGAIN_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 300.0  # as often as Kafka's clients look for changed topics
NEW_SECONDS = 30.0
"""For how long a topic that should exist and does not is taken for one that a broker has not heard of yet."""


class Following:
    def __init__(self, make_admin: Callable[[], TopicAdmin], partitions: int) -> None:
        """`make_admin` is called when a topic is first followed. `partitions`: how many each topic has; raising it
        would move keys away from their entries in the tables.
        """
        self._make_admin = make_admin
        self._admin: TopicAdmin | None = None
        self._partitions = partitions
        self._agents: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._named_at: dict[str, float] = {}
        self._changed = asyncio.Event()

    @property
    def topics(self) -> list[str]:
        return sorted(self._agents)

    def agent_of(self, topic: str) -> str:
        return self._agents[topic]

    def add(self, agent: str, topics: Iterable[str]) -> None:
        for topic in topics:
            if topic not in self._agents:
                self._agents[topic] = agent
                self._named_at[topic] = time.monotonic()
                self._changed.set()

    def discard(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if self._agents.pop(topic, None) is not None:
                self._counts.pop(topic, None)
                self._named_at.pop(topic, None)
                self._changed.set()

    def look_again(self) -> None:
        self._changed.set()

    async def partitions_of(self, numbers: set[int]) -> set[tuple[str, int]]:
        """The partitions (topic, number) of the existing topics that have these numbers. Raises PartitionsChanged, and
        KafkaException where no broker answers.
        """
        unknown = self._agents.keys() - self._counts.keys()
        if unknown:
            self._admin = self._admin or self._make_admin()
            found = await self._admin.partition_counts(unknown)
            self._counts |= {topic: count for topic, count in found.items() if topic in self._agents}
        raised = {topic for topic, count in self._counts.items() if count > self._partitions}
        if raised:
            raise more_than_before(raised, self._partitions)
        return {(topic, number) for topic, count in self._counts.items() for number in numbers if number < count}

    async def keep(self, read: Callable[[], Awaitable[bool]]) -> None:
        """Calls `read` whenever the topics changed, and again soon where it returns False, a broker does not answer or
        a new topic does not exist yet. Now and then it asks for all topics again. Raises what `read` raises.
        """
        looked_at, outage = time.monotonic(), Outage(log, "following")
        while True:
            self._changed.clear()
            try:
                done = await read() and not self._awaited()
                outage.answered()
            except KafkaException as error:
                outage.failed(error)
                done = False
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS if done else MISSING_AGAIN_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if time.monotonic() - looked_at > LOOK_AGAIN_SECONDS:
                    looked_at = time.monotonic()
                    self._counts.clear()

    def _awaited(self) -> bool:
        now = time.monotonic()
        missing = self._agents.keys() - self._counts.keys()
        return any(now - self._named_at[topic] < NEW_SECONDS for topic in missing)


def more_than_before(topics: Collection[str], partitions: int) -> PartitionsChanged:
    more = f"{', '.join(sorted(topics))} has more partitions than ATLAS_PARTITIONS ({partitions})"
    return PartitionsChanged(f"{more}: a key's entries lie in the table of the partition it had before.")
