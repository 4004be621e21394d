"""The rules of streams: names, the limit, routes that exist, and a topic's life beside the batches. Pure.

`creating → active → deleted → gone`: the name is taken from the first to the last; the Kafka topic exists from
`active` until `deleted` has lasted the stream's retention. A creation that fails frees the name.
"""

import msgspec

from domain.control.reach import workflows_exist
from domain.control.values import Answer, Asked, Changes, Done, Facts, Refused, Task, TopicWork, absent, body_of
from schemas.commands import (
    DONE,
    REFUSED,
    STREAMS_PER_WORKSPACE_MAX,
    CreateStream,
    DeleteStream,
    StreamAltered,
    StreamCreated,
    StreamExpired,
    UpdateStream,
)
from schemas.entities import Stream, StreamStatus
from schemas.ids import STREAM, derived_id
from schemas.topics import DAY_MS, SYSTEM_STREAMS, stream_topic

CLUSTER_REFUSES = "The Kafka cluster refuses it, and the control process's log says why."

Reported = tuple[Done, Answer | None] | None
"""A report's own decision and the answer that it completes; None: nothing waits for this report any more."""


def create(facts: Facts, asked: Asked, payload: CreateStream) -> Done:
    """Takes the name; the answer comes with `stream.created`."""
    command = asked.command
    _name_is_free(facts, asked, payload.name)
    workflows_exist(facts, asked, "default_routes", payload.default_routes)
    stream = Stream(
        id=derived_id(STREAM, asked.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=asked.append_ms,
        name=payload.name,
        description=payload.description,
        retention_days=payload.retention_days,
        default_routes=payload.default_routes,
        status=StreamStatus.CREATING,
        topic=stream_topic(command.workspace, command.environment, payload.name),
    )
    changes = Changes(put=(stream.to_entity(asked.version),), started=(_work(Task.CREATE, stream, asked),))
    return Done(0, changes, f"stream/{stream.id}")


def update(facts: Facts, asked: Asked, payload: UpdateStream) -> Done:
    before = _active(facts, asked, payload.stream)
    if payload.default_routes is not msgspec.UNSET:
        workflows_exist(facts, asked, "default_routes", payload.default_routes)
    wanted = {name: getattr(payload, name) for name in ("description", "retention_days", "default_routes")}
    fields = {name: value for name, value in wanted.items() if value is not msgspec.UNSET}
    after = msgspec.structs.replace(before, **fields)
    started = (_work(Task.ALTER, after, asked),) if after.retention_days != before.retention_days else ()
    changes = Changes(put=(after.to_entity(asked.version),), started=started)
    return Done(200, changes, f"stream/{after.id}", body_of(after))


def delete(facts: Facts, asked: Asked, payload: DeleteStream) -> Done:
    """The log stays until the newest record's retention is over; then the topic goes and the name is free."""
    before = _active(facts, asked, payload.stream)
    after = msgspec.structs.replace(before, status=StreamStatus.DELETED)
    due_ms = asked.append_ms + before.retention_days * DAY_MS
    expiry = msgspec.structs.replace(_work(Task.EXPIRE, after, asked), due_ms=due_ms)
    return Done(204, Changes(put=(after.to_entity(asked.version),), started=(expiry,)), f"stream/{after.id}")


def created(facts: Facts, asked: Asked, report: StreamCreated) -> Reported:
    work = facts.work(report.stream_id, Task.CREATE)
    before = facts.stream(report.stream_id)
    if work is None or before is None or before.status is not StreamStatus.CREATING:
        return None
    origin = facts.answer(work.command_id)
    if report.failed is not None:
        message = f"The stream's topic could not be created. {CLUSTER_REFUSES}"
        refused = why_not_created(report.taken, Refused(503, "stream_not_created", message))
        return _creation_failed(asked, before, work, origin, refused)
    after = msgspec.structs.replace(before, status=StreamStatus.ACTIVE, topic_id=report.topic_id)
    body = body_of(after)
    if origin is not None:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=201, body=body)
    changes = Changes(put=(after.to_entity(asked.version),), finished=(work,))
    return Done(201, changes, f"stream/{after.id}", body), origin


