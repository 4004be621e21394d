"""Mutable: the topic `control` in memory. Apply its records in order, then look up entities by name, key or route."""

from collections.abc import Callable, Iterable, Mapping

from domain.entities.patterns import PatternTrie
from schemas.entities import (
    EventType,
    Key,
    KillFlag,
    Limit,
    Policy,
    Replay,
    State,
    Stream,
    StreamStatus,
    Subscription,
    Target,
    WebhookEndpoint,
    Workflow,
    Workspace,
    kill_flag_id,
    state_of,
    workflow_entity_id,
)
from schemas.guardrail_policy import DEFAULT_POLICY, Guarded, GuardrailPolicy, Scope
from schemas.records import Entity

StreamKey = tuple[str, str, str]
"""Workspace, environment and name."""
ChangeListener = Callable[[State | None, State | None], None]


class Subscribers:
    """One surface's subscriptions of one workspace and environment. Their trie is built on first use."""

    def __init__(self) -> None:
        self.by_id: dict[str, Subscription] = {}
        self._trie: PatternTrie | None = None

    def put(self, subscription: Subscription) -> None:
        self.by_id[subscription.id] = subscription
        self._trie = None

    def remove(self, subscription_id: str) -> None:
        self.by_id.pop(subscription_id, None)
        self._trie = None

    def matching(self, event_type: str) -> tuple[str, ...]:
        if self._trie is None:
            pairs = ((pattern, one.id) for one in self.by_id.values() for pattern in one.patterns)
            self._trie = PatternTrie(pairs)
        return self._trie.match(event_type)


