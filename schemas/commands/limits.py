"""Commands about a workspace's own rate limits."""

from typing import Annotated, ClassVar

from msgspec import Meta

from schemas.commands.payload import Payload
from schemas.entities import PER_MINUTE_MAX

RequestCount = Annotated[int, Meta(ge=1, le=PER_MINUTE_MAX)]


class SetLimit(Payload, frozen=True, kw_only=True):
    """Sets the workspace's own quota of a class, in the command's environment. Answer 200: `Limit`. 400 (no such
    class).
    """

    kind: ClassVar[str] = "limit.set"
    rate_class: str
    burst: RequestCount
    per_minute: RequestCount


class ClearLimit(Payload, frozen=True, kw_only=True):
    """The installation's quota applies again. Answer 204, also where none was set. 400 (no such class)."""

    kind: ClassVar[str] = "limit.clear"
    rate_class: str
