"""`GET /v1/events/stream`: the org's events as they are admitted, as server-sent events, from the log.

Each event's id is its reader's cursor on the log, and the answer's header `Last-Event-ID` the one at which it begins. A
reader that sends `Last-Event-ID` first gets what it has missed, from the read model and the log, then what comes. It
gets every event once, in the order of each partition. A reader that reads more slowly than events come is cut off and
goes on from its last id; nothing is kept for it meanwhile.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from confluent_kafka import KafkaException
from sqlalchemy import Row

from domain.entities.patterns import NO_PATTERN
from domain.security.principals import EVENTS_READ, SESSION, Principal
from ingest_gateway import metrics
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import ANSWER_HEADERS, REQUEST_ID, X_REQUEST_ID
from ingest_gateway.http.queries import read_query
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.requests import caller
from ingest_gateway.surfaces.spine.channels import Channel, Channels, LiveReader, live_view
from ingest_gateway.surfaces.spine.errors import invalid
from ingest_gateway.surfaces.spine.frames import (
    CONTENT_TYPE,
    HEARTBEAT,
    StreamCursor,
    StreamCursorInvalid,
    cursor_comment,
    event_frame,
    read_cursor,
    retry_line,
)
from ingest_gateway.surfaces.spine.publishing import SYSTEM_STREAM, spine_of
from ingest_gateway.surfaces.spine.query import is_type_filter, read_payloads
from schemas.entities import PATTERNS_MAX
from schemas.errors import FieldError
from schemas.topics import Topic

CHANNELS = web.AppKey("channels", Channels)
LAST_EVENT_ID = "Last-Event-ID"
READERS_MAX = 200  # of an org and environment, in one process
TOO_MANY = f"There are {READERS_MAX} live readers of this organization already."
HEARTBEAT_SECONDS = 15.0
MISSED_PAGE = 200
SKEW_MS = 60_000
"""By how much the clocks of brokers may differ: an event's time of receipt is the clock of its partition's leader."""
RETRY_MS = 1_000
RETRY_AFTER_STOP_MS = 100, 2_000
"""Readers of a process that ends reconnect spread over this time, not all at once."""


class ReaderGone(Exception):
    """The reader has gone, was dropped, or may not read any more."""


class ProcessEnds(Exception):
    """The process ends: the reader finds its cursor again at another one."""


async def stream_events(request: web.Request) -> web.StreamResponse:
    services, principal = caller(request, EVENTS_READ)
    reader = LiveReader(_patterns(read_query(request, ("type",))), partial(_cut, request))
    cursor = _cursor(request)
    topic = await _topic(request, services, principal)
    channels = request.app[CHANNELS]
    if channels.count(topic) >= READERS_MAX:
        raise Refused(ErrorKind.RATE_LIMITED, TOO_MANY, headers={hdrs.RETRY_AFTER: "5"})
    try:
        channel, begins_at = None, cursor
        if begins_at is None:
            channel = await _joined(channels, topic, principal, reader)
            begins_at = channel.cursor
        response = await _begun(request, begins_at)
        stream = _Stream(response, services, principal, reader, channels)
        await stream.send(topic, channel, cursor)
    finally:
        channels.leave(topic, reader)
    return response


async def _joined(channels: Channels, topic: str, principal: Principal, reader: LiveReader) -> Channel:
    """Joins before the answer begins, since its head holds the first cursor. Raises Refused."""
    try:
        return await channels.join(topic, principal.workspace, reader)
    except KafkaException:
        raise Refused(ErrorKind.UNAVAILABLE) from None


class _Stream:
    """One reader's answer."""

    def __init__(
        self,
        response: web.StreamResponse,
        services: Services,
        principal: Principal,
        reader: LiveReader,
        channels: Channels,
    ) -> None:
        self._response = response
        self._services = services
        self._principal = principal
        self._reader = reader
        self._channels = channels

    async def send(self, topic: str, channel: Channel | None, cursor: StreamCursor | None) -> None:
        """Sends until the reader leaves or has to. `cursor`: behind it, the reader first gets what it has missed."""
        try:
            if cursor is not None:
                await self.send_missed(cursor)
            if channel is None:
                channel = await self._channels.join(topic, self._principal.workspace, self._reader)
            if cursor is not None:
                await self.send_missed(cursor, up_to_now=True)
                self._reader.after = cursor
            await self.follow(channel)
        except ProcessEnds:
            with contextlib.suppress(ConnectionError):
                await self._response.write(retry_line(random.randint(*RETRY_AFTER_STOP_MS)))
        except (ReaderGone, ConnectionError, KafkaException, ReadModelUnavailable, Refused):
            pass  # the answer has begun, so no error can be sent: the reader returns with its last id

    async def follow(self, channel: Channel) -> None:
        """Sends what comes until the reader leaves or has to."""
        reader = self._reader
        await self._write(cursor_comment((reader.after or channel.cursor).encode()))
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await reader.woken.wait()
            except TimeoutError:
                await self._write(cursor_comment(channel.cursor.encode()) if reader.after is None else HEARTBEAT)
            self._check()
            while chunk := reader.take():
                await self._write(chunk)
                self._check()
            if reader.after is not None and channel.cursor.is_behind(reader.after):
                reader.after = None

    async def send_missed(self, cursor: StreamCursor, *, up_to_now: bool = False) -> None:
        """Sends what the read model has behind `cursor`, which moves on. `up_to_now`: all that is decided by now."""
        if up_to_now:
            newest = await self._services.events.ends(Topic.DECISIONS)
            if not await self._services.reads.wait_until_passed(newest, HEARTBEAT_SECONDS):
                raise READ_MODEL_BEHIND.refused()
        async for rows in self._missed(cursor):
            data = await read_payloads(self._services, rows)
            frames = [self._frame(cursor, row, one) for row, one in zip(rows, data, strict=True)]
            await self._write(b"".join(frames) + cursor_comment(cursor.encode()))
            self._check()

    async def _missed(self, cursor: StreamCursor) -> AsyncIterator[list[Row[Any]]]:
        """Pages of whole milliseconds, in the order of receipt, and within one millisecond in the order of the
        partition.
        """
        scope = self._principal.workspace, self._principal.environment
        since_ms, limit = max(0, cursor.received_ms - SKEW_MS), MISSED_PAGE
        while True:
            rows = await self._services.reads.spine_since(*scope, since_ms, limit)
            last_ms = rows[-1].received_ms if len(rows) == limit else None
            whole = [row for row in rows if row.received_ms != last_ms]
            new = [row for row in whole if not cursor.has_passed(row.source_partition, row.source_offset)]
            if new:
                yield sorted(new, key=lambda row: (row.received_ms, row.source_partition, row.source_offset))
            if last_ms is None:
                return
            limit = MISSED_PAGE if whole else 2 * limit
            since_ms = last_ms

    def _frame(self, cursor: StreamCursor, row: Row[Any], data: bytes) -> bytes:
        cursor.pass_event(row.received_ms, row.source_partition, row.source_offset)
        if not self._reader.wants(row.type):
            return b""
        view = live_view(row.id, row.type, row.actor, row.metadata, self._principal.workspace, data)
        return event_frame(cursor.encode(), row.type, view)

    def _check(self) -> None:
        """Raises ReaderGone, ProcessEnds."""
        if self._channels.closing.is_set() and not self._reader.dropped:
            raise ProcessEnds
        if self._reader.dropped or not self._may_read():
            raise ReaderGone

    def _may_read(self) -> bool:
        principal, now_ms = self._principal, time.time() * 1_000
        if principal.ends_ms is not None and now_ms >= principal.ends_ms:
            return False
        if principal.kind == SESSION:
            return True
        key = self._services.control.view.keys.get(principal.key_id)
        return key is not None and key.holds(int(now_ms))

    async def _write(self, frames: bytes) -> None:
        """Returns when the client has taken most of it, or its connection was cut."""
        await self._response.write(frames)


