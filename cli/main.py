"""The `atlas` command. Each group of commands is a file of its own beside this one, listed here."""

import click

from cli import edge, export, guardrails, keys, limits, read_model, run, tables, workspaces


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Atlas: an event platform on a Kafka log."""


for command in (
    *run.COMMANDS,
    *limits.COMMANDS,
    *tables.COMMANDS,
    *workspaces.COMMANDS,
    *keys.COMMANDS,
    *read_model.COMMANDS,
    *export.COMMANDS,
    *edge.COMMANDS,
    *guardrails.COMMANDS,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
