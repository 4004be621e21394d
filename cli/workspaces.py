"""`atlas workspace create`: a workspace and its first keys, by a command on the log. It needs the master key."""

import json
import re

import click

from cli.environment import found_environment
from cli.terminal import echo
from operations.random_ids import short_id
from operations.settings import Settings, SettingsInvalid
from schemas.ids import WORKSPACE

WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")


@click.group()
def workspace() -> None:
    """Make workspaces."""


@workspace.command()
@click.option("--name", required=True, help="What people call it.")
@click.option("--id", "workspace_id", help="An id of your own, such as org_acme; else one is made.")
def create(name: str, workspace_id: str | None) -> None:
    """Make a workspace with a live, a test and a publishable key, and print them as JSON."""
    from ingest_gateway.log.bootstrap import WorkspaceRefused, create_workspace

    chosen = workspace_id or short_id(WORKSPACE)
    if not WORKSPACE_ID.fullmatch(chosen):
        raise click.BadParameter(
            "3 to 64 characters of A-Z, a-z, 0-9, the underscore and the hyphen", param_hint="--id"
        )
    try:
        made = create_workspace(Settings.from_env(found_environment()), chosen, name)
    except (SettingsInvalid, WorkspaceRefused) as refusal:
        raise click.ClickException(str(refusal)) from refusal
    echo(json.dumps(made, indent=2))


COMMANDS = (workspace,)
