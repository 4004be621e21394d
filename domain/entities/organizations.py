"""One tenant under four names: a workspace (events) is the tenant (work) and the org (spine, burn): X-10."""

from schemas.ids import WORKSPACE

ORG = "org_"


def org_of(workspace: str) -> str:
    """The workspace's name on the spine and AtlasBurn; a workspace created with an org's name keeps that name."""
    return ORG + workspace.removeprefix(WORKSPACE) if workspace.startswith(WORKSPACE) else workspace
