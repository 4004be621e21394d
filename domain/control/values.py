"""The values of a control decision: the request, the facts it may look up, and the result.

A `CommandAnswer` keeps everything its command caused. A record that is read again is not decided again; it causes the
same effects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from domain.events.system_events import SystemEvent
from schemas.commands.answers import DONE, RefusalBody
from schemas.commands.payload import Payload
from schemas.entities import EventType, Key, Replay, State, Stream, Subscription, WebhookEndpoint, Workflow, Workspace
from schemas.errors import FieldError
from schemas.records import Audit, Command, Delivery, Entity, Verdict
from schemas.replies import ReplyTo
from schemas.topics import RouteTopic, StreamTopic
from schemas.work import Project, Task

TokenHash = Callable[[str, str, str], str]
"""(key kind, environment, key id) → the hash by which the key's token is found."""
WAITING = "waiting"  # accepted; the answer comes later, for example once a stream's topic is created


@dataclass(frozen=True)
class CommandRequest:
    """A command as read from the log. `offset` orders a partition's commands and gives entities their version."""

    command: Command
    payload: Payload
    append_ms: int
    offset: int
    reply: ReplyTo | None = None

    @property
    def version(self) -> int:
        return self.offset + 1


class TopicTask(StrEnum):
    """What is to be done to a Kafka topic, in the background, outside the batches."""

    CREATE = "create"
    ALTER = "alter"  # its retention
    EXPIRE = "expire"  # delete it: its stream was deleted and its retention is over


class TopicWork(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished task on a topic; a stream has at most one for each kind of task.

    `due_ms` is the earliest time to run it (0: now). For a workflow's topic, `workflow_id` is set, `stream_id` is the
    topic's full name and `name` is the last part of that name.
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
    """What a command changes in the table, and the webhooks and events it sends.

    `gone` holds each removed entity in its last state, with the version of the removal. `items` are the changed
    entities of the topic `items` (schemas/work.py).
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
    """The answer to a command, kept for 24 hours of log time.

    `version` orders answers as the log does. `asked` is the payload's hash. `replies` are the gateways that get the
    verdict in addition to the gateway named by the command's record. `freed` is the version from which the idempotency
    key may be used for another request.
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
    """Everything one record causes. Answers are stored first, so no change is ever stored without its answer."""

    answers: tuple[CommandAnswer, ...] = ()
    changes: CommandChanges = NO_CHANGES
    verdicts: tuple[tuple[int, Verdict], ...] = ()
    audit: Audit | None = None


@dataclass(frozen=True)
class Done:
    """An accepted command: answered now, or later (status 0)."""

    status: int
    changes: CommandChanges
    resource: str
    body: bytes = b""
    outcome: str = DONE


class CommandRefused(Exception):
    """A refused command, with the error that the caller gets."""

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
        self.refusal = RefusalBody(code=code, message=message, details=details, facts=facts or {})

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.refusal)


_ABSENT = {
    "stream_not_found": "No such stream exists in this workspace and environment, or the key is not scoped to it.",
    "workflow_not_found": "There is no such workflow.",
    "webhook_endpoint_not_found": "There is no webhook endpoint with this id.",
    "key_not_found": "There is no key with this id.",
    "replay_not_found": "There is no replay with this id.",
    "event_not_found": "There is no event with this id.",
}


def absent(code: str) -> CommandRefused:
    """A 404 for an object that does not exist or that the caller's key can't see, in the gateway's words."""
    return CommandRefused(404, code, _ABSENT[code])


def key_reused() -> CommandRefused:
    message = "The idempotency key was used for another request in the last 24 hours."
    return CommandRefused(409, "idempotency_key_reused", message)


class Facts(Protocol):
    """What a decision may look up. All facts are in the partition of the command's workspace."""

    def workspace(self, workspace: str) -> Workspace | None: ...

    def key(self, key_id: str) -> Key | None: ...

    def keys_counted(self, workspace: str) -> int:
        """The number of keys that are not revoked, in both environments."""
        ...

    def stream(self, stream_id: str) -> Stream | None: ...

    def stream_named(self, workspace: str, environment: str, name: str) -> Stream | None: ...

    def streams_counted(self, workspace: str) -> int:
        """The number of streams being created or active, in both environments, without system streams."""
        ...

    def workflow(self, workspace: str, environment: str, workflow_id: str) -> Workflow | None: ...

    def routed_by(self, workspace: str, environment: str, workflow_id: str) -> set[str]:
        """The names of the streams with a route to the workflow, deleted streams included."""
        ...

    def route_topic(self, workspace: str, topic: str) -> str | None:
        """The id of the workflow that writes to the topic.

        Empty while the topic outlives its deleted workflow; None where there is no such topic.
        """
        ...

    def route_topics_counted(self, workspace: str) -> int:
        """The number of route topics in both environments, including those of deleted workflows."""
        ...

    def endpoint(self, workspace: str, environment: str, endpoint_id: str) -> WebhookEndpoint | None: ...

    def endpoints_counted(self, workspace: str) -> int:
        """The number of webhook endpoints in both environments."""
        ...

    def subscription(self, workspace: str, environment: str, subscription_id: str) -> Subscription | None: ...

    def subscriptions_counted(self, workspace: str, surface: str) -> int:
        """The number of the surface's subscriptions in both environments."""
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
        """The newest answer stored under the scope of an idempotency key."""
        ...

    def work(self, stream_id: str, task: TopicTask) -> TopicWork | None: ...


def body_of(state: State) -> bytes:
    return msgspec.json.encode(state)
