"""Reports to the guardrails: appends to `burn.telemetry`, and awaits their verdict (schemas/telemetry.py)."""

import asyncio
from collections.abc import Sequence

from domain.security.callers import CallerContext
from ingest_gateway.log.event_log import Appended, EventLog, LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import VerdictLate, VerdictWaiter
from operations import clock
from operations.random_ids import random_id
from schemas.records import Telemetry, Verdict
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.telemetry import TelemetryForm, encode_payload, telemetry_key
from schemas.topics import Topic

TELEMETRY = "tel_"


class TelemetryClient:
    def __init__(
        self, events: EventLog, verdicts: VerdictWaiter, *, append_seconds: float, verdict_seconds: float
    ) -> None:
        self._events = events
        self._verdicts = verdicts
        self._append_seconds = append_seconds
        self._verdict_seconds = verdict_seconds

    def append(
        self, workspace: str, caller: CallerContext, form: TelemetryForm, reply: ReplyTo | None = None
    ) -> asyncio.Future[Appended]:
        """Queues one record and waits for nothing. Raises LogBusy, LogUnavailable, as does the future."""
        record = Telemetry(
            id=random_id(TELEMETRY, clock.now_ms()),
            kind=form.kind,
            workspace=workspace,
            payload=encode_payload(form),
            actor=caller.actor,
            route=caller.route,
            request_id=caller.request_id,
            address=caller.address,
        )
        headers = [] if reply is None else [(REPLY_HEADER, reply.encode())]
        return self._events.append(Topic.BURN_TELEMETRY, telemetry_key(workspace), record.encode(), headers)

    async def store(self, workspace: str, caller: CallerContext, forms: Sequence[TelemetryForm]) -> Verdict | None:
        """All of them confirmed as stored, in this order, and the verdict on the last; None when it doesn't come in
        time, or too many wait. Raises LogBusy with nothing sent, LogUnavailable.
        """
        if not self._events.has_room(len(forms)):
            raise LogBusy("the local queue to the log is full")
        try:
            expected = self._verdicts.expect()
        except LogBusy:
            await self._stored([self.append(workspace, caller, form) for form in forms])
            return None
        with expected:
            started = [self.append(workspace, caller, form) for form in forms[:-1]]
            started.append(self.append(workspace, caller, forms[-1], expected.reply))
            await self._stored(started)
            try:
                return await expected.verdict(self._verdict_seconds)
            except VerdictLate:
                return None

    async def submit(self, workspace: str, caller: CallerContext, form: TelemetryForm) -> Verdict:
        """The verdict, done or refused. Raises LogBusy (nothing sent), LogUnavailable, VerdictLate (may be done)."""
        with self._verdicts.expect() as expected:
            await self._stored([self.append(workspace, caller, form, expected.reply)])
            return await expected.verdict(self._verdict_seconds)

    async def _stored(self, appended: Sequence["asyncio.Future[Appended]"]) -> None:
        try:
            async with asyncio.timeout(self._append_seconds):
                await asyncio.gather(*appended)
        except TimeoutError as error:
            raise LogUnavailable("not confirmed as stored in time") from error
