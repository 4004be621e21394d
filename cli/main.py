"""The `atlas` command. Each group of commands is a file of its own beside this one, listed here."""

import logging
import os

import click

from cli import dead_letters, edge, export, guardrails, keys, limits, listen, read_model, run, tables, workspaces
from operations.kafka_clients import LIBRDKAFKA_LOG
from operations.private_files import keep_to_oneself


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Atlas: an event platform on a Kafka log."""
    before = keep_to_oneself()  # what is exported, too: it is everybody's events
    context.call_on_close(lambda: os.umask(before))
    LIBRDKAFKA_LOG.addHandler(logging.NullHandler())  # what fails is told once, by the command


for command in (
    *run.COMMANDS,
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
