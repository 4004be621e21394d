"""The control agent's table: its keys and values, its look-ups, and how a decision's effects change it.

| key (parts joined by NUL) | value |
|---|---|
| `e`, kind/id | the entity as it is on `control` (schemas.records.Entity) |
| `n`, workspace, environment, name | a stream's id, while the name is taken |
| `k`, workspace, key id | empty; keys that count towards the workspace's limit |
| `s`, workspace, stream id | empty; streams that count towards the workspace's limit |
| `o`, workspace, topic | the id of the workflow that writes to this route topic; empty: only the topic is left |
| `h`, workspace, environment, endpoint id | empty; webhook endpoints, which count towards the limit |
| `b`, workspace, surface, environment, subscription id | empty; subscriptions, which count towards the limit |
| `v`, workspace, environment, type | empty; registered event types, which count towards the limit |
| `r`, workspace, replay id | empty; replays that run, which count towards the limit |
| `w`, stream id, task | TopicWork that is not finished |
| `m`, kind/id | a project or task as it is on `items` (domain/control/items.py) |
| `d`, task id, dependent's id | empty; the second depends on the first |
| `a`, command id | CommandAnswer |
| `i`, workspace, environment, surface, idempotency key | the id of the command answered under it |
| `t`, hour of log time (8 bytes), command id | empty; when an answer may go |
| `swept` | the hour up to which answers are gone |
"""

import msgspec

from domain.control.items import ItemState
from domain.control.values import CommandAnswer, CommandChanges, CommandEffects, TopicTask, TopicWork
from domain.idempotency import KEY_LIFE_MS
from schemas.entities import (
    EventType,
    Key,
    Replay,
    ReplayStatus,
    State,
    Stream,
    StreamStatus,
    Subscription,
    WebhookEndpoint,
    Workflow,
    Workspace,
    state_of,
    workflow_entity_id,
)
from schemas.records import Entity
from schemas.topics import SYSTEM_STREAMS

HOUR_MS = 3_600_000
ANSWERS_KEPT_MS = KEY_LIFE_MS + HOUR_MS
SWEPT = b"swept"
_ANSWER = msgspec.msgpack.Decoder(CommandAnswer)
_WORK = msgspec.msgpack.Decoder(TopicWork)
_encode = msgspec.msgpack.Encoder().encode


