"""`atlas tables …`: what to do when a worker refuses its tables."""

import fcntl
import os
import shutil
from pathlib import Path

import click

from cli.terminal import echo
from operations.settings import home_directory
from processors.runtime.changelog import LOSS_ACCEPTED


@click.group()
def tables() -> None:
    """The workers' durable tables on this machine."""


@tables.command()
@click.argument("group")
@click.option("--accept-loss", is_flag=True, help="Also when the changelog is empty: keys decided before count as new.")
def clear(group: str, accept_loss: bool) -> None:
    """Removes GROUP's databases; the worker rebuilds them from their changelogs when it starts. Stop it first."""
    directory = home_directory(os.environ) / "tables" / group
    if not directory.is_dir():
        raise click.ClickException(f"there is nothing in {directory}")
    for lock in directory.glob("*/*/LOCK"):
        if _is_held(lock):
            raise click.ClickException(f"a worker has {lock.parent} open: stop it first")
    for table in sorted(directory.iterdir()):
        shutil.rmtree(table)
        if accept_loss:
            table.mkdir()
            (table / LOSS_ACCEPTED).touch()
        echo(f"removed {table}")


def _is_held(lock: Path) -> bool:
    """RocksDB holds its file with a POSIX lock for as long as the database is open."""
    with lock.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


COMMANDS = (tables,)
