"""What a decision leaves on the log: commands for the control agent, the ledger's entries, the verdict. Pure.

All ids derive from the record, so what is decided again is told with the same ids and counts once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from domain.guardrails.values import Effects, Refused, Trip
from schemas.commands import DONE, REFUSED, FaultBody, Payload, ReplacePolicy, Suspend, Unsuspend, Warn
from schemas.entities import KillFlag
from schemas.guardrail_breaches import NOTICE, TRIP, Breach, CallSeen
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Mode
from schemas.ids import COMMAND, derived_id
from schemas.records import Audit, Command, Verdict
from schemas.topics import LIVE

if TYPE_CHECKING:
    from domain.guardrails.decide import Asked

AUDIT = "aud_"
GUARDRAILS = "guardrails"


@dataclass(frozen=True)
class Told:
    """What was decided, before it has the form of records."""

    body: bytes = b""
    refused: Refused | None = None
    flags: tuple[KillFlag, ...] = ()
    resumed: tuple[Guarded, ...] = ()
    stood: tuple[Guarded, ...] = ()
    reason: str = ""
    policy: GuardrailPolicy | None = None
    policy_version: int = 0
    trips: tuple[Trip, ...] = ()
    calls: int = 0
    duplicates: int = 0
    late: int = 0


def effects_of(asked: "Asked", told: Told) -> Effects:
    payloads = _payloads(told)
    commands = tuple(_command(asked, payload, index, told) for index, payload in enumerate(payloads))
    return Effects(
        commands=commands,
        audits=tuple(_audit(asked, trip, index) for index, trip in enumerate(told.trips)),
        verdict=None if commands else _verdict(asked, told),
        trips=told.trips,
        calls=told.calls,
        duplicates=told.duplicates,
        late=told.late,
    )


def _payloads(told: Told) -> list[Payload]:
    """The last answers who waits."""
    if told.policy is not None:
        return [ReplacePolicy(policy=told.policy, version=told.policy_version, answer=told.body)]
    if told.resumed:
        return [Unsuspend(reason=told.reason, guarded=list(told.resumed), stood=list(told.stood), answer=told.body)]
    warnings = [trip.warning for trip in told.trips if trip.warning is not None]
    warn: list[Payload] = [Warn(warnings=warnings, answer=told.body)] if warnings else []
    return warn + [
        Suspend(
            layer=flag.layer,
            reason=flag.reason,
            expires_ms=flag.expires_ms,
            scope=flag.scope,
            scope_id=flag.scope_id,
            set_by=flag.set_by,
            answer=told.body,
        )
        for flag in told.flags
    ]


def _command(asked: "Asked", payload: Payload, index: int, told: Told) -> Command:
    record = asked.record
    trips = bool(told.trips)
    return Command(
        id=derived_id(COMMAND, asked.append_ms, *_place(asked, index)),
        kind=payload.kind,
        workspace=record.workspace,
        environment=LIVE,
        payload=payload.encode(),
        surface="burn",
        actor=GUARDRAILS if trips else record.actor,
        route=record.route,
        request_id=record.request_id,
        address="" if trips else record.address,
    )


def _audit(asked: "Asked", trip: Trip, index: int) -> Audit:
    record, suspends = asked.record, trip.mode is Mode.ENFORCE
    return Audit(
        id=derived_id(AUDIT, asked.append_ms, *_place(asked, index)),
        workspace=record.workspace,
        environment=LIVE,
        actor=GUARDRAILS,
        action=TRIP if suspends else NOTICE,
        resource=f"layer/{trip.layer}",
        route=record.route,
        request_id=record.request_id,
        at_ms=asked.append_ms,
        outcome="suspended" if suspends else "warned",
        details=msgspec.json.encode(_breach(trip)),
    )


def _breach(trip: Trip) -> Breach:
    found = trip.found
    return Breach(
        layer=trip.layer,
        mode=trip.mode,
        reason=found.reason,
        observed=found.observed,
        threshold=found.threshold,
        scope=found.guarded.scope,
        scope_id=found.guarded.id,
        key_id=trip.key_id,
        session_id=trip.session_id,
        fingerprint=trip.fingerprint,
        calls=[CallSeen(at_ms, f"{number:016x}", tokens, retries) for at_ms, number, tokens, retries in found.calls],
    )


def _verdict(asked: "Asked", told: Told) -> "tuple[int, Verdict] | None":
    reply = asked.reply
    if reply is None:
        return None
    refused = told.refused
    if refused is None:
        return reply.partition, Verdict(correlation=reply.correlation, outcome=DONE, status=200, body=told.body)
    body = msgspec.json.encode(FaultBody(code=refused.code, message=refused.message))
    verdict = Verdict(correlation=reply.correlation, outcome=REFUSED, status=refused.status, body=body)
    return reply.partition, verdict


def _place(asked: "Asked", index: int) -> tuple[bytes, ...]:
    return asked.record.workspace.encode(), asked.record.id.encode(), str(asked.offset).encode(), str(index).encode()
