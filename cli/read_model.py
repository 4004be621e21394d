"""`atlas rebuild` makes the read model anew from the log; `atlas verify` says whether it is the log's."""

import sys

import click

from cli.environment import found_environment
from cli.terminal import echo
from operations.settings import Settings, SettingsInvalid


@click.command()
def rebuild() -> None:
    """Make the read model anew from the log, beside the live one, and put it in its place."""
    from processors.projection.log_batches import RebuildFailed
    from processors.projection.rebuild import rebuild as run_rebuild
    from processors.projection.store import DatabaseAway

    settings = _settings()
    try:
        done = run_rebuild(settings.database_url, settings.kafka, lambda step: echo(f"atlas: {step}", err=True))
    except (RebuildFailed, DatabaseAway) as failed:
        raise click.ClickException(f"The live read model stays as it is: {failed}") from failed
    rate = done.records / max(done.seconds, 0.001)
    echo(f"{done.records} records in {done.seconds:.1f} s ({rate:.0f} a second)")


@click.command()
def verify() -> None:
    """Compare the read model with one made anew from the log, and print what differs; 0 when nothing does."""
    from processors.projection.log_batches import RebuildFailed
    from processors.projection.store import DatabaseAway
    from processors.projection.verify import verify as run_verify

    settings = _settings()
    try:
        found = run_verify(settings.database_url, settings.kafka)
    except (RebuildFailed, DatabaseAway) as failed:
        raise click.ClickException(str(failed)) from failed
    for difference in found:
        echo(f"{difference.table} {difference.side} {difference.row}")
    echo("no difference" if not found else f"{len(found)} differences (100 are shown at most)", err=True)
    sys.exit(1 if found else 0)


def _settings() -> Settings:
    try:
        return Settings.from_env(found_environment())
    except SettingsInvalid as invalid:
        raise click.ClickException(str(invalid)) from invalid


COMMANDS = (rebuild, verify)
