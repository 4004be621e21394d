"""The rules of streams: names, the limit, routes that exist, and the life of a stream's topic.

`creating → active → deleted → gone`: the name is taken in every state before `gone`; the Kafka topic exists from
`active` until `deleted` has lasted the stream's retention. A creation that fails frees the name.
"""

import msgspec

from domain.control.handlers import Handlers, Reported, ReportHandler, RequestHandler
from domain.control.reach import workflows_exist
from domain.control.values import (
    CommandAnswer,
    CommandChanges,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    TopicTask,
    TopicWork,
    absent,
    body_of,
)
from schemas.commands.answers import DONE, REFUSED
from schemas.commands.streams import (
    STREAMS_PER_WORKSPACE_MAX,
    CreateStream,
    DeleteStream,
    ResumeTopics,
    StreamAltered,
    StreamCreated,
    StreamExpired,
    UpdateStream,
)
from schemas.entities import Stream, StreamStatus
from schemas.ids import STREAM, derived_id
from schemas.topics import DAY_MS, SYSTEM_STREAMS, stream_topic

CLUSTER_REFUSES = "The Kafka cluster refuses it, and the control process's log says why."


def create(facts: Facts, request: CommandRequest, payload: CreateStream) -> Done:
    """Takes the name; the request is answered once `stream.created` arrives."""
    command = request.command
    _name_is_free(facts, request, payload.name)
    workflows_exist(facts, request, "default_routes", payload.default_routes)
    stream = Stream(
        id=derived_id(STREAM, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=request.append_ms,
        name=payload.name,
        description=payload.description,
        retention_days=payload.retention_days,
        default_routes=payload.default_routes,
        status=StreamStatus.CREATING,
        topic=stream_topic(command.workspace, command.environment, payload.name),
    )
    changes = CommandChanges(
        put=(stream.to_entity(request.version),), started=(_work(TopicTask.CREATE, stream, request),)
    )
    return Done(0, changes, f"stream/{stream.id}")


def update(facts: Facts, request: CommandRequest, payload: UpdateStream) -> Done:
    before = _active(facts, request, payload.stream)
    if payload.default_routes is not msgspec.UNSET:
        workflows_exist(facts, request, "default_routes", payload.default_routes)
    wanted = {name: getattr(payload, name) for name in ("description", "retention_days", "default_routes")}
    fields = {name: value for name, value in wanted.items() if value is not msgspec.UNSET}
    after = msgspec.structs.replace(before, **fields)
    started = (_work(TopicTask.ALTER, after, request),) if after.retention_days != before.retention_days else ()
    changes = CommandChanges(put=(after.to_entity(request.version),), started=started)
    return Done(200, changes, f"stream/{after.id}", body_of(after))


def delete(facts: Facts, request: CommandRequest, payload: DeleteStream) -> Done:
    """Keeps the log until the newest record's retention is over; then the topic is deleted and the name is free."""
    before = _active(facts, request, payload.stream)
    after = msgspec.structs.replace(before, status=StreamStatus.DELETED)
    due_ms = request.append_ms + before.retention_days * DAY_MS
    expiry = msgspec.structs.replace(_work(TopicTask.EXPIRE, after, request), due_ms=due_ms)
    return Done(204, CommandChanges(put=(after.to_entity(request.version),), started=(expiry,)), f"stream/{after.id}")


def created(facts: Facts, request: CommandRequest, report: StreamCreated) -> Reported:
    work = facts.work(report.stream_id, TopicTask.CREATE)
    before = facts.stream(report.stream_id)
    if work is None or before is None or before.status is not StreamStatus.CREATING:
        return None
    origin = facts.answer(work.command_id)
    if report.failed is not None:
        message = f"The stream's topic could not be created. {CLUSTER_REFUSES}"
        refused = why_not_created(report.taken, CommandRefused(503, "stream_not_created", message))
        return _creation_failed(request, before, work, origin, refused)
    after = msgspec.structs.replace(before, status=StreamStatus.ACTIVE, topic_id=report.topic_id)
    body = body_of(after)
    if origin is not None:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=201, body=body)
    changes = CommandChanges(put=(after.to_entity(request.version),), finished=(work,))
    return Done(201, changes, f"stream/{after.id}", body), origin


def altered(facts: Facts, request: CommandRequest, report: StreamAltered) -> Reported:
    """The work is finished, unless a later update asks for yet another retention."""
    work = facts.work(report.stream_id, TopicTask.ALTER)
    if work is None or work.command_id != report.update_id:
        return None
    return Done(200, CommandChanges(finished=(work,)), f"stream/{report.stream_id}"), None


