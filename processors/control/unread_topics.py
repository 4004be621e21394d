"""Looks for topics that are named like a stream's and belong to none. Nobody reads their records, so they are counted
and logged. The cause is a direct producer that misspelt a stream's name, on a cluster that creates topics by itself.
"""

import asyncio
import logging
from collections.abc import Callable

from confluent_kafka import KafkaException

from operations.cluster_admin import ClusterAdmin
from operations.existing_topics import WHAT_TO_DO_UNREAD, unread_topics
from operations.logs import event
from operations.outages import Outage
from operations.topic_ends import TopicEnds
from processors.control import metrics
from processors.runtime.agent import Control

log = logging.getLogger(__name__)
EVERY_SECONDS = 60.0
NOT_MINE_SECONDS = 5.0
ANSWER_SECONDS = 30.0


class UnreadTopics:
    def __init__(self, bootstrap: str, control: Control, is_mine: Callable[[], bool]) -> None:
        """`is_mine`: whether this process is the one that looks."""
        self._admin = ClusterAdmin(bootstrap)
        self._ends = TopicEnds(bootstrap, ANSWER_SECONDS)
        self._control = control
        self._is_mine = is_mine
        self._reported: set[str] = set()
        self._outage = Outage(log, "unread_topics")
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def look(self) -> None:
        """Lists the topics, then reads `control` to its end: a stream is on `control` before its topic exists."""
        found: dict[str, int] = {}
        if self._is_mine():
            candidates = await asyncio.to_thread(unread_topics, self._admin, self._ends, self._of_streams())
            if not candidates or await self._control.catch_up():
                found = {topic: records for topic, records in candidates.items() if topic not in self._of_streams()}
        metrics.UNREAD_TOPICS.set(len(found))
        metrics.UNREAD_RECORDS.set(sum(found.values()))
        for topic in found.keys() - self._reported:
            facts = {"topic": topic, "records": found[topic], "why": WHAT_TO_DO_UNREAD}
            event(log, "topic.unread", logging.WARNING, **facts)
        self._reported = set(found)

    def _of_streams(self) -> set[str]:
        return {stream.topic for stream in self._control.view.streams.values()}

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self._outage.answered()
            except KafkaException as error:
                self._outage.failed(error)
            await asyncio.sleep(EVERY_SECONDS if self._is_mine() else NOT_MINE_SECONDS)
