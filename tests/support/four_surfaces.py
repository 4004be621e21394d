"""The four surfaces, for tests of what they have in common: which documents they serve, and which key opens them."""

from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.spine.app import SPINE
from ingest_gateway.surfaces.work.app import WORK

ALL = (EVENTS, WORK, SPINE, BURN)
DOWNLOADS = {
    "events": "atlas-events-api",
    "work": "atlas-public-api",
    "spine": "atlas-spine-api",
    "burn": "atlas-burn-api",
}
KEYS = {"events": "live", "work": "pat", "spine": "spine", "burn": "burn"}
"""Of WorkSurface.keys."""
