"""`atlas rebuild` rebuilds the read model from the log; `atlas verify` compares it with the log."""

import sys

import click

from cli.environment import found_environment
from cli.terminal import echo
from operations.settings import Settings, SettingsInvalid


@click.command()
def rebuild() -> None:
    """Rebuild the read model from the log next to the live one, then replace the live one."""
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
    """Compare the read model with one rebuilt from the log and print the differences; exits 0 when there are none."""
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
