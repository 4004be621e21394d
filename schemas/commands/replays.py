"""Commands about replays of deliveries."""

from typing import ClassVar

from schemas.commands.fields import WorkflowId
from schemas.commands.payload import Payload


class StartReplay(Payload, frozen=True, kw_only=True):
    """Of one event (of `stream`), or of a stream's events in a time range; see `schemas.entities.Replay`.

    Answer 202: `Replay`. 400: it names workflows that don't exist. 409 `replay_limit_reached`.
    """

    kind: ClassVar[str] = "replay.start"
    event_id: str = ""
    stream: str = ""
    from_ms: int = 0
    to_ms: int = 0
    event_status: str | None = None
    type: str | None = None
    workflows: list[WorkflowId] = []


class CancelReplay(Payload, frozen=True, kw_only=True):
    """Deliveries already sent stay sent; a replay that has ended stays as it is. Answer 200: `Replay`. 404
    `replay_not_found`.
    """

    kind: ClassVar[str] = "replay.cancel"
    id: str


class ReplayMoved(Payload, frozen=True, kw_only=True):
    """From the lifecycle process: how far a replay is. No answer, no audit record."""

    kind: ClassVar[str] = "replay.moved"
    id: str
    cursor_ms: int
    cursor_id: str
    replayed: int
    skipped: int
    ended: bool
