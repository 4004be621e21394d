"""Lists made from `audit` hold every change that was answered before they were asked for, by whichever gateway."""

from ingest_gateway.log.event_log import LogUnavailable
from ingest_gateway.services import Services
from ingest_gateway.surfaces.faults import READ_MODEL_BEHIND
from schemas.topics import Topic


async def audit_passed(services: Services) -> None:
    """Waits until projection has passed all that stands on `audit` now. Refused past the bound."""
    try:
        ends = await services.events.ends(Topic.AUDIT)
    except LogUnavailable:
        raise READ_MODEL_BEHIND.refused() from None
    if not await services.reads.wait_until_passed(ends, services.settings.read_timeout_seconds):
        raise READ_MODEL_BEHIND.refused()
