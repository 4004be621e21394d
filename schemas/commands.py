"""What may be asked of the control agent: one payload a kind, as JSON in `Command.payload`, and its answer's shape.

A command's record has the workspace as its key (one order a workspace) and the header `atlas-reply` of who waits.
The gateway checks a payload's form and tells the user; the limits here only keep a faulty writer from breaking
anything (such a record is a dead letter). What needs shared state is decided in domain/commands/decide.py.

The answer is a `Verdict`: outcome `done` with the entity's state as JSON in `body` (status 201, 200; 204: no body),
or `refused` with a `FaultBody`.
"""

import hashlib
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas.codec import Undecodable
from schemas.entities import PER_MINUTE_MAX, Key, KeyKind, Ordering, Workspace
from schemas.errors import FieldError
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Scope
from schemas.payload import Payload as Payload
from schemas.records import Command
from schemas.spine_commands import SPINE_PAYLOADS
from schemas.spine_commands import CreateSubscription as CreateSubscription
from schemas.spine_commands import DeleteSubscription as DeleteSubscription
from schemas.spine_commands import RegisterEventType as RegisterEventType
from schemas.spine_commands import UpdateSubscription as UpdateSubscription
from schemas.work_commands import WORK_PAYLOADS

DONE, REFUSED = "done", "refused"
STREAMS_PER_WORKSPACE_MAX = 100
RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MIN, RETENTION_DAYS_MAX = 14, 1, 90
KEYS_PER_WORKSPACE_MAX = 1_000
ROUTE_TOPICS_PER_WORKSPACE_MAX = 100
OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX = 86_400, 30 * 86_400

Environment = Literal["live", "test"]
StreamName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{3,64}\Z")]
RetentionDays = Annotated[int, Meta(ge=RETENTION_DAYS_MIN, le=RETENTION_DAYS_MAX)]
RequestCount = Annotated[int, Meta(ge=1, le=PER_MINUTE_MAX)]
OverlapSeconds = Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)]
WorkflowId = Annotated[str, Meta(pattern=r"^wf_[A-Za-z0-9_]{1,64}\Z")]


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """As `schemas.entities.Key` has it; what is left out is all that the kind allows."""

    name: str
    environment: Environment
    key_kind: KeyKind
    streams: list[str] = []
    scopes: list[str] = []
    allowed_ips: list[str] = []
    origins: list[str] = []
    expires_ms: int | None = None


class CreateWorkspace(Payload, frozen=True, kw_only=True):
    """The id is the command's `workspace`. Answer 201: `WorkspaceCreated`. 409 `workspace_exists`."""

    kind: ClassVar[str] = "workspace.create"
    name: str
    keys: list[NewKey] = []


class CreateKey(Payload, frozen=True, kw_only=True):
    """Answer 201: `Key`; its token is `domain.security.api_tokens.mint_token(master_key, key_kind, environment, id)`.

    409 `key_limit_reached`; 400 (it would have expired already).
    """

    kind: ClassVar[str] = "key.create"
    name: str
    environment: Environment
    key_kind: KeyKind
    streams: list[str] = []
    scopes: list[str] = []
    allowed_ips: list[str] = []
    origins: list[str] = []
    expires_ms: int | None = None


class RotateKey(Payload, frozen=True, kw_only=True):
    """A new key like it takes its place; the old one holds for `overlap_seconds` more. Answer 201: the new `Key`.

    404 `key_not_found`; 409 `key_not_active`, `key_limit_reached`.
    """

    kind: ClassVar[str] = "key.rotate"
    id: str
    overlap_seconds: OverlapSeconds = OVERLAP_SECONDS_DEFAULT


class RevokeKey(Payload, frozen=True, kw_only=True):
    """For good, at once; one that is revoked stays so. Answer 200: `Key`. 404 `key_not_found`."""

    kind: ClassVar[str] = "key.revoke"
    id: str


class TouchKeys(Payload, frozen=True, kw_only=True):
    """A gateway to the control process: when it last saw each of the workspace's keys used. No answer, no audit."""

    kind: ClassVar[str] = "key.touch"
    used_ms: dict[str, int]


class CreateStream(Payload, frozen=True, kw_only=True):
    """Answer 201 once its Kafka topic exists: `Stream`. 409 `stream_exists`, `stream_limit_reached`; 400."""

    kind: ClassVar[str] = "stream.create"
    name: StreamName
    description: str | None = None
    retention_days: RetentionDays = RETENTION_DAYS_DEFAULT
    default_routes: list[WorkflowId] = []


class UpdateStream(Payload, frozen=True, kw_only=True):
    """`stream`: id or name. What is unset stays. Answer 200: `Stream`. 404 `stream_not_found`; 400."""

    kind: ClassVar[str] = "stream.update"
    stream: str
    description: str | UnsetType | None = UNSET
    retention_days: RetentionDays | UnsetType = UNSET
    default_routes: list[WorkflowId] | UnsetType = UNSET


