"""Creates streams' and routes' topics, alters their retention and deletes them afterwards, outside the batches.

Promises: each task is done at least once, or the broker refuses it for good. A stream's tasks run in order. A command
reports the end of each task; its id derives from the task, so a repeated report counts once. While a broker is away,
the request is repeated. The partition's next owner resumes unfinished tasks (agent.py).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from zlib import crc32

from confluent_kafka import KafkaException

from domain.control.values import TopicTask, TopicWork
from operations import clock
from operations.logs import event
from operations.topic_admin import TopicAdmin, TopicRefused, TopicTaken
from processors.control import metrics
from schemas.commands.payload import Payload
from schemas.commands.streams import StreamAltered, StreamCreated, StreamExpired
from schemas.commands.workflows import RouteTopicExpired, RouteTopicMade
from schemas.ids import COMMAND, derived_id
from schemas.records import Command
from schemas.topics import DAY_MS, StreamTopic, TopicSpec, route_topic_spec, stream_topic_spec

log = logging.getLogger(__name__)
QUEUES = 8
ACTOR = "control"
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.05, 5.0
DUE_CHECK_SECONDS = 30.0

Taken = tuple[int, TopicWork]
"""A partition of `commands` and a task of one of its workspaces."""
AppendCommand = Callable[[Command, int], Awaitable[None]]
"""Appends a command to a partition of `commands` and returns when the broker has it. KafkaException: not confirmed."""


class TopicWorker:
    """Mutable: runs the tasks that `take` gets, unfinished and new ones. Taking a task twice has no further effect."""

    def __init__(self, admin: TopicAdmin, report: AppendCommand, partitions: int) -> None:
        self._admin = admin
        self._report = report
        self._partitions = partitions
        self._waiting: dict[tuple[str, TopicTask], Taken] = {}
        self._not_due: set[Taken] = set()
        self._queues: list[asyncio.Queue[Taken]] = [asyncio.Queue() for _ in range(QUEUES)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        metrics.TOPIC_TASKS_WAITING.set_function(lambda: len(self._waiting))
        self._tasks = [asyncio.create_task(self._run(queue)) for queue in self._queues]
        self._tasks.append(asyncio.create_task(self._watch_due()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, partition: int, works: Iterable[TopicWork]) -> None:
        """`partition`: of `commands`, where the tasks' workspaces live and their reports go."""
        for work in works:
            taken = (partition, work)
            if self._waiting.get((work.stream_id, work.task)) != taken:
                self._waiting[work.stream_id, work.task] = taken
                if work.due_ms <= clock.now_ms():
                    self._enqueue(taken)
                else:
                    self._not_due.add(taken)

    def forget(self, works: Iterable[TopicWork]) -> None:
        """Forgets tasks that are finished or no longer wanted: a topic to be deleted has a writer again."""
        for work in works:
            taken = self._waiting.get((work.stream_id, work.task))
            if taken is not None and taken[1] == work:
                del self._waiting[work.stream_id, work.task]
                self._not_due.discard(taken)

    def drop(self, partitions: set[int]) -> None:
        """Drops the work of partitions that another process owns now."""
        self._waiting = {key: taken for key, taken in self._waiting.items() if taken[0] not in partitions}
        self._not_due = {taken for taken in self._not_due if taken[0] not in partitions}

    def take_due(self) -> None:
        """Starts the tasks that have become due."""
        due = {taken for taken in self._not_due if taken[1].due_ms <= clock.now_ms()}
        self._not_due -= due
        for taken in due:
            self._enqueue(taken)

    def _enqueue(self, taken: Taken) -> None:
        self._queues[crc32(taken[1].stream_id.encode()) % QUEUES].put_nowait(taken)

    async def _watch_due(self) -> None:
        while True:
            await asyncio.sleep(DUE_CHECK_SECONDS)
            self.take_due()

    async def _run(self, queue: "asyncio.Queue[Taken]") -> None:
        while True:
            taken = await queue.get()
            if self._is_current(taken):
                await self._finish(taken)

    def _is_current(self, taken: Taken) -> bool:
        return self._waiting.get((taken[1].stream_id, taken[1].task)) == taken

    async def _finish(self, taken: Taken) -> None:
        """Runs a task until it is done, refused, replaced by a newer task, or dropped."""
        partition, work = taken
        started, wait_seconds = time.monotonic(), RETRY_SECONDS
        while self._is_current(taken):
            try:
                await self._report(report_of(work, await self._do(work)), partition)
            except KafkaException as error:
                metrics.TOPIC_TASKS.labels(work.task, "retried").inc()
                facts = {"stream": work.stream_id, "task": work.task, "error": str(error)}
                event(log, "topic.retried", logging.WARNING, **facts)
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, RETRY_SECONDS_MAX)
            else:
                self._waiting.pop((work.stream_id, work.task), None)
                metrics.TOPIC_TASK_SECONDS.labels(work.task).observe(time.monotonic() - started)
                return

    async def _do(self, work: TopicWork) -> Payload:
        """Does the task and returns its report. A refusal matters only to a creation: other tasks are then over."""
        topic = work.topic
        try:
            payload = await self._carry_out(work)
        except TopicRefused as refused:
            metrics.TOPIC_TASKS.labels(work.task, "refused").inc()
            event(log, "topic.refused", logging.ERROR, topic=topic.name, task=work.task, error=str(refused))
            return finished(work, failed=str(refused), taken=str(refused) if isinstance(refused, TopicTaken) else None)
        metrics.TOPIC_TASKS.labels(work.task, "done").inc()
        event(log, "topic.done", topic=topic.name, task=work.task)
        return payload

    async def _carry_out(self, work: TopicWork) -> Payload:
        topic = work.topic
        match work.task:
            case TopicTask.CREATE:
                spec, is_fed = spec_of(work, self._partitions), isinstance(topic, StreamTopic)
                return finished(work, topic_id=await self._admin.create_topic(spec, is_fed=is_fed))
            case TopicTask.ALTER:
                if await self._admin.topic_id(topic.name) == work.topic_id:
                    await self._admin.configure(topic.name, {"retention.ms": str(work.retention_days * DAY_MS)})
            case TopicTask.EXPIRE:
                await self._admin.delete_topic(topic.name, work.topic_id)
        return finished(work)


def spec_of(work: TopicWork, partitions: int) -> TopicSpec:
    topic = work.topic
    if isinstance(topic, StreamTopic):
        return stream_topic_spec(topic, partitions, work.retention_days)
    return route_topic_spec(topic, partitions)


def finished(work: TopicWork, *, topic_id: str = "", failed: str | None = None, taken: str | None = None) -> Payload:
    match work.task:
        case TopicTask.CREATE if work.workflow_id:
            return RouteTopicMade(topic=work.stream_id, topic_id=topic_id, failed=failed, taken=taken)
        case TopicTask.EXPIRE if work.workflow_id:
            return RouteTopicExpired(topic=work.stream_id)
        case TopicTask.CREATE:
            return StreamCreated(stream_id=work.stream_id, topic_id=topic_id, failed=failed, taken=taken)
        case TopicTask.ALTER:
            return StreamAltered(stream_id=work.stream_id, update_id=work.command_id)
        case TopicTask.EXPIRE:
            return StreamExpired(stream_id=work.stream_id)


def report_of(work: TopicWork, payload: Payload) -> Command:
    """The command that reports the task; always the same command for the same task."""
    return Command(
        id=derived_id(COMMAND, work.since_ms, work.command_id.encode(), work.task.encode()),
        kind=payload.kind,
        workspace=work.workspace,
        environment=work.environment,
        payload=payload.encode(),
        actor=ACTOR,
    )