def expired(facts: Facts, request: CommandRequest, report: StreamExpired) -> Reported:
    work = facts.work(report.stream_id, TopicTask.EXPIRE)
    stream = facts.stream(report.stream_id)
    if work is None or stream is None or stream.status is not StreamStatus.DELETED:
        return None
    retention = facts.work(report.stream_id, TopicTask.ALTER)
    finished = (work,) if retention is None else (work, retention)
    return Done(
        204, CommandChanges(gone=(stream.to_entity(request.version),), finished=finished), f"stream/{stream.id}"
    ), None


def resumed(facts: Facts, request: CommandRequest, report: ResumeTopics) -> Reported:
    """Decides nothing: the agent resumes the partition's unfinished work with the batch that holds this report."""
    return None


def why_not_created(taken: str | None, else_refused: CommandRefused) -> CommandRefused:
    """The caller can remove a topic that is in the way; any other refusal of the cluster is for its operator."""
    return else_refused if taken is None else CommandRefused(409, "topic_exists", taken)


def refused_and_key_freed(
    request: CommandRequest, origin: CommandAnswer | None, refused: CommandRefused
) -> CommandAnswer | None:
    """Refuses, and frees the idempotency key from this record on: the caller may repeat the request."""
    if origin is None:
        return None
    fields = {"outcome": REFUSED, "status": refused.status, "body": refused.body, "freed": request.version}
    return msgspec.structs.replace(origin, **fields)


def _creation_failed(
    request: CommandRequest, stream: Stream, work: TopicWork, origin: CommandAnswer | None, refused: CommandRefused
) -> Reported:
    """The creation failed: frees the name."""
    changes = CommandChanges(gone=(stream.to_entity(request.version),), finished=(work,))
    return Done(refused.status, changes, f"stream/{stream.id}"), refused_and_key_freed(request, origin, refused)


def _name_is_free(facts: Facts, request: CommandRequest, name: str) -> None:
    """Its own surface alone creates a system stream, which does not count towards the limit."""
    command = request.command
    if name in SYSTEM_STREAMS and command.surface != name:
        raise CommandRefused(409, "stream_exists", f"The name {name} is reserved.")
    taken = facts.stream_named(command.workspace, command.environment, name)
    if taken is not None and taken.status is StreamStatus.DELETED:
        gone = f"A stream named {name} was deleted in {command.environment}."
        when = f"The name is free once its events are gone, {taken.retention_days} days later."
        raise CommandRefused(409, "stream_exists", f"{gone} {when}")
    if taken is not None:
        raise CommandRefused(409, "stream_exists", f"A stream named {name} exists in {command.environment}.")
    if name not in SYSTEM_STREAMS and facts.streams_counted(command.workspace) >= STREAMS_PER_WORKSPACE_MAX:
        message = f"The workspace has {STREAMS_PER_WORKSPACE_MAX} streams, which is as many as it may have."
        raise CommandRefused(409, "stream_limit_reached", message)


def _active(facts: Facts, request: CommandRequest, id_or_name: str) -> Stream:
    command = request.command
    stream = facts.stream_named(command.workspace, command.environment, id_or_name) or facts.stream(id_or_name)
    mine = stream is not None and (stream.workspace, stream.environment) == (command.workspace, command.environment)
    if stream is not None and stream.name in SYSTEM_STREAMS and command.surface != stream.name:
        mine = False  # it is no other surface's to change
    if stream is None or not mine or stream.status is not StreamStatus.ACTIVE:
        raise absent("stream_not_found")
    return stream


def _work(task: TopicTask, stream: Stream, request: CommandRequest) -> TopicWork:
    return TopicWork(
        task=task,
        stream_id=stream.id,
        workspace=stream.workspace,
        environment=stream.environment,
        name=stream.name,
        retention_days=stream.retention_days,
        command_id=request.command.id,
        since_ms=request.append_ms,
        topic_id=stream.topic_id,
    )


HANDLERS: Handlers = {
    CreateStream: RequestHandler(create),
    UpdateStream: RequestHandler(update),
    DeleteStream: RequestHandler(delete),
    StreamCreated: ReportHandler(created),
    StreamAltered: ReportHandler(altered),
    StreamExpired: ReportHandler(expired),
    ResumeTopics: ReportHandler(resumed),
}
