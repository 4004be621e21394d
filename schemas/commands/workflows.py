"""Commands about workflows, and the control process's reports on the topics of Kafka workflows."""

from typing import ClassVar

from schemas.commands.fields import WorkflowId
from schemas.commands.payload import Payload
from schemas.entities import Ordering

ROUTE_TOPICS_PER_WORKSPACE_MAX = 100


class CreateWorkflow(Payload, frozen=True, kw_only=True):
    """Either `url` or `topic` (schemas.topics.RouteTopic) is given; an `id` that is left out is derived. Answer 201,
    once the topic exists: `Workflow`. 409 `workflow_exists`, `topic_taken`, `topic_limit_reached`; 400 (a topic of
    another tenant).

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
    """A workflow's topic stays until the retention of its records is over. Answer 204. 404 `workflow_not_found`."""

    kind: ClassVar[str] = "workflow.delete"
    id: str


class DisableWorkflow(Payload, frozen=True, kw_only=True):
    """From delivery: the endpoint answered 410. A workflow that was reactivated since that answer (`reactivations`
    is higher) is left alone. Answer 200: `Workflow`. 404 `workflow_not_found`.
    """

    kind: ClassVar[str] = "workflow.disable"
    id: str
    reactivations: int


class ReactivateWorkflow(Payload, frozen=True, kw_only=True):
    """Waiting deliveries are sent now. Answer 200, also where it was not disabled: `Workflow`. 404
    `workflow_not_found`.
    """

    kind: ClassVar[str] = "workflow.reactivate"
    id: str


class RouteTopicMade(Payload, frozen=True, kw_only=True):
    """From the control process: a workflow's topic exists, or it never will (`failed`, `taken`: as for a stream)."""

    kind: ClassVar[str] = "route_topic.made"
    topic: str
    topic_id: str = ""
    failed: str | None = None
    taken: str | None = None


class RouteTopicExpired(Payload, frozen=True, kw_only=True):
    """From the control process: the topic of a deleted workflow has been kept for its time and is gone."""

    kind: ClassVar[str] = "route_topic.expired"
    topic: str
