"""`atlas up`, `atlas status`, `atlas config`: run Atlas on this machine, ask how it is, show its settings."""

import contextlib
import os
import sys
from urllib.parse import urlsplit

import click

from operations.settings import PROCESSES, Settings, SettingsInvalid, home_directory


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
def status() -> None:
    """Ask each process whether it serves; the exit code is 0 when all do."""
    from deploy.local import dev_file
    from deploy.local.child import http_not_ready

    home = home_directory(os.environ)
    content = dev_file.read(home)
    if content is None:
        raise click.ClickException(
            f"Atlas does not run in {home} (there is no {dev_file.FILE_NAME}). Start it: atlas up"
        )
    not_ready = 0
    for name, metrics_url in zip(PROCESSES, content["metrics"], strict=True):
        missing = http_not_ready(metrics_url.removesuffix("/metrics") + "/readyz")
        not_ready += missing is not None
        click.echo(f"{name:<12}{urlsplit(metrics_url).netloc:<22}{'ready' if missing is None else missing}")
    sys.exit(1 if not_ready else 0)


@click.command()
def config() -> None:
    """Show every setting as the environment makes it, secrets masked."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsInvalid as invalid:
        raise click.ClickException(str(invalid)) from invalid
    told = settings.describe()
    width = max(map(len, told)) + 2
    for name, value in told.items():
        click.echo(f"{name:<{width}}{value}")


def say(sentence: str) -> None:
    """To standard error; a terminal that is gone stops nothing."""
    with contextlib.suppress(OSError):
        click.echo(f"atlas: {sentence}", err=True)


COMMANDS = (up, status, config)
