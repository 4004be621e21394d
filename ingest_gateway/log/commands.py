"""Asks the control agent to decide a command: append to `commands`, wait for its verdict."""

import asyncio
from collections.abc import Callable

from ingest_gateway.log.event_log import Appended, EventLog, LogUnavailable, StorageUnknown
from ingest_gateway.log.verdicts import VerdictWaiter
from schemas.records import Command, Verdict
from schemas.replies import REPLY_HEADER
from schemas.topics import Topic


class CommandClient:
    def __init__(self, events: EventLog, verdicts: VerdictWaiter, *, timeout_seconds: float) -> None:
        self._events = events
        self._verdicts = verdicts
        self._timeout_seconds = timeout_seconds

    async def submit(
        self,
        command: Command,
        *,
        timeout_seconds: float | None = None,
        on_stored: Callable[[Appended], None] = lambda appended: None,
    ) -> Verdict:
        """The verdict, done or refused. Raises LogBusy (nothing sent), LogUnavailable, VerdictLate (may be done).

        `on_stored` is called with the command's position on the log, if the broker says it.
        """
        limit_seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = asyncio.get_running_loop().time() + limit_seconds
        with self._verdicts.expect() as expected:
            appended = self._events.append(
                Topic.COMMANDS,
                command.workspace.encode(),
                command.encode(),
                [(REPLY_HEADER, expected.reply.encode())],
            )
            try:
                async with asyncio.timeout_at(deadline):
                    stored = await appended
            except TimeoutError as error:
                raise LogUnavailable("the command was not confirmed as stored") from error
            except StorageUnknown:
                pass  # its verdict would prove that it is
            else:
                on_stored(stored)
            return await expected.verdict(max(0.001, deadline - asyncio.get_running_loop().time()))