def altered(facts: Facts, report: StreamAltered) -> Reported:
    """Finished, unless a later update wants yet another retention."""
    work = facts.work(report.stream_id, Task.ALTER)
    if work is None or work.command_id != report.update_id:
        return None
    return Done(200, Changes(finished=(work,)), f"stream/{report.stream_id}"), None


def expired(facts: Facts, asked: Asked, report: StreamExpired) -> Reported:
    work = facts.work(report.stream_id, Task.EXPIRE)
    stream = facts.stream(report.stream_id)
    if work is None or stream is None or stream.status is not StreamStatus.DELETED:
        return None
    retention = facts.work(report.stream_id, Task.ALTER)
    finished = (work,) if retention is None else (work, retention)
    return Done(204, Changes(gone=(stream.to_entity(asked.version),), finished=finished), f"stream/{stream.id}"), None


def why_not_created(taken: str | None, else_refused: Refused) -> Refused:
    """A topic that is in the way is the asker's to remove; what else a cluster refuses is for who runs it."""
    return else_refused if taken is None else Refused(409, "topic_exists", taken)


def refused_anew(asked: Asked, origin: Answer | None, refused: Refused) -> Answer | None:
    """The idempotency key is free from this record on: the request may be made anew."""
    if origin is None:
        return None
    fields = {"outcome": REFUSED, "status": refused.status, "body": refused.body, "freed": asked.version}
    return msgspec.structs.replace(origin, **fields)


def _creation_failed(
    asked: Asked, stream: Stream, work: TopicWork, origin: Answer | None, refused: Refused
) -> Reported:
    """The name is free again."""
    changes = Changes(gone=(stream.to_entity(asked.version),), finished=(work,))
    return Done(refused.status, changes, f"stream/{stream.id}"), refused_anew(asked, origin, refused)


def _name_is_free(facts: Facts, asked: Asked, name: str) -> None:
    """A system stream is made by its own surface only, and does not count."""
    command = asked.command
    if name in SYSTEM_STREAMS and command.surface != name:
        raise Refused(409, "stream_exists", f"The name {name} is reserved.")
    taken = facts.stream_named(command.workspace, command.environment, name)
    if taken is not None and taken.status is StreamStatus.DELETED:
        gone = f"A stream named {name} was deleted in {command.environment}."
        when = f"The name is free once its events are gone, {taken.retention_days} days later."
        raise Refused(409, "stream_exists", f"{gone} {when}")
    if taken is not None:
        raise Refused(409, "stream_exists", f"A stream named {name} exists in {command.environment}.")
    if name not in SYSTEM_STREAMS and facts.streams_counted(command.workspace) >= STREAMS_PER_WORKSPACE_MAX:
        message = f"The workspace has {STREAMS_PER_WORKSPACE_MAX} streams, which is as many as it may have."
        raise Refused(409, "stream_limit_reached", message)


def _active(facts: Facts, asked: Asked, id_or_name: str) -> Stream:
    command = asked.command
    stream = facts.stream_named(command.workspace, command.environment, id_or_name) or facts.stream(id_or_name)
    mine = stream is not None and (stream.workspace, stream.environment) == (command.workspace, command.environment)
    if stream is not None and stream.name in SYSTEM_STREAMS and command.surface != stream.name:
        mine = False  # it is no other surface's to change
    if stream is None or not mine or stream.status is not StreamStatus.ACTIVE:
        raise absent("stream_not_found")
    return stream


def _work(task: Task, stream: Stream, asked: Asked) -> TopicWork:
    return TopicWork(
        task=task,
        stream_id=stream.id,
        workspace=stream.workspace,
        environment=stream.environment,
        name=stream.name,
        retention_days=stream.retention_days,
        command_id=asked.command.id,
        since_ms=asked.append_ms,
        topic_id=stream.topic_id,
    )
