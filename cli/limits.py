"""`atlas limits`: a workspace's own quotas, changed while everything runs. It needs the installation's settings."""

import click

from cli.environment import found_environment
from cli.terminal import echo
from domain.limits.quotas import RATE_CLASSES
from operations.settings import Settings, SettingsInvalid
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.entities import PER_MINUTE_MAX
from schemas.topics import ENVIRONMENTS

COUNT = click.IntRange(1, PER_MINUTE_MAX)
class_option = click.option("--class", "rate_class", type=click.Choice(list(RATE_CLASSES)), default="events")
environment_option = click.option("--environment", type=click.Choice(ENVIRONMENTS), default="live")


@click.group()
def limits() -> None:
    """Show and change how often a workspace may ask."""


@limits.command("set")
@click.argument("workspace")
@click.option("--per-minute", type=COUNT, required=True, help="Requests a minute, sustained.")
@click.option("--burst", type=COUNT, required=True, help="Requests at once.")
@class_option
@environment_option
def set_(workspace: str, per_minute: int, burst: int, rate_class: str, environment: str) -> None:
    """Give a workspace a quota of its own."""
    show_after(workspace, environment, SetLimit(rate_class=rate_class, burst=burst, per_minute=per_minute))


@limits.command()
@click.argument("workspace")
@class_option
@environment_option
def clear(workspace: str, rate_class: str, environment: str) -> None:
    """Take it away: the installation's quota holds again."""
    show_after(workspace, environment, ClearLimit(rate_class=rate_class))


@limits.command()
@click.argument("workspace")
def show(workspace: str) -> None:
    """List the quotas that are the workspace's own."""
    show_after(workspace)


def show_after(workspace: str, environment: str = "live", payload: SetLimit | ClearLimit | None = None) -> None:
    from ingest_gateway.limits.tiers import TierRefused, change_and_show

    try:
        found = change_and_show(Settings.from_env(found_environment()), workspace, environment, payload)
    except (SettingsInvalid, TierRefused) as refusal:
        raise click.ClickException(str(refusal)) from refusal
    for limit in found:
        where = f"{limit.rate_class} {limit.environment or 'live and test'}"
        echo(f"{where:<24}{limit.per_minute} a minute, {limit.burst} at once")
    if not found:
        echo("no quota of its own")


COMMANDS = (limits,)
