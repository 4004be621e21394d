"""Which command of each workspace and environment this gateway appended last: what its reads wait for."""

from aiohttp import web

from ingest_gateway.log.event_log import Appended
from ingest_gateway.read_model import Position

SCOPES_MAX = 10_000


class Writes:
    """All commands of a workspace stand on one partition, so its newest covers the others. Forgets the oldest scopes:
    by then projection has long passed them.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], Position] = {}

    def note(self, workspace: str, environment: str, appended: Appended) -> None:
        scope = workspace, environment
        before = self._newest.pop(scope, None)
        position = appended.topic, appended.partition, appended.offset
        self._newest[scope] = position if before is None else max(before, position)
        if len(self._newest) > SCOPES_MAX:
            del self._newest[next(iter(self._newest))]

    def newest(self, workspace: str, environment: str) -> list[Position]:
        found = self._newest.get((workspace, environment))
        return [] if found is None else [found]


WRITES: web.AppKey[Writes] = web.AppKey("work_writes", Writes)
