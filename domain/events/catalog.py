"""The event types of the three platforms as the document lists them, with a schema where it gives a payload.

Rows of docs/requirements.md: S-039 to S-042. The list is open: an org adds its own types.
"""

from typing import Any, NamedTuple


class CatalogType(NamedTuple):
    """`schema`: of `data`; None where the document gives no payload."""

    type: str
    platform: str
    description: str
    schema: dict[str, Any] | None = None


_ANALYSIS = {
    "type": "object",
    "properties": {
        "applicationId": {"type": "string"},
        "repository": {"type": "string"},
        "score": {"type": "number"},
        "issueCount": {"type": "integer", "minimum": 0},
    },
}

_ROWS = (
    ("MeshOS", "code.upload.complete", "ZIP file processed"),
    ("MeshOS", "code.analysis.complete", "Static analysis finished"),
    ("MeshOS", "review.agent.complete", "Individual AI agent finished"),
    ("MeshOS", "review.multi-agent.complete", "Full 20+ agent review done"),
    ("MeshOS", "readiness.scored", "Readiness assessment complete"),
    ("MeshOS", "component.promoted", "Component moved to registry"),
    ("MeshOS", "application.approved", "Application approved"),
    ("MeshOS", "application.archived", "Application archived"),
    ("Axis", "campaign.created", "New campaign created"),
    ("Axis", "campaign.launched", "Campaign went live"),
    ("Axis", "lead.enriched", "Lead data enrichment complete"),
    ("Axis", "lead.scored", "ICP scoring complete"),
    ("Axis", "outreach.sent", "Message delivered"),
    ("Axis", "outreach.replied", "Reply received"),
    ("Axis", "meeting.booked", "Meeting scheduled"),
    ("Axis", "compliance.blocked", "Message blocked by compliance agent"),
    ("Smart Contracts", "contract.created", "Contract record created"),
    ("Smart Contracts", "contract.deployed", "Contract deployed to chain"),
    ("Smart Contracts", "contract.executed", "Transaction executed"),
    ("Smart Contracts", "contract.failed", "Execution failed"),
    ("Smart Contracts", "backup.completed", "Backup finished"),
    ("Smart Contracts", "scaling.node-added", "Cluster scaled up"),
    ("Smart Contracts", "alert.triggered", "Monitoring alert fired"),
)
_SCHEMAS = {"code.analysis.complete": _ANALYSIS}

CATALOG: dict[str, CatalogType] = {
    kind: CatalogType(kind, platform, description, _SCHEMAS.get(kind)) for platform, kind, description in _ROWS
}
