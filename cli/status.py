"""`atlas status`: whether Atlas serves, wherever its processes run.

Of a development run each process is asked. Elsewhere Kafka is: brokers, topics, groups, members, lag, gateways; and
each operations port that is named (`--operations`, `ATLAS_STATUS_TARGETS`).
"""

import os
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import click

from operations.settings import PROCESSES, SettingsInvalid, home_directory, kafka_cluster, status_targets


@click.command()
@click.option(
    "--operations",
    "targets",
    multiple=True,
    metavar="HOST:PORT",
    help="An operations port to ask; may be given several times. Else those of ATLAS_STATUS_TARGETS.",
)
@click.option("--cluster", is_flag=True, help="Ask Kafka, also where a development run is.")
def status(targets: tuple[str, ...], cluster: bool) -> None:
    """Say whether each process serves; the exit code is 0 when all is well."""
    from deploy.local import dev_file

    home = home_directory(os.environ)
    content = None if targets or cluster else dev_file.read(home)
    is_told_where = bool(targets or cluster or os.environ.keys() & {"ATLAS_KAFKA", "ATLAS_STATUS_TARGETS"})
    if content is None and not is_told_where:
        raise click.ClickException(
            f"Atlas does not run in {home} (there is no {dev_file.FILE_NAME}). Start it: atlas up. Or say where "
            "else to look: ATLAS_KAFKA, --operations host:port"
        )
    lines = _of_development(content["metrics"]) if content is not None else _of_installation(targets)
    well = True
    for fine, line in lines:
        well &= fine
        click.echo(line)
    sys.exit(0 if well else 1)


def _of_development(metrics_urls: Sequence[str]) -> Iterator[tuple[bool, str]]:
    for name, url in zip(PROCESSES, metrics_urls, strict=True):
        yield _asked(name, urlsplit(url).netloc)


def _of_installation(targets: Sequence[str]) -> Iterator[tuple[bool, str]]:
    from confluent_kafka import KafkaException

    from operations.cluster_state import cluster_state

    faults: list[str] = []
    kafka = kafka_cluster(os.environ, faults)
    asked = list(targets) or status_targets(os.environ, faults)
    if faults:
        raise SettingsInvalid("; ".join(faults))
    try:
        state = cluster_state(kafka)
    except KafkaException as error:
        yield False, f"{'kafka':<12}{kafka}  does not answer: {error.args[0].str()}"
        yield False, "Check that it runs, ATLAS_KAFKA, and how it lets us in (ATLAS_KAFKA_SECURITY_PROTOCOL …)."
    else:
        yield True, f"{'kafka':<12}brokers: {', '.join(state.brokers)}"
        missing = f", missing: {', '.join(state.missing_topics)}" if state.missing_topics else ""
        yield not missing, f"{'topics':<12}{state.stream_topics} streams{missing}"
        for group in state.groups:
            lag = "nothing committed" if group.lag is None else f"lag {group.lag}"
            fine = group.members > 0 and group.state == "stable"
            yield fine, f"{group.name:<12}{group.state:<22}{group.members} members, {lag}"
        for name, seconds in state.heard_of.items():
            yield True, f"{'gateway':<12}{name:<22}last heard of {seconds:.0f} s ago"
        if not state.heard_of:
            yield True, f"{'gateway':<12}none was heard of (with ATLAS_RATE_LIMITS=off they say nothing)"
    for target in asked:
        yield _asked("process", target)
    if not asked:
        yield True, "Whether each process is ready is not known: name operations ports (--operations host:port)."


def _asked(name: str, address: str) -> tuple[bool, str]:
    from deploy.local.child import http_not_ready

    missing = http_not_ready(f"http://{address}/readyz")
    return missing is None, f"{name:<12}{address:<22}{'ready' if missing is None else missing}"


COMMANDS = (status,)