class ControlState(ItemState):
    """Mutable: one partition of the table, the `Facts` for decisions. Nothing else changes the table."""

    # Facts

    def workspace(self, workspace: str) -> Workspace | None:
        found = self._state(f"workspace/{workspace}")
        return found if isinstance(found, Workspace) else None

    def key(self, key_id: str) -> Key | None:
        found = self._state(f"key/{key_id}")
        return found if isinstance(found, Key) else None

    def keys_counted(self, workspace: str) -> int:
        return sum(1 for _ in self._table.scan(_key("k", workspace, "")))

    def stream(self, stream_id: str) -> Stream | None:
        found = self._state(f"stream/{stream_id}")
        return found if isinstance(found, Stream) else None

    def stream_named(self, workspace: str, environment: str, name: str) -> Stream | None:
        stream_id = self._table.get(_key("n", workspace, environment, name))
        return None if stream_id is None else self.stream(stream_id.decode())

    def streams_counted(self, workspace: str) -> int:
        return sum(1 for _ in self._table.scan(_key("s", workspace, "")))

    def workflow(self, workspace: str, environment: str, workflow_id: str) -> Workflow | None:
        found = self._state(f"workflow/{workflow_entity_id(workspace, environment, workflow_id)}")
        return found if isinstance(found, Workflow) else None

    def routed_by(self, workspace: str, environment: str, workflow_id: str) -> set[str]:
        ids = (value.decode() for _, value in self._table.scan(_key("n", workspace, environment, "")))
        streams = (self.stream(stream_id) for stream_id in ids)
        return {stream.name for stream in streams if stream is not None and workflow_id in stream.default_routes}

    def route_topic(self, workspace: str, topic: str) -> str | None:
        value = self._table.get(_key("o", workspace, topic))
        return None if value is None else value.decode()

    def route_topics_counted(self, workspace: str) -> int:
        return sum(1 for _ in self._table.scan(_key("o", workspace, "")))

    def endpoint(self, workspace: str, environment: str, endpoint_id: str) -> WebhookEndpoint | None:
        found = self._state(f"endpoint/{workflow_entity_id(workspace, environment, endpoint_id)}")
        return found if isinstance(found, WebhookEndpoint) else None

    def endpoints_counted(self, workspace: str) -> int:
        return sum(1 for _ in self._table.scan(_key("h", workspace, "")))

    def subscription(self, workspace: str, environment: str, subscription_id: str) -> Subscription | None:
        found = self._state(f"subscription/{workflow_entity_id(workspace, environment, subscription_id)}")
        return found if isinstance(found, Subscription) else None

    def subscriptions_counted(self, workspace: str, surface: str) -> int:
        return sum(1 for _ in self._table.scan(_key("b", workspace, surface, "")))

    def event_type(self, workspace: str, environment: str, kind: str) -> EventType | None:
        found = self._state(f"event_type/{workflow_entity_id(workspace, environment, kind)}")
        return found if isinstance(found, EventType) else None

    def event_types_counted(self, workspace: str, environment: str) -> int:
        return sum(1 for _ in self._table.scan(_key("v", workspace, environment, "")))

    def replay(self, replay_id: str) -> Replay | None:
        found = self._state(f"replay/{replay_id}")
        return found if isinstance(found, Replay) else None

    def replays_running(self, workspace: str) -> int:
        return sum(1 for _ in self._table.scan(_key("r", workspace, "")))

    def answer(self, command_id: str) -> CommandAnswer | None:
        value = self._table.get(_key("a", command_id))
        return None if value is None else _ANSWER.decode(value)

    def answer_under(self, scope: str) -> CommandAnswer | None:
        command_id = self._table.get(_key("i", scope))
        return None if command_id is None else self.answer(command_id.decode())

    def work(self, stream_id: str, task: TopicTask) -> TopicWork | None:
        value = self._table.get(_key("w", stream_id, task))
        return None if value is None else _WORK.decode(value)

    def unfinished(self) -> list[TopicWork]:
        """All unfinished topic work of this partition."""
        return [_WORK.decode(value) for _, value in self._table.scan(_key("w", ""))]

    # Changes

    def apply(self, effects: CommandEffects) -> list[tuple[bytes, bytes | None]]:
        """Changes the table. Returns the records for `control`: an entity's key and its state, or None once deleted."""
        for answer in effects.answers:
            self._keep(answer)
        return self._change(effects.changes)

    def sweep(self, oldest_ms: int) -> int:
        """Removes expired answers; `oldest_ms`: the log time of the oldest record in the batch.

        The oldest record's time counts because a batch that is read again must find the same answers as before.
        """
        until = (oldest_ms - ANSWERS_KEPT_MS) // HOUR_MS
        stored = self._table.get(SWEPT)
        since = until if stored is None else int.from_bytes(stored, "big")
        if (stored is not None and since >= until) or until < 0:
            return 0
        forgotten = sum(self._forget_hour(hour) for hour in range(since + 1, until + 1))
        self._table.put(SWEPT, until.to_bytes(8, "big"))
        return forgotten

    def _keep(self, answer: CommandAnswer) -> None:
        self._table.put(_key("a", answer.command_id), _encode(answer))
        self._table.put(_hour_key(answer.at_ms // HOUR_MS) + answer.command_id.encode(), b"")
        if answer.scope is not None:
            holder = self.answer_under(answer.scope)
            if holder is None or holder.version <= answer.version:
                self._table.put(_key("i", answer.scope), answer.command_id.encode())

    def _forget_hour(self, hour: int) -> int:
        prefix = _hour_key(hour)
        keys = [key for key, _ in self._table.scan(prefix)]
        for key in keys:
            self._table.delete(key)
            self._forget(key[len(prefix) :].decode())
        return len(keys)

    def _forget(self, command_id: str) -> None:
        answer = self.answer(command_id)
        self._table.delete(_key("a", command_id))
        if answer is not None and answer.scope is not None:
            pointer = _key("i", answer.scope)
            if self._table.get(pointer) == command_id.encode():
                self._table.delete(pointer)

    def _change(self, changes: CommandChanges) -> list[tuple[bytes, bytes | None]]:
        records = [self._put(entity) for entity in changes.put] + [self._remove(entity) for entity in changes.gone]
        for work in changes.started:
            self._table.put(_key("w", work.stream_id, work.task), _encode(work))
        for work in changes.finished:
            self._table.delete(_key("w", work.stream_id, work.task))
            if work.workflow_id:
                self._free_topic(work)
        return records

    def _free_topic(self, work: TopicWork) -> None:
        """Frees a topic that no workflow writes to and that has no unfinished work."""
        key = _key("o", work.workspace, work.stream_id)
        if self._table.get(key) == b"" and self.work(work.stream_id, TopicTask.EXPIRE) is None:
            self._table.delete(key)

    def _put(self, entity: Entity) -> tuple[bytes, bytes | None]:
        """Stores an entity. A record that is read again never undoes a later change."""
        key = b"e\0" + entity.key
        newer = self._newer_than(entity)
        if newer is not None:
            return entity.key, newer
        value = entity.encode()
        self._table.put(key, value)
        self._index(entity)
        return entity.key, value

    def _remove(self, entity: Entity) -> tuple[bytes, bytes | None]:
        newer = self._newer_than(entity)
        if newer is not None:
            return entity.key, newer
        self._table.delete(b"e\0" + entity.key)
        self._unindex(entity)
        return entity.key, None

    def _newer_than(self, entity: Entity) -> bytes | None:
        value = self._table.get(b"e\0" + entity.key)
        return value if value is not None and Entity.decode(value).version > entity.version else None

    def _index(self, entity: Entity) -> None:
        match state_of(entity):
            case Stream() as stream:
                self._index_stream(stream)
            case Key(revoked_ms=None) as key:
                self._table.put(_key("k", key.workspace, key.id), b"")
            case Key() as key:
                self._table.delete(_key("k", key.workspace, key.id))
            case Workflow() as workflow if workflow.topic:
                self._table.put(_key("o", workflow.workspace, workflow.topic), workflow.id.encode())
            case WebhookEndpoint() as endpoint:
                self._table.put(_endpoint_key(endpoint), b"")
            case Subscription() as subscription:
                self._table.put(_subscription_key(subscription), b"")
            case EventType() as kind:
                self._table.put(_key("v", kind.workspace, kind.environment, kind.id), b"")
            case Replay(status=ReplayStatus.RUNNING) as replay:
                self._table.put(_key("r", replay.workspace, replay.id), b"")
            case Replay() as replay:
                self._table.delete(_key("r", replay.workspace, replay.id))

    def _index_stream(self, stream: Stream) -> None:
        self._table.put(_key("n", stream.workspace, stream.environment, stream.name), stream.id.encode())
        counted = _key("s", stream.workspace, stream.id)
        if stream.status is not StreamStatus.DELETED and stream.name not in SYSTEM_STREAMS:
            self._table.put(counted, b"")
        else:
            self._table.delete(counted)

    def _unindex(self, entity: Entity) -> None:
        match state_of(entity):
            case Stream() as stream:
                self._unindex_stream(stream)
            case Workflow() as workflow if workflow.topic:
                self._table.put(_key("o", workflow.workspace, workflow.topic), b"")
            case WebhookEndpoint() as endpoint:
                self._table.delete(_endpoint_key(endpoint))
            case Subscription() as subscription:
                self._table.delete(_subscription_key(subscription))
            case Replay() as replay:
                self._table.delete(_key("r", replay.workspace, replay.id))

    def _unindex_stream(self, stream: Stream) -> None:
        self._table.delete(_key("s", stream.workspace, stream.id))
        name = _key("n", stream.workspace, stream.environment, stream.name)
        if self._table.get(name) == stream.id.encode():
            self._table.delete(name)

    def _state(self, key: str) -> State | None:
        value = self._table.get(_key("e", key))
        return None if value is None else state_of(Entity.decode(value))


def _key(*parts: str) -> bytes:
    return "\0".join(parts).encode()


def _endpoint_key(endpoint: WebhookEndpoint) -> bytes:
    return _key("h", endpoint.workspace, endpoint.environment, endpoint.id)


def _subscription_key(subscription: Subscription) -> bytes:
    return _key("b", subscription.workspace, subscription.surface, subscription.environment, subscription.id)


def _hour_key(hour: int) -> bytes:
    return b"t\0" + hour.to_bytes(8, "big")
