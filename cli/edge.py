"""`atlas edge-worker-secret`: what an edge worker at Cloudflare needs to know keys by. It needs the master key."""

import click

from cli.environment import found_environment
from domain.security.api_tokens import hashing_key
from operations.settings import Settings, SettingsInvalid


@click.command("edge-worker-secret")
def secret() -> None:
    """Print the secret by which edge workers look keys up.

    `atlas edge-worker-secret | npx wrangler secret put ATLASBURN_KEY_PEPPER`, in deploy/edge-worker. Who has it can
    tell whether a token is one that it has a hash of; it opens nothing by itself.
    """
    try:
        settings = Settings.from_env(found_environment())
    except SettingsInvalid as invalid:
        raise click.ClickException(str(invalid)) from None
    click.echo(hashing_key(settings.master_key).hex())


COMMANDS = (secret,)
