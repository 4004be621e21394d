"""The rules of the topics that workflows of kind `kafka` write to.

A topic belongs to one workflow and is created before the workflow's creation is answered. After the workflow is deleted
the topic is kept for its retention, so that consumers can read on; meanwhile another workflow may take it over.
"""

import msgspec

from domain.control.handlers import Handlers, Reported, ReportHandler
from domain.control.streams import CLUSTER_REFUSES, refused_and_key_freed, why_not_created
from domain.control.values import (
    CommandChanges,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    TopicTask,
    TopicWork,
    body_of,
)
from schemas.commands.answers import DONE
from schemas.commands.workflows import ROUTE_TOPICS_PER_WORKSPACE_MAX, RouteTopicExpired, RouteTopicMade
from schemas.entities import Workflow
from schemas.errors import FieldError
from schemas.topics import DAY_MS, ROUTE_TOPIC_DAYS, parse_route_topic, route_topic_prefix


def create(facts: Facts, request: CommandRequest, workflow: Workflow) -> Done:
    """Takes the topic; the request is answered once `route_topic.made` arrives."""
    _is_free(facts, workflow)
    expiring = facts.work(workflow.topic, TopicTask.EXPIRE)
    changes = CommandChanges(
        put=(workflow.to_entity(request.version),),
        started=(_work(TopicTask.CREATE, request, workflow),),
        finished=() if expiring is None else (expiring,),
    )
    return Done(0, changes, f"workflow/{workflow.id}")


def expiry(request: CommandRequest, workflow: Workflow) -> TopicWork:
    """The work that deletes the topic of a deleted workflow."""
    due_ms = request.append_ms + ROUTE_TOPIC_DAYS * DAY_MS
    return msgspec.structs.replace(_work(TopicTask.EXPIRE, request, workflow), due_ms=due_ms)


def made(facts: Facts, request: CommandRequest, report: RouteTopicMade) -> Reported:
    work = facts.work(report.topic, TopicTask.CREATE)
    if work is None:
        return None
    before = facts.workflow(work.workspace, work.environment, work.workflow_id)
    if before is None or before.topic != report.topic:
        return _gone_meanwhile(facts, work, report)
    origin = facts.answer(work.command_id)
    if report.failed is not None:
        message = f"The topic could not be made. {CLUSTER_REFUSES}"
        refused = why_not_created(report.taken, CommandRefused(503, "workflow_not_created", message))
        changes = CommandChanges(gone=(before.to_entity(request.version),), finished=(work,))
        return Done(refused.status, changes, f"workflow/{before.id}"), refused_and_key_freed(request, origin, refused)
    after = msgspec.structs.replace(before, topic_id=report.topic_id)
    if origin is not None:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=201, body=body_of(after))
    changes = CommandChanges(put=(after.to_entity(request.version),), finished=(work,))
    return Done(201, changes, f"workflow/{after.id}", body_of(after)), origin


def expired(facts: Facts, request: CommandRequest, report: RouteTopicExpired) -> Reported:
    work = facts.work(report.topic, TopicTask.EXPIRE)
    return None if work is None else (Done(204, CommandChanges(finished=(work,)), f"topic/{report.topic}"), None)


def _gone_meanwhile(facts: Facts, work: TopicWork, report: RouteTopicMade) -> Reported:
    """The workflow was deleted while its topic was being created: the topic's id goes to its expiry."""
    expiring = facts.work(report.topic, TopicTask.EXPIRE)
    started = () if expiring is None else (msgspec.structs.replace(expiring, topic_id=report.topic_id),)
    return Done(200, CommandChanges(started=started, finished=(work,)), f"topic/{report.topic}"), None


def _is_free(facts: Facts, workflow: Workflow) -> None:
    """Raises CommandRefused."""
    topic = parse_route_topic(workflow.topic)
    if topic is None or (topic.workspace, topic.environment) != (workflow.workspace, workflow.environment):
        prefix = route_topic_prefix(workflow.workspace, workflow.environment)
        error = FieldError("topic", f"The topic's name must begin with {prefix}.")
        raise CommandRefused(
            400, "invalid_request", "The topic is not one of this workspace and environment.", (error,)
        )
    holder = facts.route_topic(workflow.workspace, workflow.topic)
    if holder:
        raise CommandRefused(409, "topic_taken", f"The workflow {holder} writes to {workflow.topic}.")
    if holder is None and facts.route_topics_counted(workflow.workspace) >= ROUTE_TOPICS_PER_WORKSPACE_MAX:
        message = f"The workspace has {ROUTE_TOPICS_PER_WORKSPACE_MAX} topics of workflows, which is as many as it may."
        raise CommandRefused(409, "topic_limit_reached", message)


def _work(task: TopicTask, request: CommandRequest, workflow: Workflow) -> TopicWork:
    topic = parse_route_topic(workflow.topic)
    assert topic is not None, "checked when it was taken"
    return TopicWork(
        task=task,
        stream_id=workflow.topic,
        workspace=workflow.workspace,
        environment=workflow.environment,
        name=topic.topic,
        retention_days=ROUTE_TOPIC_DAYS,
        command_id=request.command.id,
        since_ms=request.append_ms,
        topic_id=workflow.topic_id,
        workflow_id=workflow.id,
    )


HANDLERS: Handlers = {
    RouteTopicMade: ReportHandler(made),
    RouteTopicExpired: ReportHandler(expired),
}
