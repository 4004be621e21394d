"""Reads follow writes: what a read waits for before it asks the read model, and pages of a list.

A read waits until projection has passed the newest command that this gateway appended for the workspace and
environment, and any that `Atlas-After: <Atlas-Position of another answer>` names. A read by an id that is not found
waits for all commands that the workspace had when the request arrived, whichever gateway appended them. Past the bound:
503.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import orjson
from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.log.event_log import Appended, LogUnavailable
from ingest_gateway.read_model import ReadModelUnavailable
from ingest_gateway.read_model.cursors import CursorInvalid
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.errors import READ_MODEL_BEHIND
from ingest_gateway.surfaces.shared.positions import AFTER_HEADER, POSITIONS_MAX, position_from
from ingest_gateway.surfaces.work.errors import invalid
from operations import clock
from schemas.commands import workspace_key
from schemas.errors import FieldError
from schemas.log_records import RecordPosition
from schemas.partitioner import partition_for
from schemas.topics import Topic

LIMIT_MAX, LIMIT_DEFAULT = 100, 50
_Answer = TypeVar("_Answer")


async def wait_for_writes(request: web.Request, services: Services, principal: Principal) -> None:
    """Raises Refused."""
    newest = request.app[WRITES].newest(principal.workspace, principal.environment)
    positions = [*newest, *_named(request, services, principal)]
    timeout_seconds = services.settings.read_timeout_seconds
    if positions and not await services.reads.wait_until_passed(positions, timeout_seconds):
        raise READ_MODEL_BEHIND.refused()


async def asked(question: Awaitable[_Answer]) -> _Answer:
    """The read model's answer. Raises Refused where it is away."""
    try:
        return await question
    except ReadModelUnavailable:
        raise READ_MODEL_BEHIND.refused() from None


async def look_until_sure(
    services: Services, principal: Principal, look: Callable[[], Awaitable[_Answer | None]]
) -> _Answer | None:
    """What `look` finds; None once it must have found what was commanded before it was asked. Raises Refused."""
    found = await asked(look())
    if found is not None:
        return found
    own = partition_for(workspace_key(principal.workspace), services.settings.partitions)
    try:
        ends = await services.events.ends(Topic.COMMANDS)
    except LogUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    mine = [end for end in ends if end[1] == own]
    if not await services.reads.wait_until_passed(mine, services.settings.read_timeout_seconds):
        raise READ_MODEL_BEHIND.refused()
    return await asked(look())


class Pages:
    """The cursors of one list and filter. A cursor holds an offset: a whole number, or a text."""

    def __init__(self, services: Services, bound_to: Iterable[object]) -> None:
        self._cursors = services.cursors
        self._bound_to = repr(tuple(bound_to)).encode()

    def offset(self, cursor: str | None) -> int:
        """0 without a cursor. Raises Refused."""
        return int(self.offset_text(cursor) or 0)

    def offset_text(self, cursor: str | None) -> str | None:
        """Raises Refused."""
        if cursor is None:
            return None
        try:
            return self._cursors.decrypt(self._bound_to, cursor, clock.now_ms()).decode()
        except CursorInvalid as error:
            raise invalid([FieldError("cursor", str(error))]) from None

    def answer(self, items: list[Any], following: int | str | None) -> web.Response:
        """`items`: views, or texts of JSON as orjson.Fragment."""
        cursor = None
        if following is not None:
            cursor = self._cursors.encrypt(self._bound_to, str(following).encode(), clock.now_ms())
        body = orjson.dumps({"items": items, "nextCursor": cursor})
        return web.Response(body=body, content_type="application/json")


def _named(request: web.Request, services: Services, principal: Principal) -> list[RecordPosition]:
    written = ",".join(request.headers.getall(AFTER_HEADER, ()))
    texts = [text.strip() for text in written.split(",") if text.strip()]
    found = [position_from(services, principal, text) for text in texts[: POSITIONS_MAX + 1]]
    positions = [position for position in found if position is not None and position[0] == Topic.COMMANDS]
    if len(positions) != len(texts):
        raise invalid([FieldError(AFTER_HEADER, f"Must be up to {POSITIONS_MAX} values of Atlas-Position.")])
    return positions


SCOPES_MAX = 10_000


class Writes:
    """Mutable: the newest command of each workspace and environment that this gateway appended, for which its reads
    wait. All commands of a workspace are on one partition, so the newest one is enough. The oldest scopes are
    forgotten: projection has long passed them.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], RecordPosition] = {}

    def note(self, workspace: str, environment: str, appended: Appended) -> None:
        scope = workspace, environment
        before = self._newest.pop(scope, None)
        position = appended.topic, appended.partition, appended.offset
        self._newest[scope] = position if before is None else max(before, position)
        if len(self._newest) > SCOPES_MAX:
            del self._newest[next(iter(self._newest))]

    def newest(self, workspace: str, environment: str) -> list[RecordPosition]:
        found = self._newest.get((workspace, environment))
        return [] if found is None else [found]


WRITES: web.AppKey[Writes] = web.AppKey("work_writes", Writes)
