"""Live readers of the spine's streams: one channel for each org and environment, whose frames its readers share.

A reader's queue holds references to shared frames and is bounded; a reader whose queue fills is dropped, and goes on
from the last id that it got. So a slow reader costs its queue, and no other reader waits for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson

from domain.entities.organizations import org_of
from domain.entities.patterns import PatternTrie
from domain.events.spine_events import source_of
from domain.events.spine_records import data_of
from ingest_gateway import metrics
from ingest_gateway.log.live import LiveEvent, LiveLog
from ingest_gateway.surfaces.spine.frames import StreamCursor, event_frame, with_id
from operations.logs import event
from operations.record_reader import StoredRecord
from schemas.ids import time_of
from schemas.log_records import RecordPosition
from schemas.times import rfc3339

log = logging.getLogger(__name__)
QUEUED_FRAMES_MAX = 2_000
QUEUED_BYTES_MAX = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024

ReadBack = Callable[[RecordPosition], Awaitable[StoredRecord | None]]


class LiveFrame(NamedTuple):
    """An event as all readers of its channel get it, and its position."""

    kind: str
    received_ms: int
    partition: int
    offset: int
    frame: bytes


class LiveReader:
    """Mutable. `after`: what the reader got before the channel's events began; None: it is level with the channel.
    `on_drop` is called when it is too slow.
    """

    def __init__(self, patterns: list[str], on_drop: Callable[[], None]) -> None:
        self.after: StreamCursor | None = None
        self.dropped = False
        self._on_drop = on_drop
        self.woken = asyncio.Event()
        self._trie = PatternTrie((pattern, "") for pattern in patterns) if patterns else None
        self._queue: deque[LiveFrame] = deque()
        self._queued_bytes = 0

    def wants(self, kind: str) -> bool:
        return self._trie is None or bool(self._trie.match(kind))

    def offer(self, frames: list[LiveFrame]) -> None:
        for one in frames:
            if self.wants(one.kind):
                self._queue.append(one)
                self._queued_bytes += len(one.frame)
        if len(self._queue) > QUEUED_FRAMES_MAX or self._queued_bytes > QUEUED_BYTES_MAX:
            self.drop()
        if self._queue:
            self.woken.set()

    def drop(self) -> None:
        """The reader gets no more frames, and its connection is cut."""
        self._queue.clear()
        self._queued_bytes = 0
        self.dropped = True
        self.woken.set()
        self._on_drop()

    def take(self) -> bytes:
        """The next frames in one piece; empty where there are none."""
        frames, size_bytes, count = [], 0, 0
        while self._queue and size_bytes < CHUNK_BYTES:
            queued = self._queue.popleft()
            self._queued_bytes -= len(queued.frame)
            frame = self._frame(queued)
            if frame is not None:
                frames.append(frame)
                size_bytes += len(frame)
                count += 1
        if not self._queue:
            self.woken.clear()
        metrics.LIVE_EVENTS.inc(count)
        return b"".join(frames)

    def _frame(self, queued: LiveFrame) -> bytes | None:
        """None for what the reader has had. While it is ahead of the channel, its ids are its own: with the channel's
        it would return behind events that it has had.
        """
        if self.after is None:
            return queued.frame
        if self.after.has_passed(queued.partition, queued.offset):
            return None
        self.after.pass_event(queued.received_ms, queued.partition, queued.offset)
        return with_id(queued.frame, self.after.encode())


class Channel:
    """The channel of one stream. `cursor`: behind the events that its readers were offered."""

    def __init__(self, topic: str, workspace: str, read_back: ReadBack) -> None:
        self.readers: set[LiveReader] = set()
        self.cursor = StreamCursor(0, [])
        self._topic = topic
        self._workspace = workspace
        self._read_back = read_back
        self._waiting: deque[LiveEvent] = deque()
        self._reading: asyncio.Task[None] | None = None

    def admitted(self, events: list[LiveEvent]) -> None:
        """The live log's watcher. A record that has to be read back delays those behind it, so that the order stays."""
        if self._reading is None and all(one.value is not None for one in events):
            self._offer(events)
            return
        self._waiting.extend(events)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_waiting())

    def _offer(self, events: list[LiveEvent]) -> None:
        frames = [one for one in map(self._frame_of, events) if one is not None]
        for reader in self.readers:
            if not reader.dropped:
                reader.offer(frames)

    async def _read_waiting(self) -> None:
        try:
            while self._waiting:
                one = self._waiting.popleft()
                if one.value is None:
                    decision = one.decision
                    found = await self._read_back((decision.topic, decision.partition, decision.offset))
                    if found is not None:
                        one = LiveEvent(decision, found.value or b"", found.headers)  # null: a CloudEvent without data
                self._offer([one])
        except Exception as error:  # the log is away: readers go on from their ids when it is back
            event(log, "live.lost", logging.WARNING, topic=self._topic, error=str(error))
            self._waiting.clear()
            for reader in self.readers:
                reader.drop()
        finally:
            self._reading = None

    def _frame_of(self, one: LiveEvent) -> LiveFrame | None:
        decision = one.decision
        try:
            data = b"null" if one.value is None else data_of(one.value, one.headers)
        except Exception as error:
            event(log, "live.unreadable", logging.ERROR, event_id=decision.event_id, error=repr(error))
            return None
        self.cursor.pass_event(decision.received_ms, decision.partition, decision.offset)
        view = live_view(decision.event_id, decision.type, decision.actor, decision.metadata, self._workspace, data)
        frame = event_frame(self.cursor.encode(), decision.type, view)
        return LiveFrame(decision.type, decision.received_ms, decision.partition, decision.offset, frame)


