"""The entities on `control`: what a workspace, a key, a stream, a workflow and so on are, as JSON in `Entity.state`.

`control` is keyed `kind/id`; one writer (the control agent), many readers (domain/entities/control_view.py).
No secret is stored here: keys are hashes, signing secrets are derived from the master key.
"""

from enum import StrEnum
from typing import ClassVar, Self

import msgspec

from schemas.codec import Undecodable
from schemas.guardrail_policy import ORGANIZATION, Guarded, GuardrailPolicy, Scope
from schemas.records import Entity


def workflow_entity_id(workspace: str, environment: str, workflow_id: str) -> str:
    """Workflow ids are chosen by users, so they are unique within workspace and environment only."""
    return f"{workspace}/{environment}/{workflow_id}"


class StreamStatus(StrEnum):
    CREATING = "creating"  # the name is taken; its Kafka topic is being made
    ACTIVE = "active"
    DELETED = "deleted"  # refuses new events; the log stays until retention ends, and so does the name


class Ordering(StrEnum):
    NONE = "none"
    PER_KEY = "per_key"  # one delivery in flight a key; later ones wait behind one that is retried


class KeyKind(StrEnum):
    """How tokens of each kind look: domain/security/api_tokens.py."""

    SECRET = "sk"
    PUBLISHABLE = "pk"
    ACCESS_TOKEN = "pat"
    SPINE = "spine"
    ORG = "abn"


STREAM_KINDS = frozenset({KeyKind.SECRET, KeyKind.PUBLISHABLE})
"""Kinds of keys that can be limited to streams."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all entity states; `kind` is the first half of the record's key."""

    kind: ClassVar[str]
    id: str
    workspace: str
    created_ms: int

    @property
    def entity_id(self) -> str:
        """The second half of the record's key on `control`: unique over all workspaces."""
        return self.id

    def to_entity(self, version: int = 1) -> Entity:
        environment = getattr(self, "environment", "")
        return Entity(
            kind=self.kind,
            id=self.entity_id,
            workspace=self.workspace,
            environment=environment,
            version=version,
            state=msgspec.json.encode(self),
        )

    @classmethod
    def of(cls, entity: Entity) -> Self:
        return msgspec.json.decode(entity.state, type=cls)


class Workspace(State, frozen=True, kw_only=True):
    """`replays`: how many there have been (Replay.number)."""

    kind: ClassVar[str] = "workspace"
    name: str
    replays: int = 0


class Key(State, frozen=True, kw_only=True):
    """`token_hash`: hex of the token's keyed hash. `scopes`, `streams`, `allowed_ips` (CIDR), `origins` empty: all that
    the kind allows. `rotated_to`: the key that replaces it; both are valid until `overlap_until_ms`.
    Gateways report `last_used_ms` about once a minute (`key.touch`).
    """

    kind: ClassVar[str] = "key"
    environment: str
    key_kind: KeyKind
    name: str
    token_hash: str
    scopes: list[str] = []
    streams: list[str] = []
    allowed_ips: list[str] = []
    origins: list[str] = []
    expires_ms: int | None = None
    revoked_ms: int | None = None
    rotated_to: str = ""
    overlap_until_ms: int | None = None
    last_used_ms: int | None = None

    @property
    def ends_ms(self) -> int | None:
        """When it ends by itself: it expires, or the overlap with its successor is over."""
        ends = [end for end in (self.expires_ms, self.overlap_until_ms) if end is not None]
        return min(ends) if ends else None

    def holds(self, now_ms: int) -> bool:
        return self.revoked_ms is None and (self.ends_ms is None or now_ms < self.ends_ms)

    def status(self, now_ms: int) -> str:
        """As it is shown."""
        if self.revoked_ms is not None:
            return "revoked"
        if not self.holds(now_ms):
            return "expired"
        return "rotated" if self.rotated_to else "active"


class Stream(State, frozen=True, kw_only=True):
    """`topic_id`: Kafka's id of the topic, empty while it is being created."""

    kind: ClassVar[str] = "stream"
    environment: str
    name: str
    description: str | None = None
    retention_days: int = 14
    default_routes: list[str] = []
    status: StreamStatus = StreamStatus.CREATING
    topic: str = ""
    topic_id: str = ""


class Target(State, frozen=True, kw_only=True):
    """A URL that gets signed POSTs. Gone means a `control` record without a value.

    `previous_until_ms`: until when what is sent is signed with the secret before (`secret_version` - 1) as well.
    `ordering`: whether events of one ordering key go one after the other. `disabled_ms`: since when nothing is sent, as
    its endpoint answered 410; what waits is kept. `reactivations` counts how often that was taken back.
    """

    environment: str
    name: str
    url: str
    secret_version: int = 1
    previous_until_ms: int | None = None
    ordering: Ordering = Ordering.NONE
    disabled_ms: int | None = None
    reactivations: int = 0

    @property
    def entity_id(self) -> str:
        return workflow_entity_id(self.workspace, self.environment, self.id)


class Workflow(Target, frozen=True, kw_only=True):
    """A route's target: gets each event of the streams that name it.

    `topic`: it is a Kafka topic (schemas.topics.RouteTopic) and `url` is empty; `topic_id`: Kafka's id of it, empty
    while it is being made. `streams`: those of the key that made it, where that was limited (domain/security/reach.py).
    """

    kind: ClassVar[str] = "workflow"
    streams: list[str] = []
    topic: str = ""
    topic_id: str = ""


