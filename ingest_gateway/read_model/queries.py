"""Questions to the read model, each one round trip in a worker thread over a connection that can't write.

Raises ReadModelUnavailable where the database is away, locked or not created yet; no SQLAlchemy error leaves this file.
A read that must follow a write asks `passed` (or waits with `wait_until_passed`) and reads after that.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, bindparam, literal, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from ingest_gateway.read_model.audit_pages import AuditFilter, AuditPage, AuditReach, audit_page
from ingest_gateway.read_model.breach_pages import BreachFilter, BreachPage, breach_page
from ingest_gateway.read_model.event_pages import EventCursor, EventFilter, Page, cursor_behind, page
from ingest_gateway.read_model.spine_pages import SpineFilter, SpinePage, spine_chain, spine_page, spine_since
from ingest_gateway.read_model.stored import StoredEvent
from ingest_gateway.read_model.webhook_pages import DeliveryPage, WebhookScope, deliveries_page, delivery
from ingest_gateway.read_model.work_pages import TaskFilter, WorkPage, item_body, projects_page, tasks_page
from operations.read_model_engine import ReadModelReader
from schemas.log_records import RecordPosition
from schemas.read_model import (
    AttemptRow,
    EventRow,
    attempts,
    event_conflicts,
    events,
    log_positions,
    projects,
    source_positions,
    tasks,
)

POLL_SECONDS = 0.005
THREADS = 4
IDS_A_QUESTION = 500

NO_IDS: Mapping[str, str] = MappingProxyType({})
_Answer = TypeVar("_Answer")


class ReadModelUnavailable(Exception):
    """The read model can't be asked now."""


def _event_statement() -> Select[Any]:
    """One statement, so that the event and its attempts are of one moment on both databases."""
    same_event = attempts.c.event_id == events.c.id
    return (
        select(*events.c, *attempts.c)
        .select_from(events.outerjoin(attempts, same_event))
        .where(
            events.c.workspace == bindparam("workspace"),
            events.c.environment == bindparam("environment"),
            events.c.id == bindparam("id"),
        )
    )


_EVENT = _event_statement()
_ORIGINAL = select(event_conflicts.c.original_id).where(
    event_conflicts.c.workspace == bindparam("workspace"),
    event_conflicts.c.environment == bindparam("environment"),
    event_conflicts.c.event_id == bindparam("id"),
)
_TOPIC_ID = source_positions.c.topic_id
_POSITIONS = union_all(
    select(source_positions.c.topic, source_positions.c.partition, source_positions.c.next_offset, _TOPIC_ID),
    select(log_positions.c.topic, log_positions.c.partition, log_positions.c.next_offset, literal("")),
)
_EVENT_COLUMNS = len(EventRow._fields)


