"""Records the guardrails' flags and policies on `control`, where every gateway reads them.

Nothing is decided here. The guardrail agent decides an organization's changes in the order of `burn.telemetry` and
sends one command for each.
"""

from collections.abc import Iterable

from domain.control.handlers import Handlers, RequestHandler
from domain.control.values import CommandChanges, CommandRequest, Done, Facts
from domain.events.spine_events import STREAM
from domain.events.system_events import SystemEvent
from domain.guardrails.notices import LIVE, resumed, suspended, warned
from schemas.commands.guardrails import ReplacePolicy, ResumeGuarded, Suspend, Warn
from schemas.entities import KillFlag, Policy, StreamStatus
from schemas.guardrail_policy import Layer


def suspend(facts: Facts, request: CommandRequest, payload: Suspend) -> Done:
    flag = KillFlag(
        id=request.command.workspace,
        workspace=request.command.workspace,
        created_ms=request.append_ms,
        layer=payload.layer,
        reason=payload.reason,
        expires_ms=payload.expires_ms,
        scope=payload.scope,
        scope_id=payload.scope_id,
        set_by=payload.set_by,
    )
    changes = CommandChanges(put=(flag.to_entity(request.version),), events=_notices(facts, request, [suspended(flag)]))
    return Done(200, changes, f"kill_flag/{flag.entity_id}", payload.answer)


def resume(facts: Facts, request: CommandRequest, payload: ResumeGuarded) -> Done:
    workspace = request.command.workspace
    flags = [
        KillFlag(id=workspace, workspace=workspace, created_ms=0, layer="", reason="", scope=scope, scope_id=scope_id)
        for scope, scope_id in payload.guarded
    ]
    events = [resumed(workspace, request.append_ms, guarded, payload.reason) for guarded in payload.stood]
    gone = tuple(flag.to_entity(request.version) for flag in flags)
    changes = CommandChanges(gone=gone, events=_notices(facts, request, events))
    return Done(200, changes, f"kill_flag/{workspace}", payload.answer)


def warn(facts: Facts, request: CommandRequest, payload: Warn) -> Done:
    workspace = request.command.workspace
    events = [warned(workspace, request.append_ms, warning) for warning in payload.warnings]
    changes = CommandChanges(events=_notices(facts, request, events))
    return Done(200, changes, f"layer/{Layer.FINANCIAL_LIMITS}", payload.answer)


def replace_policy(facts: Facts, request: CommandRequest, payload: ReplacePolicy) -> Done:
    workspace = request.command.workspace
    policy = Policy(
        id=workspace, workspace=workspace, created_ms=request.append_ms, policy=payload.policy, version=payload.version
    )
    return Done(200, CommandChanges(put=(policy.to_entity(request.version),)), f"policy/{workspace}", payload.answer)


def _notices(facts: Facts, request: CommandRequest, events: Iterable[SystemEvent]) -> tuple[SystemEvent, ...]:
    """The events for the organization's spine; none if it has no spine."""
    stream = facts.stream_named(request.command.workspace, LIVE, STREAM)
    return tuple(events) if stream is not None and stream.status is StreamStatus.ACTIVE else ()


HANDLERS: Handlers = {
    Suspend: RequestHandler(suspend),
    ResumeGuarded: RequestHandler(resume),
    Warn: RequestHandler(warn),
    ReplacePolicy: RequestHandler(replace_policy),
}
