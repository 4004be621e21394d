"""The `atlas` command. Each group of commands is a file in this folder, listed here."""

import logging
import os
from typing import Any

import click

from cli import (
    dead_letters,
    edge,
    export,
    guardrails,
    keys,
    limits,
    listen,
    read_model,
    run,
    status,
    tables,
    workspaces,
)
from operations.private_files import keep_to_oneself


class Commands(click.Group):
    """An error that an operator can mend is reported in one sentence; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from operations.endings import ending_of

            found = ending_of(error)
            if found is None:
                raise
            ending, said = found
            raise click.ClickException(f"{said.rstrip('.')}. {ending.advice}") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Atlas: an event platform on a Kafka log."""
    before = keep_to_oneself()  # what is exported, too: it is everybody's events
    context.call_on_close(lambda: os.umask(before))
    logging.getLogger().addHandler(logging.NullHandler())  # the command itself reports what fails, once


for command in (
    *run.COMMANDS,
    *status.COMMANDS,
    *listen.COMMANDS,
    *limits.COMMANDS,
    *tables.COMMANDS,
    *workspaces.COMMANDS,
    *keys.COMMANDS,
    *read_model.COMMANDS,
    *export.COMMANDS,
    *dead_letters.COMMANDS,
    *edge.COMMANDS,
    *guardrails.COMMANDS,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
