"""What a decision writes to the log: commands for the control agent, the ledger's entries, the verdict.

All ids derive from the record, so a record that is decided again causes the same ids, and its effects count once.
"""

import msgspec

from domain.guardrails.values import GUARDRAILS, GuardDecision, GuardEffects, GuardRequest, Trip
from schemas.commands.answers import DONE, REFUSED, RefusalBody
from schemas.commands.guardrails import ReplacePolicy, ResumeGuarded, Suspend, Warn
from schemas.commands.payload import Payload
from schemas.guardrail_breaches import NOTICE, TRIP, Breach, CallSeen
from schemas.guardrail_policy import Mode
from schemas.ids import AUDIT, COMMAND, derived_id
from schemas.records import Audit, Command, Verdict
from schemas.topics import LIVE


def effects_of(request: GuardRequest, decision: GuardDecision) -> GuardEffects:
    payloads = _payloads(decision)
    commands = tuple(_command(request, payload, index, decision) for index, payload in enumerate(payloads))
    return GuardEffects(
        commands=commands,
        audits=tuple(_audit(request, trip, index) for index, trip in enumerate(decision.trips)),
        verdict=None if commands else _verdict(request, decision),
        trips=decision.trips,
        calls=decision.calls,
        duplicates=decision.duplicates,
        late=decision.late,
    )


def _payloads(decision: GuardDecision) -> list[Payload]:
    """The last one carries the answer for the waiting request."""
    if decision.policy is not None:
        return [ReplacePolicy(policy=decision.policy, version=decision.policy_version, answer=decision.body)]
    if decision.resumed:
        return [
            ResumeGuarded(
                reason=decision.reason, guarded=list(decision.resumed), stood=list(decision.stood), answer=decision.body
            )
        ]
    warnings = [trip.warning for trip in decision.trips if trip.warning is not None]
    warn: list[Payload] = [Warn(warnings=warnings, answer=decision.body)] if warnings else []
    return warn + [
        Suspend(
            layer=flag.layer,
            reason=flag.reason,
            expires_ms=flag.expires_ms,
            scope=flag.scope,
            scope_id=flag.scope_id,
            set_by=flag.set_by,
            answer=decision.body,
        )
        for flag in decision.flags
    ]


def _command(request: GuardRequest, payload: Payload, index: int, decision: GuardDecision) -> Command:
    record = request.record
    trips = bool(decision.trips)
    return Command(
        id=derived_id(COMMAND, request.append_ms, *_id_parts(request, index)),
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


def _audit(request: GuardRequest, trip: Trip, index: int) -> Audit:
    record, suspends = request.record, trip.mode is Mode.ENFORCE
    return Audit(
        id=derived_id(AUDIT, request.append_ms, *_id_parts(request, index)),
        workspace=record.workspace,
        environment=LIVE,
        actor=GUARDRAILS,
        action=TRIP if suspends else NOTICE,
        resource=f"layer/{trip.layer}",
        route=record.route,
        request_id=record.request_id,
        at_ms=request.append_ms,
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


def _verdict(request: GuardRequest, decision: GuardDecision) -> tuple[int, Verdict] | None:
    reply = request.reply
    if reply is None:
        return None
    refused = decision.refused
    if refused is None:
        return reply.partition, Verdict(correlation=reply.correlation, outcome=DONE, status=200, body=decision.body)
    body = msgspec.json.encode(RefusalBody(code=refused.code, message=refused.message))
    verdict = Verdict(correlation=reply.correlation, outcome=REFUSED, status=refused.status, body=body)
    return reply.partition, verdict


def _id_parts(request: GuardRequest, index: int) -> tuple[bytes, ...]:
    return (
        request.record.workspace.encode(),
        request.record.id.encode(),
        str(request.offset).encode(),
        str(index).encode(),
    )
