"""The Faust shell of the guardrails: reads `burn.telemetry`, lets out what was decided, then saves what is known now.

In this order: what a batch causes is confirmed before its state is saved. A crash between the two has it decided again,
from the same state and by the same times, with the same ids: told once, whoever reads it. Saved first, a crash could
keep a flag from ever being told. An organization's records have one order, so nothing else can come between them.
"""

import asyncio
import logging
from collections.abc import Iterable

from domain.guardrails.decide import Asked, decide
from domain.guardrails.state import KEPT_SECONDS, ORGANIZATIONS, SPEND, WINDOWS, GuardState
from domain.guardrails.values import Effects
from operations.logs import event
from processors.guardrails import metrics
from processors.runtime.batches import Batch
from processors.runtime.runtime import Runtime
from processors.runtime.work import Work
from schemas.codec import Undecodable
from schemas.commands import command_key
from schemas.log_records import LogRecord
from schemas.records import Telemetry
from schemas.replies import REPLY_HEADER, ReplyTo, decode_reply
from schemas.telemetry import Payload, Reserve, decode_payload
from schemas.topics import Topic

log = logging.getLogger(__name__)
CALLS_AT_ONCE = 2_000
"""After so many the loop has its turn: a batch may hold a hundred thousand."""


class GuardrailsAgent:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def handle(self, batch: Batch) -> None:
        work, told = self._runtime.begin(batch), self._runtime.begin(batch)
        state = GuardState(*(work.table(name) for name in (ORGANIZATIONS, WINDOWS, SPEND)))
        effects, calls = [], 0
        for record in batch.records:
            effects.append(self._one(told, state, record))
            calls += effects[-1].calls
            if calls >= CALLS_AT_ONCE:
                calls = 0
                await asyncio.sleep(0)
        await told.commit()
        state.save()
        await work.commit()
        note(effects)

    def _one(self, told: Work, state: GuardState, record: LogRecord) -> Effects:
        try:
            asked = read(record)
        except Undecodable as error:
            told.dead_letter(record, "unreadable", str(error))
            return Effects()
        try:
            effects = decide(state, asked)
        except Exception as error:
            log.exception("telemetry.failed", extra={"facts": {"record": asked.record.id, "kind": asked.record.kind}})
            told.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
            return Effects()
        emit(told, effects, asked.reply)
        if isinstance(asked.payload, Reserve):
            granted = effects.verdict is None or effects.verdict[1].status == 200
            metrics.BUDGETS.labels("granted" if granted else "refused").inc()
        return effects


def read(record: LogRecord) -> Asked:
    """Raises Undecodable."""
    telemetry = Telemetry.decode(record.value)
    payload: Payload = decode_payload(telemetry)
    return Asked(telemetry, payload, record.timestamp, record.offset, decode_reply(record.header(REPLY_HEADER)))


def emit(told: Work, effects: Effects, reply: ReplyTo | None) -> None:
    """Who waits is answered by the last command's verdict, where there is a command."""
    for index, command in enumerate(effects.commands, 1):
        headers = [(REPLY_HEADER, reply.encode())] if reply is not None and index == len(effects.commands) else None
        told.produce(Topic.COMMANDS, command.encode(), key=command_key(command), headers=headers)
    for audit in effects.audits:
        told.produce(Topic.AUDIT, audit.encode(), key=audit.workspace.encode())
    if effects.verdict is not None:
        partition, verdict = effects.verdict
        told.produce(Topic.VERDICTS, verdict.encode(), partition=partition)


def note(effects: Iterable[Effects]) -> None:
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


def declare(runtime: Runtime) -> None:
    """Adds the agent and its tables to a process that is being built."""
    agent = GuardrailsAgent(runtime)
    for name, kept_seconds in KEPT_SECONDS.items():
        runtime.table(name, retention_seconds=kept_seconds)
    runtime.agent("guardrails", [Topic.BURN_TELEMETRY], agent.handle)
