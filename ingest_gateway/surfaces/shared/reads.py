"""Reads follow writes: for which streams a read of events waits, how long, and what it answers where it can't wait.

A list waits until projection has passed what this gateway appended to the list's streams, and what `Atlas-After` names
on them. A read by an id that is not found waits for all records that were on the streams that may hold it when the
request arrived, whichever gateway appended them; only then is the answer that there is no such event.

While a Kafka producer's transaction is open, all records behind its first one on a partition are held back. A list is
answered without them, and names their streams in `Atlas-Incomplete`. An id that may be among them is answered 503
`read_model_behind`, as is every read that would take longer than the bound.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway import metrics
from ingest_gateway.http.errors import Refused
from ingest_gateway.log.event_log import LogUnavailable
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.positions import named_positions
from ingest_gateway.surfaces.shared.requests import read_control_on
from operations.topic_ends import Partition
from schemas.entities import Stream
from schemas.topics import Topic, parse_stream_topic

INCOMPLETE_HEADER = "Atlas-Incomplete"
LOOK_SECONDS, SHORT_SECONDS = 0.1, 0.01
PATIENCE_SECONDS = 0.5
"""How long a list waits for an open transaction before it is answered without it. Most transactions are shorter."""
HELD_BACK = "Events of {} wait for a Kafka producer's open transaction. Please ask again."
INCOMPLETE: web.RequestKey[str] = web.RequestKey("incomplete", str)
_Found = TypeVar("_Found")


class Wait:
    """Mutable: one read's wait, until projection has passed an offset of each partition. `held`: partitions whose
    records an open transaction holds back.
    """

    def __init__(
        self, services: Services, streams: Iterable[Stream], targets: Mapping[Partition, int], patience_seconds: float
    ) -> None:
        self._services = services
        self._topic_ids = {stream.topic: stream.topic_id for stream in streams}
        self._targets = targets
        self._patience_seconds = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + services.settings.read_timeout_seconds
        self.held: set[Partition] = set()

    async def until_over(self) -> None:
        """Raises Refused past the bound."""
        while not await self.is_over():
            pass

    async def is_over(self) -> bool:
        """Waits a little, and returns whether the wait is over. Raises Refused past the bound."""
        left_seconds = self._deadline - self._loop.time()
        if await self._passed(self._targets, min(LOOK_SECONDS, max(0.0, left_seconds))):
            self.held = set()
            return True
        with contextlib.suppress(LogUnavailable, TimeoutError):  # it may be there again in time
            async with asyncio.timeout_at(self._deadline + LOOK_SECONDS):
                if await self._is_all_that_can_be_read():
                    return True
        if left_seconds <= 0:
            raise self.behind()
        await asyncio.sleep(SHORT_SECONDS)
        return False

    async def _is_all_that_can_be_read(self) -> bool:
        """Whether projection has read all that can be read. Partitions that the broker does not know are not read.
        Raises LogUnavailable.
        """
        ends = await self._services.events.stream_ends(self._targets)
        readable = {tp: min(target, ends[tp].stable) for tp, target in self._targets.items() if tp in ends}
        self.held = {tp for tp, end in readable.items() if end < self._targets[tp]}
        if len(readable) < len(self._targets) or not await self._is_read(readable):
            return False
        return all(ends[tp].held_seconds >= self._patience_seconds for tp in self.held)

    def behind(self) -> Refused:
        return READ_MODEL_BEHIND.refused(HELD_BACK.format(", ".join(self.names())) if self.held else None)

    def names(self) -> list[str]:
        """The names of the streams that are held back."""
        topics = {parse_stream_topic(topic) for topic, _partition in self.held}
        return sorted(topic.stream for topic in topics if topic is not None)

    async def _passed(self, ends: Mapping[Partition, int], seconds: float) -> bool:
        positions = [(*tp, end - 1) for tp, end in ends.items() if end > 0]
        return await self._services.reads.wait_until_passed(positions, seconds, self._topic_ids)

    async def _is_read(self, ends: Mapping[Partition, int]) -> bool:
        """Offsets before an end may hold no records: markers of transactions, and records of aborted ones."""
        reached = {tp: self._services.reads.reached(*tp, self._topic_ids) for tp in ends}
        left = {tp: (reached[tp], end) for tp, end in ends.items() if reached[tp] < end}
        return not await self._services.events.with_records(left)


async def wait_for_writes(
    request: web.Request, services: Services, principal: Principal, is_about: Callable[[str], bool]
) -> None:
    """For a list about the streams for which `is_about` is true. Raises Refused: read_model_behind, invalid_request."""
    named = await named_positions(request, services, principal)
    view = services.control.view
    if any(topic not in view.streams_by_topic for topic, _partition, _offset in named):
        await read_control_on(services)
    targets: dict[Partition, int] = {}
    newest = services.events.newest(principal.workspace, principal.environment)
    known = [position for position in newest if position[0] in view.streams_by_topic]
    for topic, partition, offset in (*known, *named):
        parsed = parse_stream_topic(topic)
        if parsed is not None and is_about(parsed.stream):
            targets[topic, partition] = max(offset + 1, targets.get((topic, partition), 0))
    if not targets:
        return
    topics = {topic for topic, _partition in targets}
    streams = [view.streams_by_topic[topic] for topic in topics if topic in view.streams_by_topic]
    wait = Wait(services, streams, targets, PATIENCE_SECONDS)
    await wait.until_over()
    if wait.held:
        metrics.READS_INCOMPLETE.inc()
        request[INCOMPLETE] = ", ".join(wait.names())


async def wait_for_named(request: web.Request, services: Services, principal: Principal) -> None:
    """Waits for the positions in `Atlas-After`. Raises Refused: read_model_behind, invalid_request."""
    targets: dict[Partition, int] = {}
    for topic, partition, offset in await named_positions(request, services, principal):
        targets[topic, partition] = max(offset + 1, targets.get((topic, partition), 0))
    if targets:
        wait = Wait(services, (), targets, services.settings.read_timeout_seconds)
        await wait.until_over()
        if wait.held:
            raise wait.behind()


async def look_until_sure(
    services: Services, streams: Callable[[], list[Stream]], look: Callable[[], Awaitable[_Found | None]]
) -> _Found | None:
    """What `look` finds, at once if it does; None once all records are passed that were on these streams when the
    request arrived. `streams` is called when `control` has been read to its end. Raises Refused: read_model_behind.
    """
    found = await look()
    if found is not None:
        return found
    await read_control_on(services)
    mine = streams()
    wait = Wait(services, mine, await _present_ends(services, mine), services.settings.read_timeout_seconds)
    while True:
        is_over = await wait.is_over()
        found = await look()
        if found is not None:
            return found
        if is_over and wait.held:
            raise wait.behind()
        if is_over:
            return None


async def _present_ends(services: Services, streams: Iterable[Stream]) -> dict[Partition, int]:
    partitions = [(stream.topic, number) for stream in streams for number in range(services.settings.partitions)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(services.settings.read_timeout_seconds):
            while True:
                with contextlib.suppress(LogUnavailable):
                    ends = await services.events.stream_ends(partitions)
                    return {tp: end.high for tp, end in ends.items() if end.high > 0}
                await asyncio.sleep(LOOK_SECONDS)
    raise READ_MODEL_BEHIND.refused()


async def add_incomplete(request: web.Request, response: web.StreamResponse) -> None:
    """Names, on the answer, the streams whose held-back records it lacks."""
    if INCOMPLETE in request:
        response.headers[INCOMPLETE_HEADER] = request[INCOMPLETE]


async def audit_passed(services: Services) -> None:
    """Waits until projection has passed all that is on `audit` now, so that a list made from it holds every change that
    was answered before, by any gateway. Raises Refused past the bound.
    """
    try:
        ends = await services.events.ends(Topic.AUDIT)
    except LogUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    if not await services.reads.wait_until_passed(ends, services.settings.read_timeout_seconds):
        raise READ_MODEL_BEHIND.refused()
