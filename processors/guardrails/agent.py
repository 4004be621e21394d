"""The Faust shell of the guardrails: reads `burn.telemetry`, publishes what was decided, then saves the new state.

The order matters: what a batch causes is confirmed before its state is saved. After a crash between the two the batch
is decided again, from the same state and by the same times, with the same ids, so readers count its effects once. If
the state were saved first, a crash could lose a flag for ever. An organization's records are on one partition, so no
other record can come between the two.
"""

import asyncio
import logging
from collections.abc import Iterable

from domain.guardrails.decide import decide
from domain.guardrails.state import KEPT_SECONDS, ORGANIZATIONS, SPEND, WINDOWS, GuardState
from domain.guardrails.values import GuardEffects, GuardRequest
from operations.logs import event
from processors.guardrails import metrics
from processors.runtime.agent import Agent, AgentRuntime, AgentSpec, Batch, Work
from schemas.codec import Undecodable
from schemas.commands import command_key
from schemas.log_records import LogRecord
from schemas.records import Telemetry
from schemas.replies import REPLY_HEADER, ReplyTo, decode_reply
from schemas.telemetry import Reserve, TelemetryPayload, decode_payload
from schemas.topics import Topic

log = logging.getLogger(__name__)
CALLS_AT_ONCE = 2_000
"""After so many calls the event loop gets to run: a batch may hold a hundred thousand."""


class GuardrailsAgent(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime

    async def handle(self, batch: Batch) -> None:
        work, outputs = self._runtime.begin(batch), self._runtime.begin(batch)
        state = GuardState(*(work.table(name) for name in (ORGANIZATIONS, WINDOWS, SPEND)))
        effects, calls = [], 0
        for record in batch.records:
            effects.append(self._one(outputs, state, record))
            calls += effects[-1].calls
            if calls >= CALLS_AT_ONCE:
                calls = 0
                await asyncio.sleep(0)
        await outputs.commit()
        state.save()
        await work.commit()
        note(effects)

    def _one(self, outputs: Work, state: GuardState, record: LogRecord) -> GuardEffects:
        try:
            request = read(record)
        except Undecodable as error:
            outputs.dead_letter(record, "unreadable", str(error))
            return GuardEffects()
        try:
            effects = decide(state, request)
        except Exception as error:
            log.exception(
                "telemetry.failed", extra={"facts": {"record": request.record.id, "kind": request.record.kind}}
            )
            outputs.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
            return GuardEffects()
        emit(outputs, effects, request.reply)
        if isinstance(request.payload, Reserve):
            granted = effects.verdict is None or effects.verdict[1].status == 200
            metrics.BUDGETS.labels("granted" if granted else "refused").inc()
        return effects


def read(record: LogRecord) -> GuardRequest:
    """Raises Undecodable."""
    telemetry = Telemetry.decode(record.value)
    payload: TelemetryPayload = decode_payload(telemetry)
    return GuardRequest(telemetry, payload, record.timestamp, record.offset, decode_reply(record.header(REPLY_HEADER)))


def emit(outputs: Work, effects: GuardEffects, reply: ReplyTo | None) -> None:
    """The verdict of the last command answers the waiting request, where there is a command."""
    for index, command in enumerate(effects.commands, 1):
        headers = [(REPLY_HEADER, reply.encode())] if reply is not None and index == len(effects.commands) else None
        outputs.produce(Topic.COMMANDS, command.encode(), key=command_key(command), headers=headers)
    for audit in effects.audits:
        outputs.produce(Topic.AUDIT, audit.encode(), key=audit.workspace.encode())
    if effects.verdict is not None:
        partition, verdict = effects.verdict
        outputs.produce(Topic.VERDICTS, verdict.encode(), partition=partition)


def note(effects: Iterable[GuardEffects]) -> None:
    for one in effects:
        if one.calls or one.duplicates:
            metrics.CALLS.labels("in_time").inc(one.calls - one.late)
            metrics.CALLS.labels("late").inc(one.late)
            metrics.DUPLICATES.inc(one.duplicates)
        for trip, audit in zip(one.trips, one.audits, strict=True):
            metrics.TRIPS.labels(trip.layer, trip.mode).inc()
            if trip.warning is not None:
                metrics.WARNINGS.labels(str(trip.warning.percent)).inc()
            event(
                log,
                "guardrail.tripped",
                workspace=audit.workspace,
                layer=trip.layer,
                mode=trip.mode,
                reason=trip.found.reason,
            )


def build(runtime: AgentRuntime) -> None:
    """Adds the agent to the process `control`."""
    runtime.add(GuardrailsAgent(runtime), AgentSpec("guardrails", [Topic.BURN_TELEMETRY], tables=KEPT_SECONDS))