class DeleteStream(Payload, frozen=True, kw_only=True):
    """`stream`: id or name. Answer 204. 404 `stream_not_found`."""

    kind: ClassVar[str] = "stream.delete"
    stream: str


class CreateWorkflow(Payload, frozen=True, kw_only=True):
    """`id` left out: derived; either `url` or `topic` (schemas.topics.RouteTopic) is given. Answer 201, once its topic
    exists: `Workflow`. 409 `workflow_exists`, `topic_taken`, `topic_limit_reached`; 400 (a topic of another tenant).

    The signing secret is `signing_secret(master_key, workflow.entity_id, workflow.secret_version)`
    (domain/delivery/signatures.py).
    """

    kind: ClassVar[str] = "workflow.create"
    name: str
    url: str = ""
    topic: str = ""
    id: WorkflowId | None = None
    ordering: Ordering = Ordering.NONE


class DeleteWorkflow(Payload, frozen=True, kw_only=True):
    """Its topic, if it has one, stays until what is in it has been kept for its time. Answer 204. 404
    `workflow_not_found`.
    """

    kind: ClassVar[str] = "workflow.delete"
    id: str


class DisableWorkflow(Payload, frozen=True, kw_only=True):
    """Delivery to the control process: the endpoint answered 410. It holds for the state that answered so: of one that
    was reactivated since (`reactivations`) nothing changes. Answer 200: `Workflow`. 404 `workflow_not_found`.
    """

    kind: ClassVar[str] = "workflow.disable"
    id: str
    reactivations: int


class ReactivateWorkflow(Payload, frozen=True, kw_only=True):
    """What waits is sent now. Answer 200, also where it was not disabled: `Workflow`. 404 `workflow_not_found`."""

    kind: ClassVar[str] = "workflow.reactivate"
    id: str


class RotateSecret(Payload, frozen=True, kw_only=True):
    """What is sent to a workflow or webhook endpoint is signed with a new secret, and for `overlap_seconds` with the
    one before as well. Answer 200: `Workflow` or `WebhookEndpoint`. 404 `workflow_not_found`,
    `webhook_endpoint_not_found`; 409 `workflow_not_signed` (what is written to a topic has no signature).
    """

    kind: ClassVar[str] = "secret.rotate"
    id: str
    overlap_seconds: OverlapSeconds = OVERLAP_SECONDS_DEFAULT


class CreateWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """`events`: types of domain/delivery/webhooks.py; `streams` empty: all. Answer 201: `WebhookEndpoint`. 409
    `webhook_endpoint_limit_reached`.
    """

    kind: ClassVar[str] = "webhook_endpoint.create"
    url: str
    events: list[str]
    streams: list[StreamName] = []
    description: str | None = None


class DeleteWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """Answer 204. 404 `webhook_endpoint_not_found`."""

    kind: ClassVar[str] = "webhook_endpoint.delete"
    id: str


class TryWebhookEndpoint(Payload, frozen=True, kw_only=True):
    """It gets a `webhook.test`. Answer 202: `WebhookTrial`. 404 `webhook_endpoint_not_found`."""

    kind: ClassVar[str] = "webhook_endpoint.test"
    id: str


class StartReplay(Payload, frozen=True, kw_only=True):
    """Of one event (of `stream`), or of a stream's in a time; see `schemas.entities.Replay`. Answer 202: `Replay`.

    400: it names workflows that don't exist. 409 `replay_limit_reached`.
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
    """What was sent stays sent; one that has ended stays as it is. Answer 200: `Replay`. 404 `replay_not_found`."""

    kind: ClassVar[str] = "replay.cancel"
    id: str


class ReplayMoved(Payload, frozen=True, kw_only=True):
    """The lifecycle process to the control process: how far a replay is. No answer, no audit."""

    kind: ClassVar[str] = "replay.moved"
    id: str
    cursor_ms: int
    cursor_id: str
    replayed: int
    skipped: int
    ended: bool


class SetLimit(Payload, frozen=True, kw_only=True):
    """The workspace's own quota of a class, in the command's environment. Answer 200: `Limit`. 400 (no such class)."""

    kind: ClassVar[str] = "limit.set"
    rate_class: str
    burst: RequestCount
    per_minute: RequestCount


class ClearLimit(Payload, frozen=True, kw_only=True):
    """The installation's quota holds again. Answer 204, also where none was set. 400 (no such class)."""

    kind: ClassVar[str] = "limit.clear"
    rate_class: str


class Suspend(Payload, frozen=True, kw_only=True):
    """The guardrails to the control agent: a flag stands, in the place of the one before. Answer 200: `answer`, the
    guardrails' own, for who waits for their verdict: it leaves when `control` has the flag.
    """

    kind: ClassVar[str] = "guardrail.suspend"
    layer: str
    reason: str
    expires_ms: int | None = None
    scope: Scope = Scope.ORG
    scope_id: str = ""
    set_by: str = ""
    answer: bytes = b""


