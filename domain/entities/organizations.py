"""One tenant under four names: a workspace (events) is the tenant (work) and the org (spine, burn): X-10."""

from schemas.ids import WORKSPACE

ORG = "org_"


def org_of(workspace: str) -> str:
    """How the spine and AtlasBurn call the workspace; one that was made with an org's name keeps it."""
    return ORG + workspace.removeprefix(WORKSPACE) if workspace.startswith(WORKSPACE) else workspace
