"""Which events a replay is about: a page at a time from the read model, in the order of their arrival.

Raises SelectionUnavailable if the database is away or does not exist yet; nothing of SQLAlchemy leaves this file.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec
from sqlalchemy import and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from domain.delivery.replays import Replayable
from operations.read_model_engine import ReadModelReader
from schemas.entities import Replay
from schemas.read_model import events, scope_of

PAGE_EVENTS = 100
_COLUMNS = (
    *(events.c.id, events.c.stream, events.c.received_ms, events.c.routes),
    *(events.c.source_topic, events.c.source_topic_id, events.c.source_partition, events.c.source_offset),
)


class SelectionUnavailable(Exception):
    """The read model can't be queried now."""


class Selection:
    """Used from the event loop. Call `close()` at the end."""

    def __init__(self, database_url: str) -> None:
        self._reader = ReadModelReader(database_url, 1)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="selection")

    async def page(self, replay: Replay, cursor: tuple[int, str]) -> list[Replayable]:
        """The next events after `cursor` (received_ms, id). Empty: there are no more."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._page, replay, cursor)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        self._reader.close()

    def _page(self, replay: Replay, cursor: tuple[int, str]) -> list[Replayable]:
        cursor_ms, cursor_id = cursor
        after = or_(events.c.received_ms > cursor_ms, and_(events.c.received_ms == cursor_ms, events.c.id > cursor_id))
        query = select(*_COLUMNS).where(
            events.c.scope == scope_of(replay.workspace, replay.environment),
            events.c.workspace == replay.workspace,
            events.c.environment == replay.environment,
            events.c.received_ms >= cursor_ms,
            after,
        )
        if replay.event_id:
            query = query.where(events.c.id == replay.event_id)
        else:
            query = query.where(
                events.c.stream == replay.stream,
                events.c.received_ms >= replay.from_ms,
                events.c.received_ms < replay.to_ms,
            )
        if replay.event_status is not None:
            query = query.where(events.c.status == replay.event_status)
        if replay.type is not None:
            query = query.where(events.c.type == replay.type)
        query = query.order_by(events.c.received_ms, events.c.id).limit(PAGE_EVENTS)
        try:
            with self._reader.connect() as connection:
                return [
                    Replayable(event_id, stream, received_ms, _routes(routes), *source)
                    for event_id, stream, received_ms, routes, *source in connection.execute(query).fetchall()
                ]
        except SQLAlchemyError as error:
            raise SelectionUnavailable(str(error)) from error


def _routes(document: str) -> tuple[str, ...]:
    return msgspec.json.decode(document, type=tuple[str, ...])
