"""The rules of the topics that workflows of kind `kafka` write to. Pure.

A topic is one workflow's. It is made before the workflow's creation is answered; when the workflow is deleted it stays
until what it holds has been kept for its time, so that consumers can read on, and another workflow may take it over.
"""

import msgspec

from domain.control.streams import CLUSTER_REFUSES, Reported, refused_anew, why_not_created
from domain.control.values import Asked, Changes, Done, Facts, Refused, Task, TopicWork, body_of
from schemas.commands import DONE, ROUTE_TOPICS_PER_WORKSPACE_MAX, RouteTopicExpired, RouteTopicMade
from schemas.entities import Workflow
from schemas.errors import FieldError
from schemas.topics import DAY_MS, ROUTE_TOPIC_DAYS, parse_route_topic, route_topic_prefix


def create(facts: Facts, asked: Asked, workflow: Workflow) -> Done:
    """Takes the topic; the answer comes with `route_topic.made`."""
    _is_free(facts, workflow)
    expiring = facts.work(workflow.topic, Task.EXPIRE)
    changes = Changes(
        put=(workflow.to_entity(asked.version),),
        started=(_work(Task.CREATE, asked, workflow),),
        finished=() if expiring is None else (expiring,),
    )
    return Done(0, changes, f"workflow/{workflow.id}")


def expiry(asked: Asked, workflow: Workflow) -> TopicWork:
    """Of a workflow that is deleted."""
    due_ms = asked.append_ms + ROUTE_TOPIC_DAYS * DAY_MS
    return msgspec.structs.replace(_work(Task.EXPIRE, asked, workflow), due_ms=due_ms)


def made(facts: Facts, asked: Asked, report: RouteTopicMade) -> Reported:
    work = facts.work(report.topic, Task.CREATE)
    if work is None:
        return None
    before = facts.workflow(work.workspace, work.environment, work.workflow_id)
    if before is None or before.topic != report.topic:
        return _gone_meanwhile(facts, work, report)
    origin = facts.answer(work.command_id)
    if report.failed is not None:
        message = f"The topic could not be made. {CLUSTER_REFUSES}"
        refused = why_not_created(report.taken, Refused(503, "workflow_not_created", message))
        changes = Changes(gone=(before.to_entity(asked.version),), finished=(work,))
        return Done(refused.status, changes, f"workflow/{before.id}"), refused_anew(asked, origin, refused)
    after = msgspec.structs.replace(before, topic_id=report.topic_id)
    if origin is not None:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=201, body=body_of(after))
    changes = Changes(put=(after.to_entity(asked.version),), finished=(work,))
    return Done(201, changes, f"workflow/{after.id}", body_of(after)), origin


def expired(facts: Facts, asked: Asked, report: RouteTopicExpired) -> Reported:
    work = facts.work(report.topic, Task.EXPIRE)
    return None if work is None else (Done(204, Changes(finished=(work,)), f"topic/{report.topic}"), None)


def _gone_meanwhile(facts: Facts, work: TopicWork, report: RouteTopicMade) -> Reported:
    """The workflow was deleted while its topic was made: the expiry learns which topic it is."""
    expiring = facts.work(report.topic, Task.EXPIRE)
    started = () if expiring is None else (msgspec.structs.replace(expiring, topic_id=report.topic_id),)
    return Done(200, Changes(started=started, finished=(work,)), f"topic/{report.topic}"), None


def _is_free(facts: Facts, workflow: Workflow) -> None:
    """Raises Refused."""
    topic = parse_route_topic(workflow.topic)
    if topic is None or (topic.workspace, topic.environment) != (workflow.workspace, workflow.environment):
        prefix = route_topic_prefix(workflow.workspace, workflow.environment)
        error = FieldError("topic", f"The topic's name must begin with {prefix}.")
        raise Refused(400, "invalid_request", "The topic is not one of this workspace and environment.", (error,))
    holder = facts.route_topic(workflow.workspace, workflow.topic)
    if holder:
        raise Refused(409, "topic_taken", f"The workflow {holder} writes to {workflow.topic}.")
    if holder is None and facts.route_topics_counted(workflow.workspace) >= ROUTE_TOPICS_PER_WORKSPACE_MAX:
        message = f"The workspace has {ROUTE_TOPICS_PER_WORKSPACE_MAX} topics of workflows, which is as many as it may."
        raise Refused(409, "topic_limit_reached", message)


def _work(task: Task, asked: Asked, workflow: Workflow) -> TopicWork:
    topic = parse_route_topic(workflow.topic)
    assert topic is not None, "checked when it was taken"
    return TopicWork(
        task=task,
        stream_id=workflow.topic,
        workspace=workflow.workspace,
        environment=workflow.environment,
        name=topic.topic,
        retention_days=ROUTE_TOPIC_DAYS,
        command_id=asked.command.id,
        since_ms=asked.append_ms,
        topic_id=workflow.topic_id,
        workflow_id=workflow.id,
    )