def _cut(request: web.Request) -> None:
    """Aborts: closing would wait for the client to take what is buffered."""
    metrics.LIVE_DROPPED.inc()
    if request.transport is not None:
        request.transport.abort()


async def _begun(request: web.Request, cursor: StreamCursor) -> web.StreamResponse:
    headers = {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        hdrs.CACHE_CONTROL: "no-store",
        "X-Accel-Buffering": "no",
        LAST_EVENT_ID: cursor.encode(),
        X_REQUEST_ID: request[REQUEST_ID],
        **request.get(ANSWER_HEADERS, {}),
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(retry_line(RETRY_MS))
    return response


async def _topic(request: web.Request, services: Services, principal: Principal) -> str:
    return (await spine_of(request.app[SYSTEM_STREAM], principal)).topic


def _patterns(parameters: dict[str, str]) -> list[str]:
    """Types and patterns, separated by commas."""
    written = parameters.get("type")
    patterns = [] if written is None else written.split(",")
    if len(patterns) > PATTERNS_MAX or not all(is_type_filter(pattern) for pattern in patterns):
        raise invalid(FieldError("type", NO_PATTERN))
    return patterns


def _cursor(request: web.Request) -> StreamCursor | None:
    written = request.headers.get(LAST_EVENT_ID, "")
    if not written:
        return None
    try:
        return read_cursor(written)
    except StreamCursorInvalid as error:
        raise invalid(FieldError(LAST_EVENT_ID, str(error))) from None


ROUTES = (web.get("/v1/events/stream", stream_events, name="stream_events"),)
