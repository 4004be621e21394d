"""What a command is to the control agent, what it looks up to decide one, and what a decision comes to. Pure values.

A `CommandAnswer` keeps all that its command caused, so a record that is read again causes the same effects and is not
decided again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from domain.events.system_events import SystemEvent
from schemas.commands.answers import DONE, FaultBody
from schemas.commands.payload import Payload
from schemas.entities import EventType, Key, Replay, State, Stream, Subscription, WebhookEndpoint, Workflow, Workspace
from schemas.errors import FieldError
from schemas.records import Audit, Command, Delivery, Entity, Verdict
from schemas.replies import ReplyTo
from schemas.topics import RouteTopic, StreamTopic
from schemas.work import Project, Task

TokenHash = Callable[[str, str, str], str]
"""Key kind, environment and key id to the hash under which the key's token is looked up."""
WAITING = "waiting"  # taken, but its answer comes later: a stream whose topic is being created


@dataclass(frozen=True)
class CommandRequest:
    """A command as it stands on the log. `offset` orders all commands of a partition and is an entity's version."""

    command: Command
    payload: Payload
    append_ms: int
    offset: int
    reply: ReplyTo | None = None

    @property
    def version(self) -> int:
        return self.offset + 1


class TopicTask(StrEnum):
    """What is done to a Kafka topic beside the batches."""

    CREATE = "create"
    ALTER = "alter"  # its retention
    EXPIRE = "expire"  # delete it: its stream was deleted and its retention is over


class TopicWork(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is not finished; one a stream and task. `due_ms`: not before (0: now).

    `workflow_id`: it is the topic of this workflow, `stream_id` is then the topic's whole name, `name` its last part.
    """

    task: TopicTask
    stream_id: str
    workspace: str
    environment: str
    name: str
    retention_days: int
    command_id: str
    since_ms: int
    topic_id: str = ""
    due_ms: int = 0
    workflow_id: str = ""

    @property
    def topic(self) -> StreamTopic | RouteTopic:
        kind = RouteTopic if self.workflow_id else StreamTopic
        return kind(self.workspace, self.environment, self.name)


class CommandChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a command does to the table, and the webhooks and events that it has sent. `gone` holds each removed entity
    as it was, with the removal's version. `items` are those of the topic `items` (schemas/work.py).
    """

    put: tuple[Entity, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    gone: tuple[Entity, ...] = ()
    items: tuple[Entity, ...] = ()
    items_gone: tuple[Entity, ...] = ()
    events: tuple[SystemEvent, ...] = ()
    started: tuple[TopicWork, ...] = ()
    finished: tuple[TopicWork, ...] = ()


NO_CHANGES = CommandChanges()


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to; kept for 24 hours by log time.

    `version` orders answers as the log does. `asked`: the payload's hash. `replies`: who gets the verdict
    besides the one that the command's record names. `freed`: the version from which the key means nothing any more.
    """

    command_id: str
    version: int
    at_ms: int
    outcome: str
    status: int = 0
    body: bytes = b""
    scope: str | None = None
    asked: str = ""
    freed: int = 0
    replies: tuple[ReplyTo, ...] = ()
    changes: CommandChanges = NO_CHANGES
    audit: Audit | None = None

    def verdict(self, reply: ReplyTo) -> tuple[int, Verdict]:
        """The partition of `verdicts` and the record."""
        verdict = Verdict(correlation=reply.correlation, outcome=self.outcome, status=self.status, body=self.body)
        return reply.partition, verdict


@dataclass(frozen=True)
class CommandEffects:
    """All that one record causes. Answers are stored before anything else, so that no change stands without one."""

    answers: tuple[CommandAnswer, ...] = ()
    changes: CommandChanges = NO_CHANGES
    verdicts: tuple[tuple[int, Verdict], ...] = ()
    audit: Audit | None = None


@dataclass(frozen=True)
class Done:
    """A decision that stands; answered at once, or later (status 0)."""

    status: int
    changes: CommandChanges
    resource: str
    body: bytes = b""
    outcome: str = DONE


class CommandRefused(Exception):
    """A decision against it: why, for the one who asked."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        errors: tuple[FieldError, ...] = (),
        facts: dict[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        details = {"errors": list(errors)} if errors else {}
        self.fault = FaultBody(code=code, message=message, details=details, facts=facts or {})

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.fault)


_ABSENT = {
    "stream_not_found": "No such stream exists in this workspace and environment, or the key is not scoped to it.",
    "workflow_not_found": "There is no such workflow.",
    "webhook_endpoint_not_found": "There is no webhook endpoint with this id.",
    "key_not_found": "There is no key with this id.",
    "replay_not_found": "There is no replay with this id.",
    "event_not_found": "There is no event with this id.",
}


def absent(code: str) -> CommandRefused:
    """What was asked about is not there, or out of the asking key's reach: in the words that gateways have for it."""
    return CommandRefused(404, code, _ABSENT[code])


def key_reused() -> CommandRefused:
    message = "The idempotency key was used for another request in the last 24 hours."
    return CommandRefused(409, "idempotency_key_reused", message)


class Facts(Protocol):
    """What a decision may look up; all of it lies in the partition of the command's workspace."""

    def workspace(self, workspace: str) -> Workspace | None: ...

    def key(self, key_id: str) -> Key | None: ...

    def keys_counted(self, workspace: str) -> int:
        """Keys that are not revoked, in both environments."""
        ...

    def stream(self, stream_id: str) -> Stream | None: ...

    def stream_named(self, workspace: str, environment: str, name: str) -> Stream | None: ...

    def streams_counted(self, workspace: str) -> int:
        """Streams being created or active, in both environments, system streams not counted."""
        ...

    def workflow(self, workspace: str, environment: str, workflow_id: str) -> Workflow | None: ...

    def routed_by(self, workspace: str, environment: str, workflow_id: str) -> set[str]:
        """Names of the streams whose routes name the workflow; of deleted ones too."""
        ...

    def route_topic(self, workspace: str, topic: str) -> str | None:
        """The id of the workflow that writes to it; empty where that is gone and the topic not yet; None: no topic."""
        ...

    def route_topics_counted(self, workspace: str) -> int:
        """In both environments, those of deleted workflows included."""
        ...

    def endpoint(self, workspace: str, environment: str, endpoint_id: str) -> WebhookEndpoint | None: ...

    def endpoints_counted(self, workspace: str) -> int:
        """Webhook endpoints in both environments."""
        ...

    def subscription(self, workspace: str, environment: str, subscription_id: str) -> Subscription | None: ...

    def subscriptions_counted(self, workspace: str, surface: str) -> int:
        """In both environments."""
        ...

    def event_type(self, workspace: str, environment: str, kind: str) -> EventType | None: ...

    def event_types_counted(self, workspace: str, environment: str) -> int: ...

    def replay(self, replay_id: str) -> Replay | None: ...

    def replays_running(self, workspace: str) -> int: ...

    def project(self, workspace: str, environment: str, project_id: str) -> Project | None: ...

    def task(self, workspace: str, environment: str, task_id: str) -> Task | None: ...

    def dependents(self, task_id: str) -> list[str]: ...

    def answer(self, command_id: str) -> CommandAnswer | None: ...

    def answer_under(self, scope: str) -> CommandAnswer | None:
        """The newest answer given under an idempotency key's scope."""
        ...

    def work(self, stream_id: str, task: TopicTask) -> TopicWork | None: ...


def body_of(state: State) -> bytes:
    return msgspec.json.encode(state)