class WebhookEndpoint(Target, frozen=True, kw_only=True):
    """Gets what became of events: outcome webhooks of the types in `events` (domain/delivery/webhooks.py), of events of
    `streams`; empty: of all.
    """

    kind: ClassVar[str] = "endpoint"
    events: list[str]
    streams: list[str] = []
    description: str | None = None


class SubscriptionSurface(StrEnum):
    """Whose subscription it is: it gets events of the system stream of that name."""

    SPINE = "spine"
    WORK = "work"


class PayloadFormat(StrEnum):
    """What a subscription is sent: its surface's own form, or a CloudEvent 1.0 in structured mode."""

    NATIVE = "native"
    CLOUDEVENTS = "cloudevents"


PATTERNS_MAX = 20
"""Patterns of event types that one subscription may have."""


class Subscription(Target, frozen=True, kw_only=True):
    """Gets the events of its surface's stream whose type matches one of `patterns` (domain/entities/patterns.py).

    `sealed_secret`: the caller's own (domain/security/sealed_secrets.py); empty: derived, as a workflow's is.
    """

    kind: ClassVar[str] = "subscription"
    surface: SubscriptionSurface
    patterns: list[str]
    description: str | None = None
    sealed_secret: bytes = b""
    payload_format: PayloadFormat = PayloadFormat.NATIVE


class SchemaVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`schema`: a JSON Schema. `registered_ms` 0: the platform's own (domain/events/catalog.py)."""

    version: int
    schema: bytes
    registered_ms: int


class EventType(State, frozen=True, kw_only=True):
    """A type of the spine's events that the org registered; `id` is the type. The newest version is the last."""

    kind: ClassVar[str] = "event_type"
    environment: str
    description: str | None = None
    versions: list[SchemaVersion] = []

    @property
    def entity_id(self) -> str:
        return workflow_entity_id(self.workspace, self.environment, self.id)


class ReplayStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Replay(State, frozen=True, kw_only=True):
    """Events that are delivered once more. `number` is the workspace's count of replays: a later one has a higher.

    Either one event (`event_id`, of `stream`; it is forgotten when it is done) or those of `stream` received in
    [from_ms, to_ms) that have this status and type, where they are given. `workflows` empty: each event's own.
    `cursor`: the last event that was looked at, as `received_ms` and id; `replayed` and `skipped` (its payload is gone)
    count up to it.
    """

    kind: ClassVar[str] = "replay"
    environment: str
    number: int
    event_id: str = ""
    stream: str = ""
    from_ms: int = 0
    to_ms: int = 0
    event_status: str | None = None
    type: str | None = None
    workflows: list[str] = []
    status: ReplayStatus = ReplayStatus.RUNNING
    cursor_ms: int = 0
    cursor_id: str = ""
    replayed: int = 0
    skipped: int = 0
    ended_ms: int | None = None


PER_MINUTE_MAX = 100_000_000
"""The largest quota of requests a minute."""


class Limit(State, frozen=True, kw_only=True):
    """A workspace's own quota of a rate class (domain/limits/quotas.py). Gone: the installation's quota holds again.

    `id` is the bucket's name; `environment` is empty where the class has one bucket for both.
    """

    kind: ClassVar[str] = "limit"
    environment: str
    rate_class: str
    burst: int
    per_minute: int


class KillFlag(State, frozen=True, kw_only=True):
    """Calls are stopped until `expires_ms`; None: until it is gone. That nobody removes one that has expired matters
    not: who looks compares times. `scope` other than the organization: only what `scope_id` names is stopped.
    """

    kind: ClassVar[str] = "kill_flag"
    layer: str
    reason: str
    expires_ms: int | None = None
    scope: Scope = Scope.ORG
    scope_id: str = ""
    set_by: str = ""

    @property
    def entity_id(self) -> str:
        return kill_flag_id(self.workspace, Guarded(self.scope, self.scope_id))

    def holds(self, now_ms: int) -> bool:
        return self.expires_ms is None or now_ms < self.expires_ms


class Policy(State, frozen=True, kw_only=True):
    """An organization's guardrails; `id` is its workspace. Without one, the default policy applies."""

    kind: ClassVar[str] = "policy"
    policy: GuardrailPolicy
    version: int = 1


def kill_flag_id(workspace: str, target: Guarded = ORGANIZATION) -> str:
    """One flag an organization, and one each of what else is suspended."""
    return workspace if target.scope is Scope.ORG else f"{workspace}/{target.scope}/{target.id}"


STATES: dict[str, type[State]] = {
    state.kind: state
    for state in (
        *(Workspace, Key, Stream, Workflow, WebhookEndpoint, Subscription, EventType, Replay, Limit),
        *(KillFlag, Policy),
    )
}


def state_of(entity: Entity) -> State | None:
    """None for a kind that this version does not know (a newer writer). Raises Undecodable for a state unlike it."""
    kind = STATES.get(entity.kind)
    try:
        return None if kind is None else kind.of(entity)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the state is no {entity.kind}: {error}") from error
