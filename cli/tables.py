"""`atlas tables …`: what to do when a worker refuses its tables."""

import os
import shutil

import click

from operations.settings import Settings
from processors.runtime.changelog import LOSS_ACCEPTED


@click.group()
def tables() -> None:
    """The workers' durable tables on this machine."""


@tables.command()
@click.argument("group")
@click.option("--accept-loss", is_flag=True, help="Also when the changelog is empty: keys decided before count as new.")
def clear(group: str, accept_loss: bool) -> None:
    """Removes GROUP's databases; the worker rebuilds them from their changelogs when it starts. Stop it first."""
    directory = Settings.from_env(os.environ).home / "tables" / group
    if not directory.is_dir():
        raise click.ClickException(f"there is nothing in {directory}")
    for table in sorted(directory.iterdir()):
        shutil.rmtree(table)
        if accept_loss:
            table.mkdir()
            (table / LOSS_ACCEPTED).touch()
        click.echo(f"removed {table}")


COMMANDS = (tables,)
