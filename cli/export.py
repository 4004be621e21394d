"""`atlas export`: a stream's admitted events, straight from the log, as NDJSON or Parquet for analysts."""

from pathlib import Path

import click

from cli.environment import found_environment
from cli.terminal import echo
from operations.settings import Settings, SettingsInvalid


@click.command()
@click.option("--workspace", required=True, help="The workspace's id.")
@click.option("--environment", type=click.Choice(["live", "test"]), default="live", show_default=True)
@click.option("--stream", required=True, help="The stream's name.")
@click.option("--format", "form", type=click.Choice(["ndjson", "parquet"]), default="ndjson", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
def export(workspace: str, environment: str, stream: str, form: str, out: Path) -> None:
    """Write a stream's admitted events with their payloads to a file."""
    from processors.projection.export import ExportFailed, admitted_events, write_ndjson, write_parquet
    from schemas.topics import StreamTopic

    try:
        settings = Settings.from_env(found_environment())
        events = admitted_events(settings.kafka, StreamTopic(workspace, environment, stream))
        count = write_ndjson(events, out) if form == "ndjson" else write_parquet(events, out)
    except (SettingsInvalid, ExportFailed) as failed:
        raise click.ClickException(str(failed)) from failed
    echo(f"{count} events in {out}")


COMMANDS = (export,)