class ControlView:
    """The current entities."""

    def __init__(self) -> None:
        self._states: dict[bytes, State] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.keys_by_hash: dict[str, Key] = {}
        self.keys: dict[str, Key] = {}
        self.streams: dict[str, Stream] = {}
        self.streams_by_name: dict[StreamKey, Stream] = {}
        self.streams_by_topic: dict[str, Stream] = {}
        self.workflows: dict[str, Workflow] = {}
        self.endpoints: dict[str, WebhookEndpoint] = {}
        self.targets: dict[str, Target] = {}
        """Workflows, webhook endpoints and subscriptions: their ids begin differently."""
        self.replays: dict[str, Replay] = {}
        self.limits: dict[str, Limit] = {}
        """By bucket (domain.limits.quotas.RateClass.bucket)."""
        self.kill_flags: dict[str, KillFlag] = {}
        """By `kill_flag_id`; those that have expired too."""
        self.policies: dict[str, Policy] = {}
        """By workspace."""
        self._guarded: dict[str, int] = {}
        self._endpoints_by_scope: dict[tuple[str, str], dict[str, WebhookEndpoint]] = {}
        self._event_types: dict[tuple[str, str], dict[str, EventType]] = {}
        self._subscribers: dict[tuple[str, str, str], Subscribers] = {}
        """By workspace, environment and surface."""
        self._listeners: list[ChangeListener] = []

    def on_change(self, listener: ChangeListener) -> None:
        """`listener(before, after)` is called after each applied change, in the log's order."""
        self._listeners.append(listener)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Applies one record of `control`. Raises Undecodable and then changes nothing."""
        after = state_of(Entity.decode(value)) if value is not None else None
        before = self._states.pop(key, None)
        if before is not None:
            self._unindex(before)
        if after is not None:
            self._states[key] = after
            self._index(after)
        for listener in self._listeners:
            listener(before, after)

    def stream(self, workspace: str, environment: str, name_or_id: str) -> Stream | None:
        """A stream that takes events or is readable, by name or id, within one workspace and environment."""
        found = self.any_stream(workspace, environment, name_or_id)
        return found if found is not None and found.status is StreamStatus.ACTIVE else None

    def any_stream(self, workspace: str, environment: str, name_or_id: str) -> Stream | None:
        """A stream in any state, also one that is being created or is deleted."""
        found = self.streams_by_name.get((workspace, environment, name_or_id)) or self.streams.get(name_or_id)
        if found is None or (found.workspace, found.environment) != (workspace, environment):
            return None
        return found

    def streams_of(self, workspace: str, environment: str) -> list[Stream]:
        """Active streams, oldest first."""
        mine = [
            stream
            for stream in self.streams.values()
            if (stream.workspace, stream.environment, stream.status) == (workspace, environment, StreamStatus.ACTIVE)
        ]
        return sorted(mine, key=lambda stream: (stream.created_ms, stream.id))

    def workflow(self, workspace: str, environment: str, workflow_id: str) -> Workflow | None:
        return self.workflows.get(workflow_entity_id(workspace, environment, workflow_id))

    def routed_by(self, workspace: str, environment: str) -> dict[str, set[str]]:
        """By workflow id, the names of the streams whose routes name it. Deleted streams count: deliveries may wait."""
        found: dict[str, set[str]] = {}
        for stream in self.streams.values():
            if (stream.workspace, stream.environment) == (workspace, environment):
                for route in stream.default_routes:
                    found.setdefault(route, set()).add(stream.name)
        return found

    def endpoint(self, workspace: str, environment: str, endpoint_id: str) -> WebhookEndpoint | None:
        return self.endpoints.get(workflow_entity_id(workspace, environment, endpoint_id))

    def endpoints_of(self, workspace: str, environment: str) -> list[WebhookEndpoint]:
        """Oldest first."""
        mine = self._endpoints_by_scope.get((workspace, environment), {})
        return sorted(mine.values(), key=lambda endpoint: (endpoint.created_ms, endpoint.id))

    def subscription(self, workspace: str, environment: str, subscription_id: str) -> Subscription | None:
        found = self.targets.get(workflow_entity_id(workspace, environment, subscription_id))
        return found if isinstance(found, Subscription) else None

    def subscriptions_of(self, workspace: str, environment: str, surface: str) -> list[Subscription]:
        """Oldest first."""
        mine = self._subscribers.get((workspace, environment, surface))
        return [] if mine is None else sorted(mine.by_id.values(), key=lambda one: (one.created_ms, one.id))

    def subscribed(self, workspace: str, environment: str, surface: str, event_type: str) -> tuple[str, ...]:
        """Ids of the subscriptions that an event of this type goes to, sorted."""
        mine = self._subscribers.get((workspace, environment, surface))
        return () if mine is None else mine.matching(event_type)

    def event_types_of(self, workspace: str, environment: str) -> Mapping[str, EventType]:
        """The event types that the org registered, by type."""
        return self._event_types.get((workspace, environment), {})

    def replay(self, workspace: str, environment: str, replay_id: str) -> Replay | None:
        found = self.replays.get(replay_id)
        mine = found is not None and (found.workspace, found.environment) == (workspace, environment)
        return found if mine else None

    def workflows_of(self, workspace: str, environment: str) -> list[Workflow]:
        mine = [w for w in self.workflows.values() if (w.workspace, w.environment) == (workspace, environment)]
        return sorted(mine, key=lambda workflow: (workflow.created_ms, workflow.id))

    def key(self, workspace: str, environment: str, key_id: str) -> Key | None:
        """A key, also a revoked one, within one workspace and environment."""
        found = self.keys.get(key_id)
        mine = found is not None and (found.workspace, found.environment) == (workspace, environment)
        return found if mine else None

    def keys_of(self, workspace: str, environment: str) -> list[Key]:
        """Oldest first, revoked ones too."""
        mine = [k for k in self.keys.values() if (k.workspace, k.environment) == (workspace, environment)]
        return sorted(mine, key=lambda key: (key.created_ms, key.id))

    def policy(self, workspace: str) -> GuardrailPolicy:
        """The organization's guardrails, or the default."""
        found = self.policies.get(workspace)
        return DEFAULT_POLICY if found is None else found.policy

    def suspension(self, workspace: str, now_ms: int, targets: Iterable[Guarded] = ()) -> KillFlag | None:
        """The flag that stops a call: the organization's, else one of `targets` (its project, key, model, user)."""
        if workspace not in self._guarded:
            return None
        flag = self.kill_flags.get(workspace)
        if flag is not None and flag.holds(now_ms):
            return flag
        for target in targets:
            flag = self.kill_flags.get(kill_flag_id(workspace, target)) if target.scope is not Scope.ORG else None
            if flag is not None and flag.holds(now_ms):
                return flag
        return None

    def _index(self, state: State) -> None:
        match state:
            case Workspace():
                self.workspaces[state.id] = state
            case Key():
                self.keys_by_hash[state.token_hash] = state
                self.keys[state.id] = state
            case Stream():
                self.streams[state.id] = state
                self.streams_by_name[state.workspace, state.environment, state.name] = state
                self.streams_by_topic[state.topic] = state
            case Workflow():
                self.workflows[state.entity_id] = self.targets[state.entity_id] = state
            case WebhookEndpoint():
                self.endpoints[state.entity_id] = self.targets[state.entity_id] = state
                self._endpoints_by_scope.setdefault((state.workspace, state.environment), {})[state.id] = state
            case Subscription():
                self.targets[state.entity_id] = state
                self._subscribers.setdefault(_scope(state), Subscribers()).put(state)
            case EventType():
                self._event_types.setdefault((state.workspace, state.environment), {})[state.id] = state
            case Replay():
                self.replays[state.id] = state
            case Limit():
                self.limits[state.entity_id] = state
            case KillFlag():
                self.kill_flags[state.entity_id] = state
                self._guarded[state.workspace] = self._guarded.get(state.workspace, 0) + 1
            case Policy():
                self.policies[state.workspace] = state

    def _unindex(self, state: State) -> None:
        match state:
            case Workspace():
                self.workspaces.pop(state.id, None)
            case Key():
                self.keys_by_hash.pop(state.token_hash, None)
                self.keys.pop(state.id, None)
            case Stream():
                self.streams.pop(state.id, None)
                self.streams_by_name.pop((state.workspace, state.environment, state.name), None)
                self.streams_by_topic.pop(state.topic, None)
            case Workflow():
                self.workflows.pop(state.entity_id, None)
                self.targets.pop(state.entity_id, None)
            case WebhookEndpoint():
                self.endpoints.pop(state.entity_id, None)
                self.targets.pop(state.entity_id, None)
                self._endpoints_by_scope[state.workspace, state.environment].pop(state.id, None)
            case Subscription():
                self.targets.pop(state.entity_id, None)
                self._unsubscribe(state)
            case EventType():
                self._event_types[state.workspace, state.environment].pop(state.id, None)
            case Replay():
                self.replays.pop(state.id, None)
            case Limit():
                self.limits.pop(state.entity_id, None)
            case KillFlag():
                self.kill_flags.pop(state.entity_id, None)
                self._guarded[state.workspace] -= 1
                if not self._guarded[state.workspace]:
                    del self._guarded[state.workspace]
            case Policy():
                self.policies.pop(state.workspace, None)

    def _unsubscribe(self, state: Subscription) -> None:
        mine = self._subscribers[_scope(state)]
        mine.remove(state.id)
        if not mine.by_id:
            del self._subscribers[_scope(state)]


def _scope(state: Subscription) -> tuple[str, str, str]:
    return state.workspace, state.environment, state.surface
