"""Keeps a `ControlView` at the end of the topic `control`, in a thread of its own.

The view is changed only on the event loop's thread (`call_soon_threadsafe`), so readers need no lock. `ready` turns
true once the topic was read to the end it had at the start. `catch_up` reads on to the end as of now, for who misses an
entity that somebody just made (DESIGN: a gateway or worker that misses one first reads `control` to its present end).
`behind_seconds` says how old the view may be: about every second a thread of its own asks for the topic's end, and what
was asked when counts as the view's time once the view has reached it. A broker that can't be asked makes it grow
(RELIABILITY F39); a view that is older than `OLD` allows is told of in the log, with the reason, and so is its return.

A topic that ends before what was read of it is not the one that was read: records are gone, or another cluster answers.
`on_lost` is told, and the process has to begin anew.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from domain.entities.control_view import ControlView
from operations import metrics
from operations.coalescing import Coalesced
from operations.kafka_clients import reader_config
from operations.logs import event
from operations.outages import Outage
from operations.reader_thread import ReaderThread
from operations.topic_ends import TopicEnds
from operations.trouble import Bounds, Trouble
from schemas.codec import Undecodable
from schemas.topics import Topic

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
BATCH_MAX = 2_000
CATCH_UP_SECONDS = 2.0  # milliseconds as a rule; the bound is for a machine that is short of time
ENDS_APART_SECONDS = 1.0
ASK_AGAIN_SECONDS = 0.2
LOST_TIMES = 3
"""So often in a row the topic has to end too early: who believes it ends the process."""
OLD = Bounds(begins_seconds=5.0, ends_seconds=2.5, quiet_seconds=0.0)


class ControlReader:
    """`start()` on the running loop; `await caught_up()` before serving; `stop()` at the end."""

    def __init__(self, bootstrap: str, view: ControlView, on_lost: Callable[[str], None] = lambda reason: None) -> None:
        """`on_lost` is told once, on the loop, why what was read holds no longer: end the process."""
        self.view = view
        self.applied: dict[int, int] = {}
        self.unreadable = 0
        self._ends_at_start: dict[int, int] | None = None
        self._current_seconds: float | None = None
        self._awaited: tuple[float, dict[int, int]] | None = None
        self._ready = asyncio.Event()
        self._moved = asyncio.Event()
        self._bootstrap = bootstrap
        self._partitions: list[int] = []
        self._consumer: Consumer | None = None
        self._ends = TopicEnds(bootstrap)
        self._on_lost = on_lost
        self._unanswered: str | None = None
        """Why the topic's end said nothing the last time that it was asked for."""
        self._old = Trouble()
        self._present: Coalesced[int, int] = Coalesced(self._ask_ends)
        self._outage = Outage(log, "control")
        self._thread = ReaderThread("control", self._run, on_lost)
        self._watch = ReaderThread("control_ends", self._watch_ends, on_lost)

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def failed(self) -> str | None:
        """Why nothing more is read, or None."""
        return self._thread.failed or self._watch.failed

    @property
    def behind_seconds(self) -> float:
        """What happened longer ago is in the view; without end before it was read whole."""
        return math.inf if self._current_seconds is None else time.monotonic() - self._current_seconds

    @property
    def is_old(self) -> bool:
        """Whether the view is older than `OLD` allows; not before it was read whole once."""
        return self._old.is_there

    @property
    def why_behind(self) -> str:
        """What keeps the view from being current, for who finds it old."""
        if self._unanswered is not None:
            return f"the end of control is not known: {self._unanswered}"
        return "records of control that are there have not been read"

    def start(self) -> None:
        metrics.CONTROL_BEHIND_SECONDS.set_function(lambda: self.behind_seconds)
        config = reader_config(self._bootstrap, f"control-reader-{uuid.uuid4().hex}")
        # A record comes at once whatever the wait; at 20 ms the idle fetches of six processes cost the broker a tenth
        # of a core.
        self._consumer = Consumer(config | {"fetch.wait.max.ms": 250, "enable.partition.eof": True})
        self._thread.start()

    async def caught_up(self) -> None:
        await self._ready.wait()

    async def catch_up(self, timeout_seconds: float = CATCH_UP_SECONDS) -> bool:
        """Reads to the topic's present end; False if that took longer than `timeout_seconds`. Who would try again for
        ever asks `has_seen` as well: a view that is always a little behind never reaches an end that is asked anew.
        """
        asked_seconds = time.monotonic()
        try:
            async with asyncio.timeout(timeout_seconds):
                ends = await self._present.about(self._partitions)
                while not self._reached(ends):
                    self._moved.clear()
                    await self._moved.wait()
        except (TimeoutError, KafkaException):
            return False
        self._note_current(asked_seconds)
        return True

    def has_seen(self, at_seconds: float) -> bool:
        """Whether the view has all that happened before then (monotonic seconds)."""
        return self._current_seconds is not None and self._current_seconds >= at_seconds

    async def stop(self) -> None:
        await asyncio.gather(self._thread.stop(), self._watch.stop())

    def _run(self) -> None:
        assert self._consumer is not None
        try:
            self._partitions = self._partitions_once_there(self._consumer)
            self._consumer.assign([TopicPartition(Topic.CONTROL, partition, 0) for partition in self._partitions])
            asked_seconds = time.monotonic()
            self._thread.call(self._started, (asked_seconds, self._ends_once_told()))
            while not self._thread.stops:
                first = self._consumer.poll(POLL_SECONDS)
                if first is not None:  # with what came with it; `consume` alone would wait for a whole batch
                    self._thread.call(self._apply, [first, *self._consumer.consume(BATCH_MAX, 0)])
        finally:
            self._consumer.close()

    def _partitions_once_there(self, consumer: Consumer) -> list[int]:
        """Waits for the topic, as a process may start before its broker."""
        while not self._thread.stops:
            try:
                topic = consumer.list_topics(Topic.CONTROL, timeout=2).topics[Topic.CONTROL]
                if topic.error is not None:
                    raise KafkaException(topic.error)
                if topic.partitions:
                    return sorted(topic.partitions)
            except KafkaException as error:
                self._outage.failed(error)
            self._thread.wait(ASK_AGAIN_SECONDS)
        return []

    def _ends_once_told(self) -> dict[int, int]:
        """A topic made a moment ago may have no leader yet."""
        while not self._thread.stops:
            try:
                ends = self._ends.ends(Topic.CONTROL)
            except KafkaException as error:
                self._outage.failed(error)
            else:
                self._outage.answered()
                return ends
            self._thread.wait(ASK_AGAIN_SECONDS)
        return {}

    async def _ask_ends(self, _partitions: list[int]) -> dict[int, int]:
        """For all that wait to catch up: however many miss an entity, the broker is asked one question at a time."""
        return await asyncio.to_thread(self._ends.ends, Topic.CONTROL)

    def _watch_ends(self) -> None:
        """Asks for the ends again and again; what the broker doesn't answer leaves the view as old as it is."""
        times_lost = 0
        while not self._watch.wait(ENDS_APART_SECONDS):
            asked_seconds, read_before = time.monotonic(), dict(self.applied)
            try:
                ends = self._ends.ends(Topic.CONTROL)
                self._unanswered = _lost(read_before, ends)
                if self._unanswered is None:
                    times_lost = 0
                    self._watch.call(self._await_ends, (asked_seconds, ends))
                elif (times_lost := times_lost + 1) == LOST_TIMES:
                    event(log, "control.lost", logging.CRITICAL, reason=self._unanswered)
                    self._watch.call(self._on_lost, self._unanswered)
            except KafkaException as error:
                self._unanswered = error.args[0].str()
            self._tell_age(time.monotonic())

    def _tell_age(self, now_seconds: float) -> None:
        """One line when the view gets too old, and one when it is current again."""
        if not self.ready:
            return
        before, self._old = self._old, self._old.after(self.behind_seconds, now_seconds, OLD)
        if self._old.is_there and not before.is_there:
            behind_seconds = round(self.behind_seconds, 1)
            event(log, "control.behind", logging.WARNING, behind_seconds=behind_seconds, reason=self.why_behind)
        elif before.is_there and not self._old.is_there:
            event(log, "control.current")

    def _await_ends(self, asked: tuple[float, dict[int, int]]) -> None:
        """The oldest that was not reached stays, or a view that is always a little behind would seem never to move."""
        if self._awaited is None:
            self._awaited = asked
        self._note_progress()

    def _started(self, asked: tuple[float, dict[int, int]]) -> None:
        self._awaited = asked
        self._ends_at_start = asked[1]
        self._watch.start()
        self._note_progress()

    def _apply(self, messages: Iterable[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is None:
                self._apply_one(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                # Compaction may have removed the newest records, so the end is told by EOF and not by a record.
                self._read_to(message, message.offset())
            else:
                event(log, "control.read_failed", logging.WARNING, error=str(error))
        self._note_progress()

    def _apply_one(self, message: Message) -> None:
        try:
            self.view.apply(message.key() or b"", message.value())
        except Undecodable as error:
            self.unreadable += 1
            event(log, "control.unreadable", logging.ERROR, offset=message.offset(), reason=str(error))
        offset = message.offset()
        self._read_to(message, 0 if offset is None else offset + 1)

    def _read_to(self, message: Message, next_offset: int | None) -> None:
        partition = message.partition()
        if partition is not None and next_offset is not None:
            self.applied[partition] = max(self.applied.get(partition, 0), next_offset)

    def _note_progress(self) -> None:
        self._moved.set()
        if self._awaited is not None and self._reached(self._awaited[1]):
            self._note_current(self._awaited[0])
            self._awaited = None
        if self._ends_at_start is not None and self._reached(self._ends_at_start):
            self._ready.set()

    def _note_current(self, asked_seconds: float) -> None:
        self._current_seconds = max(asked_seconds, self._current_seconds or asked_seconds)

    def _reached(self, ends: dict[int, int]) -> bool:
        return all(self.applied.get(partition, 0) >= end for partition, end in ends.items())


async def present_view(bootstrap: str, timeout_seconds: float) -> ControlView | None:
    """For commands of people: `control` read to its end once. None where that takes longer: no broker answers, say."""
    reader = ControlReader(bootstrap, ControlView())
    reader.start()
    try:
        async with asyncio.timeout(timeout_seconds):
            await reader.caught_up()
    except TimeoutError:
        return None
    finally:
        await reader.stop()
    return reader.view


def _lost(read: dict[int, int], ends: dict[int, int]) -> str | None:
    """`read` holds what was read before the ends were asked, so it can't lie behind them."""
    gone = [
        f"partition {partition} ends at {ends.get(partition, 0)}"
        for partition in read
        if read[partition] > ends.get(partition, 0)
    ]
    return None if not gone else f"control is not the topic that was read: {', '.join(gone)}, and more of it was read"