class Unsuspend(Payload, frozen=True, kw_only=True):
    """The guardrails to the control agent: these flags are gone; `stood` are those of them that there were."""

    kind: ClassVar[str] = "guardrail.resume"
    reason: str
    guarded: list[Guarded]
    stood: list[Guarded] = []
    answer: bytes = b""


class Warn(Payload, frozen=True, kw_only=True):
    """The guardrails to the control agent: so much of these caps is spent, which the organization is to be told."""

    kind: ClassVar[str] = "guardrail.warn"
    warnings: list[BudgetWarning]
    answer: bytes = b""


class ReplacePolicy(Payload, frozen=True, kw_only=True):
    """The guardrails to the control agent: the policy that they follow from now on."""

    kind: ClassVar[str] = "guardrail.policy"
    policy: GuardrailPolicy
    version: int
    answer: bytes = b""


class StreamCreated(Payload, frozen=True, kw_only=True):
    """The control process to itself: the topic exists; or it never will (`failed` says why; `taken`: the same, in
    words for who asked, where another topic of that name is in the way).
    """

    kind: ClassVar[str] = "stream.created"
    stream_id: str
    topic_id: str = ""
    failed: str | None = None
    taken: str | None = None


class StreamAltered(Payload, frozen=True, kw_only=True):
    """The control process to itself: the topic is kept as long as the command `update_id` said."""

    kind: ClassVar[str] = "stream.altered"
    stream_id: str
    update_id: str


class StreamExpired(Payload, frozen=True, kw_only=True):
    """The control process to itself: a deleted stream's retention is over and its topic is gone."""

    kind: ClassVar[str] = "stream.expired"
    stream_id: str


class RouteTopicMade(Payload, frozen=True, kw_only=True):
    """The control process to itself: a route's topic exists; or it never will (`failed`, `taken`: as of a stream)."""

    kind: ClassVar[str] = "route_topic.made"
    topic: str
    topic_id: str = ""
    failed: str | None = None
    taken: str | None = None


class RouteTopicExpired(Payload, frozen=True, kw_only=True):
    """The control process to itself: the topic of a deleted workflow has been kept for its time and is gone."""

    kind: ClassVar[str] = "route_topic.expired"
    topic: str


class ResumeTopics(Payload, frozen=True, kw_only=True):
    """The control process to itself, on a partition it was given: take up the topic work that is not finished."""

    kind: ClassVar[str] = "topics.resume"


PAYLOADS: dict[str, type[Payload]] = {
    payload.kind: payload
    for payload in (
        CreateWorkspace,
        CreateKey,
        RotateKey,
        RevokeKey,
        TouchKeys,
        CreateStream,
        UpdateStream,
        DeleteStream,
        CreateWorkflow,
        DeleteWorkflow,
        DisableWorkflow,
        ReactivateWorkflow,
        RotateSecret,
        CreateWebhookEndpoint,
        DeleteWebhookEndpoint,
        TryWebhookEndpoint,
        StartReplay,
        CancelReplay,
        ReplayMoved,
        SetLimit,
        ClearLimit,
        Suspend,
        Unsuspend,
        Warn,
        ReplacePolicy,
        StreamCreated,
        StreamAltered,
        StreamExpired,
        RouteTopicMade,
        RouteTopicExpired,
        ResumeTopics,
    )
} | {payload.kind: payload for payload in (*WORK_PAYLOADS, *SPINE_PAYLOADS)}


class WorkspaceCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the answer to `workspace.create`."""

    workspace: Workspace
    keys: list[Key]


class WebhookTrial(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the answer to `webhook_endpoint.test`: the id that the webhook carries."""

    id: str


class FaultBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a refusal. `details` is empty or {"errors": [{"field", "message"}]}; `facts`: further ones."""

    code: str
    message: str
    details: dict[str, list[FieldError]] = {}
    facts: dict[str, int] = {}


def command_key(command: Command) -> bytes:
    """The record's key: partition = murmur2 of it."""
    return workspace_key(command.workspace)


def workspace_key(workspace: str) -> bytes:
    """All commands of a workspace stand on one partition, in one order."""
    return workspace.encode()


def decode_payload(command: Command) -> Payload:
    """Raises Undecodable for an unknown kind and for a payload that is not of its form."""
    form = PAYLOADS.get(command.kind)
    if form is None:
        raise Undecodable(f"unknown kind of command: {command.kind[:64]!r}")
    try:
        return msgspec.json.decode(command.payload, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the payload is not a {command.kind}: {error}") from error


def payload_hash(payload: Payload) -> str:
    """Two payloads of a kind ask for the same thing exactly when their hashes are equal."""
    return hashlib.blake2b(f"{payload.kind}\0".encode() + payload.encode(), digest_size=16).hexdigest()


def decode_fault(body: bytes) -> FaultBody:
    return msgspec.json.decode(body, type=FaultBody)


def decode_state(body: bytes, of: type[Any]) -> Any:
    """The entity (schemas.entities) or WorkspaceCreated in a `done` verdict's body."""
    return msgspec.json.decode(body, type=of)
