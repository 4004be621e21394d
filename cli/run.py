"""`atlas up`, `atlas config`: run Atlas on this machine, show its settings."""

import contextlib
import os

import click

from cli.environment import found_environment
from operations.settings import Settings, SettingsInvalid


@click.command()
def up() -> None:
    """Start everything on this machine and keep it running, until Ctrl-C."""
    from deploy.local.up import REFUSALS
    from deploy.local.up import up as run_up

    try:
        run_up(os.environ, say)
    except REFUSALS as refusal:
        raise click.ClickException(str(refusal)) from refusal


@click.command()
def config() -> None:
    """Show every setting as commands in this terminal have it, secrets masked."""
    try:
        settings = Settings.from_env(found_environment())
    except SettingsInvalid as invalid:
        raise click.ClickException(str(invalid)) from invalid
    described = settings.describe()
    width = max(map(len, described)) + 2
    for name, value in described.items():
        click.echo(f"{name:<{width}}{value}")


def say(sentence: str) -> None:
    """To standard error; a terminal that is gone stops nothing."""
    with contextlib.suppress(OSError):
        click.echo(f"atlas: {sentence}", err=True)


COMMANDS = (up, config)
