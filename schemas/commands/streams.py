"""Commands about streams, and the control process's reports on the work on their topics."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from schemas.commands.fields import StreamName, WorkflowId
from schemas.commands.payload import Payload

STREAMS_PER_WORKSPACE_MAX = 100
RETENTION_DAYS_DEFAULT, RETENTION_DAYS_MIN, RETENTION_DAYS_MAX = 14, 1, 90

RetentionDays = Annotated[int, Meta(ge=RETENTION_DAYS_MIN, le=RETENTION_DAYS_MAX)]


class CreateStream(Payload, frozen=True, kw_only=True):
    """Answer 201 once the Kafka topic exists: `Stream`. 409 `stream_exists`, `stream_limit_reached`; 400."""

    kind: ClassVar[str] = "stream.create"
    name: StreamName
    description: str | None = None
    retention_days: RetentionDays = RETENTION_DAYS_DEFAULT
    default_routes: list[WorkflowId] = []


class UpdateStream(Payload, frozen=True, kw_only=True):
    """`stream`: id or name. An unset field keeps its value. Answer 200: `Stream`. 404 `stream_not_found`; 400."""

    kind: ClassVar[str] = "stream.update"
    stream: str
    description: str | UnsetType | None = UNSET
    retention_days: RetentionDays | UnsetType = UNSET
    default_routes: list[WorkflowId] | UnsetType = UNSET


class DeleteStream(Payload, frozen=True, kw_only=True):
    """`stream`: id or name. Answer 204. 404 `stream_not_found`."""

    kind: ClassVar[str] = "stream.delete"
    stream: str


class StreamCreated(Payload, frozen=True, kw_only=True):
    """From the control process: the topic exists, or it never will. `failed` says why; `taken` is the same for the
    caller, where another topic already has the name.
    """

    kind: ClassVar[str] = "stream.created"
    stream_id: str
    topic_id: str = ""
    failed: str | None = None
    taken: str | None = None


class StreamAltered(Payload, frozen=True, kw_only=True):
    """From the control process: the topic has the retention that the command `update_id` asked for."""

    kind: ClassVar[str] = "stream.altered"
    stream_id: str
    update_id: str


class StreamExpired(Payload, frozen=True, kw_only=True):
    """From the control process: a deleted stream's retention is over and its topic is gone."""

    kind: ClassVar[str] = "stream.expired"
    stream_id: str


class ResumeTopics(Payload, frozen=True, kw_only=True):
    """From the control process, to a partition it was assigned: resume the unfinished work on topics."""

    kind: ClassVar[str] = "topics.resume"
