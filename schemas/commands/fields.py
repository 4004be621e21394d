"""Types of fields that several payloads have."""

from typing import Annotated, Literal

from msgspec import Meta

OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX = 86_400, 30 * 86_400
"""How long an old key or secret stays valid next to its successor."""

Environment = Literal["live", "test"]
StreamName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{3,64}\Z")]
WorkflowId = Annotated[str, Meta(pattern=r"^wf_[A-Za-z0-9_]{1,64}\Z")]
OverlapSeconds = Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)]
