"""The rules of replays: which replays may start, how their progress is recorded, and how they end.

processors/lifecycle does the work of a replay and reports its progress (`replay.moved`). A replay's number is the
workspace's count of replays, so the later of two replays of one event has the higher number.
"""

import msgspec

from domain.control.handlers import Handlers, NoticeHandler, RequestHandler
from domain.control.reach import workflows_exist
from domain.control.values import (
    CommandChanges,
    CommandEffects,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    absent,
    body_of,
)
from schemas.commands.replays import CancelReplay, ReplayMoved, StartReplay
from schemas.entities import Replay, ReplayStatus
from schemas.ids import REPLAY, derived_id

RUNNING_MAX = 1_000


def start(facts: Facts, request: CommandRequest, payload: StartReplay) -> Done:
    workflows_exist(facts, request, "workflows", payload.workflows)
    replay, changes = begun(facts, request, payload)
    return Done(202, changes, f"replay/{replay.id}", body_of(replay))


def begun(facts: Facts, request: CommandRequest, payload: StartReplay) -> tuple[Replay, CommandChanges]:
    """The new replay and its changes. Raises CommandRefused (409)."""
    command = request.command
    workspace = facts.workspace(command.workspace)
    assert workspace is not None  # asked before the kind's own rules
    if facts.replays_running(command.workspace) >= RUNNING_MAX:
        message = f"{RUNNING_MAX} replays are running, which is as many as may. Please start it later."
        raise CommandRefused(409, "replay_limit_reached", message)
    counted = msgspec.structs.replace(workspace, replays=workspace.replays + 1)
    replay = Replay(
        id=derived_id(REPLAY, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        number=counted.replays,
        **msgspec.structs.asdict(payload),
    )
    return replay, CommandChanges(put=(counted.to_entity(request.version), replay.to_entity(request.version)))


def cancel(facts: Facts, request: CommandRequest, payload: CancelReplay) -> Done:
    command = request.command
    before = facts.replay(payload.id)
    mine = before is not None and (before.workspace, before.environment) == (command.workspace, command.environment)
    if before is None or not mine:
        raise absent("replay_not_found")
    if before.status is not ReplayStatus.RUNNING:
        return Done(200, CommandChanges(), f"replay/{before.id}", body_of(before))
    after = msgspec.structs.replace(before, status=ReplayStatus.CANCELLED, ended_ms=request.append_ms)
    return Done(200, CommandChanges(put=(after.to_entity(request.version),)), f"replay/{after.id}", body_of(after))


def moved(facts: Facts, request: CommandRequest, payload: ReplayMoved) -> CommandEffects:
    """Records progress, never backwards: two workers may have had the replay for a moment.

    A replay of one event is removed when it is done. Events sent during cancellation still count.
    """
    before = facts.replay(payload.id)
    if before is None or before.workspace != request.command.workspace or before.status is ReplayStatus.COMPLETED:
        return CommandEffects()
    if (payload.cursor_ms, payload.cursor_id) < (before.cursor_ms, before.cursor_id):
        return CommandEffects()
    if payload.ended and before.event_id:
        return CommandEffects(changes=CommandChanges(gone=(before.to_entity(request.version),)))
    after = msgspec.structs.replace(
        before,
        cursor_ms=payload.cursor_ms,
        cursor_id=payload.cursor_id,
        replayed=payload.replayed,
        skipped=payload.skipped,
    )
    if payload.ended and before.status is ReplayStatus.RUNNING:
        after = msgspec.structs.replace(after, status=ReplayStatus.COMPLETED, ended_ms=request.append_ms)
    return CommandEffects(changes=CommandChanges(put=(after.to_entity(request.version),)))


HANDLERS: Handlers = {
    StartReplay: RequestHandler(start),
    CancelReplay: RequestHandler(cancel),
    ReplayMoved: NoticeHandler(moved),
}