def live_view(
    event_id: str, kind: str, actor: bytes | str | None, metadata: bytes | str | None, workspace: str, data: bytes
) -> dict[str, Any]:
    """As the query shows an event."""
    return {
        "eventId": event_id,
        "type": kind,
        "source": source_of(actor),
        "orgId": org_of(workspace),
        "timestamp": rfc3339(time_of(event_id)),
        "data": orjson.Fragment(data),
        "metadata": orjson.Fragment(metadata or b"{}"),
    }


class Channels:
    """The channels of a gateway process. `closing` is set when it stops."""

    def __init__(self, live: LiveLog, read_back: ReadBack) -> None:
        self.closing = asyncio.Event()
        self._live = live
        self._read_back = read_back
        self._channels: dict[str, Channel] = {}

    def count(self, topic: str) -> int:
        channel = self._channels.get(topic)
        return 0 if channel is None else len(channel.readers)

    async def join(self, topic: str, workspace: str, reader: LiveReader) -> Channel:
        """Once it returns, the reader is offered what is admitted. Raises KafkaException."""
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = Channel(topic, workspace, self._read_back)
        channel.readers.add(reader)
        metrics.LIVE_READERS.inc()
        try:
            ends = await self._live.watch(topic, channel.admitted, self._lose)
        except BaseException:
            self.leave(topic, reader)
            raise
        if not channel.cursor.offsets:
            channel.cursor = StreamCursor.at(ends)
        return channel

    def leave(self, topic: str, reader: LiveReader) -> None:
        channel = self._channels.get(topic)
        if channel is None or reader not in channel.readers:
            return
        channel.readers.discard(reader)
        metrics.LIVE_READERS.dec()
        if not channel.readers:
            del self._channels[topic]
            self._live.unwatch(topic, channel.admitted)

    def _lose(self, topic: str) -> None:
        """The topic is not read any more: its readers are cut off, and return with their last ids."""
        channel = self._channels.get(topic)
        for reader in () if channel is None else tuple(channel.readers):
            reader.drop()
            self.leave(topic, reader)

    async def close(self) -> None:
        self.closing.set()
        for channel in self._channels.values():
            for reader in channel.readers:
                reader.woken.set()
