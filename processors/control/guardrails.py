"""Flags and policies that the guardrails have decided on, put where every gateway reads them. Pure.

What is decided here is nothing: the order of an organization's changes is that of `burn.telemetry`, and its owner asks
for each by one command.
"""

from processors.control.values import Asked, Changes, Done
from schemas.commands import ReplacePolicy, Suspend, Unsuspend
from schemas.entities import KillFlag, Policy


def suspend(asked: Asked, payload: Suspend) -> Done:
    flag = KillFlag(
        id=asked.command.workspace,
        workspace=asked.command.workspace,
        created_ms=asked.append_ms,
        layer=payload.layer,
        reason=payload.reason,
        expires_ms=payload.expires_ms,
        scope=payload.scope,
        scope_id=payload.scope_id,
        set_by=payload.set_by,
    )
    return Done(200, Changes(put=(flag.to_entity(asked.version),)), f"kill_flag/{flag.entity_id}", payload.answer)


def resume(asked: Asked, payload: Unsuspend) -> Done:
    workspace = asked.command.workspace
    flags = [
        KillFlag(id=workspace, workspace=workspace, created_ms=0, layer="", reason="", scope=scope, scope_id=scope_id)
        for scope, scope_id in payload.guarded
    ]
    return Done(
        200,
        Changes(gone=tuple(flag.to_entity(asked.version) for flag in flags)),
        f"kill_flag/{workspace}",
        payload.answer,
    )


def replace_policy(asked: Asked, payload: ReplacePolicy) -> Done:
    workspace = asked.command.workspace
    policy = Policy(
        id=workspace, workspace=workspace, created_ms=asked.append_ms, policy=payload.policy, version=payload.version
    )
    return Done(200, Changes(put=(policy.to_entity(asked.version),)), f"policy/{workspace}", payload.answer)