class ReadModel:
    """Made on any thread, asked on the event loop; `close()` at the end."""

    def __init__(self, database_url: str, threads: int = THREADS) -> None:
        self._reader = ReadModelReader(database_url, threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read-model")
        self._passed: dict[tuple[str, int], tuple[int, str]] = {}
        self._refresh: asyncio.Task[None] | None = None

    async def event(self, workspace: str, environment: str, event_id: str) -> StoredEvent | None:
        """An admitted event of this workspace and environment with all attempts, or None."""
        scope = {"workspace": workspace, "environment": environment, "id": event_id}
        rows = await self._ask(lambda connection: connection.execute(_EVENT, scope).fetchall())
        return _stored_event(rows) if rows else None

    async def conflict_of(self, workspace: str, environment: str, event_id: str) -> str | None:
        """The id of the event that holds the key with which `event_id` was refused. Ask `event` first."""
        scope = {"workspace": workspace, "environment": environment, "id": event_id}
        return await self._ask(lambda connection: connection.execute(_ORIGINAL, scope).scalar())

    async def events_page(
        self, workspace: str, environment: str, chosen: EventFilter, cursor: EventCursor | None, limit: int
    ) -> Page:
        return await self._ask(lambda connection: page(connection, workspace, environment, chosen, cursor, limit))

    async def cursor_behind(self, workspace: str, environment: str, event_id: str) -> EventCursor | None:
        return await self._ask(lambda connection: cursor_behind(connection, workspace, environment, event_id))

    async def spine_page(
        self, workspace: str, environment: str, chosen: SpineFilter, offset: int, limit: int
    ) -> SpinePage:
        return await self._ask(lambda connection: spine_page(connection, workspace, environment, chosen, offset, limit))

    async def spine_since(self, workspace: str, environment: str, received_ms: int, limit: int) -> list[Row[Any]]:
        return await self._ask(lambda connection: spine_since(connection, workspace, environment, received_ms, limit))

    async def spine_chain(
        self, workspace: str, environment: str, correlation_id: str
    ) -> list[tuple[Row[Any], list[AttemptRow]]]:
        """Its events, oldest first, each with every attempt to deliver it."""

        def ask(connection: Connection) -> list[tuple[Row[Any], list[AttemptRow]]]:
            rows = spine_chain(connection, workspace, environment, correlation_id)
            found = attempts_of(connection, workspace, environment, [row.id for row in rows])
            return [(row, found.get(row.id, [])) for row in rows]

        return await self._ask(ask)

    async def audit_page(
        self,
        workspace: str,
        environment: str,
        chosen: AuditFilter,
        after: int,
        limit: int,
        reach: AuditReach | None = None,
    ) -> AuditPage:
        scope = workspace, environment
        return await self._ask(lambda connection: audit_page(connection, *scope, chosen, after, limit, reach))

    async def breach_page(self, workspace: str, chosen: BreachFilter, before: str | None, limit: int) -> BreachPage:
        return await self._ask(lambda connection: breach_page(connection, workspace, chosen, before, limit))

    async def project(self, workspace: str, environment: str, project_id: str) -> str | None:
        """Its JSON."""
        return await self._ask(lambda connection: item_body(connection, projects, workspace, environment, project_id))

    async def task(self, workspace: str, environment: str, task_id: str) -> str | None:
        """Its JSON."""
        return await self._ask(lambda connection: item_body(connection, tasks, workspace, environment, task_id))

    async def projects_page(self, workspace: str, environment: str, after: int, limit: int) -> WorkPage:
        return await self._ask(lambda connection: projects_page(connection, workspace, environment, after, limit))

    async def tasks_page(
        self, workspace: str, environment: str, chosen: TaskFilter, after: int, limit: int
    ) -> WorkPage:
        return await self._ask(lambda connection: tasks_page(connection, workspace, environment, chosen, after, limit))

    async def deliveries_page(
        self, scope: WebhookScope, statuses: tuple[str, ...], before: str | None, limit: int
    ) -> DeliveryPage:
        return await self._ask(lambda connection: deliveries_page(connection, scope, statuses, before, limit))

    async def delivery(self, scope: WebhookScope, delivery_id: str) -> Row[Any] | None:
        return await self._ask(lambda connection: delivery(connection, scope, delivery_id))

    async def passed(self, positions: Iterable[RecordPosition], topic_ids: Mapping[str, str] = NO_IDS) -> bool:
        """Whether what became of each of these records shows in the read model. `topic_ids`: by topic, where it
        matters; what is known of a topic of the same name that there was before does not count.
        """
        wanted = list(positions)
        if not self._known(wanted, topic_ids):
            await self._look_again()
        return self._known(wanted, topic_ids)

    def reached(self, topic: str, partition: int, topic_ids: Mapping[str, str] = NO_IDS) -> int:
        """The next offset to come, as last looked at by `passed` or a wait."""
        next_offset, topic_id = self._passed.get((topic, partition), (0, ""))
        return next_offset if topic_ids.get(topic, topic_id) == topic_id else 0

    async def wait_until_passed(
        self, positions: Iterable[RecordPosition], timeout_seconds: float, topic_ids: Mapping[str, str] = NO_IDS
    ) -> bool:
        """`passed`, asked until it is so; False once `timeout_seconds` are over, be it that the database is away.

        However many wait, the database is asked once in a few milliseconds.
        """
        wanted = list(positions)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while True:
                    with contextlib.suppress(ReadModelUnavailable):
                        if await self.passed(wanted, topic_ids):
                            return True
                    await asyncio.sleep(POLL_SECONDS)
        return False

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        self._reader.close()

    def _known(self, positions: list[RecordPosition], topic_ids: Mapping[str, str]) -> bool:
        return all(self.reached(topic, partition, topic_ids) > offset for topic, partition, offset in positions)

    async def _look_again(self) -> None:
        """Reads the positions. A read that starts meanwhile gets the next answer: this one may predate its write."""
        if self._refresh is not None:
            await asyncio.wait([self._refresh])
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._read_positions())
            self._refresh.add_done_callback(_note_failure)
        await asyncio.shield(self._refresh)

    async def _read_positions(self) -> None:
        rows = await self._ask(lambda connection: connection.execute(_POSITIONS).fetchall())
        self._passed = {(topic, partition): (next_offset, topic_id) for topic, partition, next_offset, topic_id in rows}

    async def _ask(self, question: Callable[[Connection], _Answer]) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)

    def _answer(self, question: Callable[[Connection], _Answer]) -> _Answer:
        try:
            with self._reader.connect() as connection:
                return question(connection)
        except SQLAlchemyError as error:
            raise ReadModelUnavailable(str(error)) from error


def attempts_of(
    connection: Connection, workspace: str, environment: str, event_ids: list[str]
) -> dict[str, list[AttemptRow]]:
    """By event."""
    found: dict[str, list[AttemptRow]] = {}
    mine = (attempts.c.workspace == workspace, attempts.c.environment == environment)
    for begin in range(0, len(event_ids), IDS_A_QUESTION):
        among = attempts.c.event_id.in_(event_ids[begin : begin + IDS_A_QUESTION])
        for row in connection.execute(select(*attempts.c).where(*mine, among)):
            attempt = AttemptRow(*row)
            found.setdefault(attempt.event_id, []).append(attempt)
    return found


def _stored_event(rows: Iterable[Row[Any]]) -> StoredEvent:
    values = [tuple(row) for row in rows]
    found = (AttemptRow(*row[_EVENT_COLUMNS:]) for row in values)
    return StoredEvent(EventRow(*values[0][:_EVENT_COLUMNS]), tuple(row for row in found if row.event_id is not None))


def _note_failure(refresh: asyncio.Task[None]) -> None:
    """Marks a failure as seen: the waiting reads got it, and if all have gone, none needs it."""
    if not refresh.cancelled():
        refresh.exception()
