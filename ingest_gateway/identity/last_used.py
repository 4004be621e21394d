"""When keys were last used: noted for each request in memory, reported to the control process about once a minute.

So `last_used_at` is about a minute behind, costs a request nothing, and a gateway that dies loses its last minute of
it. One record a workspace and minute, however many requests there were.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice

from domain.security.callers import CallerContext
from ingest_gateway.log.event_log import EventLog, LogBusy, LogUnavailable
from operations.logs import event
from operations.new_commands import new_command
from schemas.commands import command_key
from schemas.commands.keys import TouchKeys
from schemas.topics import Topic

log = logging.getLogger("atlas.identity")
TELL_SECONDS = 60.0
KEYS_A_RECORD_MAX = 500
ACTOR = "gateway"
NS_PER_MS = 1_000_000


class LastUsed:
    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._used_ns: dict[tuple[str, str], int] = {}

    def note(self, workspace: str, key_id: str) -> None:
        self._used_ns[workspace, key_id] = self._now_ns()

    def take(self) -> Iterator[tuple[str, TouchKeys]]:
        """All that was noted since, by workspace; it is forgotten here."""
        used_ns, self._used_ns = self._used_ns, {}
        by_workspace: dict[str, dict[str, int]] = {}
        for (workspace, key_id), last_ns in used_ns.items():
            by_workspace.setdefault(workspace, {})[key_id] = last_ns // NS_PER_MS
        for workspace, keys in by_workspace.items():
            items = iter(keys.items())
            while some := dict(islice(items, KEYS_A_RECORD_MAX)):
                yield workspace, TouchKeys(used_ms=some)

    async def report(self, events: EventLog) -> None:
        """What can't be reported now is not reported later: the next minute has newer times."""
        for workspace, payload in self.take():
            now_ms = self._now_ns() // NS_PER_MS
            command = new_command(
                payload, workspace=workspace, environment="live", caller=CallerContext(ACTOR), now_ms=now_ms
            )
            try:
                await events.append(Topic.COMMANDS, command_key(command), command.encode(), [])
            except (LogBusy, LogUnavailable) as error:
                event(log, "keys.use_not_told", logging.WARNING, reason=type(error).__name__)
                return

    async def keep_reporting(self, events: EventLog) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.report(events)
