"""`atlas status`: whether Atlas serves, wherever its processes run.

Of a development run each process is asked. Elsewhere Kafka is: brokers, topics, groups, members, lag, gateways; and
each operations port that is named (`--operations`, `ATLAS_STATUS_TARGETS`). Both ways Kafka is asked for topics that
are named as streams' and belong to none: what is written there nobody reads. All is well in spite of them.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from cli.environment import found_environment
from operations.kafka_clients import reason_of
from operations.settings import PROCESSES, SettingsInvalid, home_directory, kafka_cluster, status_targets

if TYPE_CHECKING:
    from operations.cluster_state import ClusterState


@dataclass(frozen=True)
class Process:
    """`missing`: why it does not serve yet; None: it is ready."""

    name: str
    address: str
    missing: str | None


@dataclass
class StatusReport:
    """`kafka_error`: why it was not seen. `unread_topics`: records by topic; None: not known."""

    kafka: str
    kafka_error: str | None = None
    cluster: "ClusterState | None" = None
    unread_topics: dict[str, int] | None = None
    processes: list[Process] = field(default_factory=list)


@click.command()
@click.option(
    "--operations",
    "targets",
    multiple=True,
    metavar="HOST:PORT",
    help="An operations port to ask; may be given several times. Else those of ATLAS_STATUS_TARGETS.",
)
@click.option("--cluster", is_flag=True, help="Ask Kafka, also where a development run is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def status(targets: tuple[str, ...], cluster: bool, as_json: bool) -> None:
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
    seen = _development(content["kafka"], content["metrics"]) if content is not None else _installation(targets)
    lines = list(_lines(seen))
    well = all(fine for fine, _ in lines)
    click.echo(json.dumps(_json(seen, well), indent=2) if as_json else "\n".join(line for _, line in lines))
    sys.exit(0 if well else 1)


def _development(kafka: str, metrics_urls: Sequence[str]) -> StatusReport:
    from confluent_kafka import KafkaException

    from operations.cluster_state import present_unread_topics

    seen = StatusReport(kafka)
    seen.processes = [_asked(name, urlsplit(url).netloc) for name, url in zip(PROCESSES, metrics_urls, strict=True)]
    try:
        seen.unread_topics = present_unread_topics(kafka)
    except KafkaException as error:
        seen.kafka_error = reason_of(error)
    return seen


def _installation(targets: Sequence[str]) -> StatusReport:
    from confluent_kafka import KafkaException

    from operations.cluster_state import cluster_state

    errors: list[str] = []
    seen = StatusReport(kafka_cluster(found_environment(), errors))
    addresses = list(targets) or status_targets(os.environ, errors)
    if errors:
        raise SettingsInvalid("; ".join(errors))
    try:
        seen.cluster = cluster_state(seen.kafka)
        seen.unread_topics = seen.cluster.unread_topics
    except KafkaException as error:
        seen.kafka_error = reason_of(error)
    seen.processes = [_asked("process", address) for address in addresses]
    return seen


def _asked(name: str, address: str) -> Process:
    from deploy.local.child import http_not_ready

    return Process(name, address, http_not_ready(f"http://{address}/readyz"))


def _lines(seen: StatusReport) -> Iterator[tuple[bool, str]]:
    """Each with whether it is as it should be."""
    if seen.kafka_error is not None:
        yield False, f"{'kafka':<12}{seen.kafka}  does not answer: {seen.kafka_error}"
        yield False, "Check that it runs, ATLAS_KAFKA, and how it lets us in (ATLAS_KAFKA_SECURITY_PROTOCOL …)."
    if seen.cluster is not None:
        yield from _lines_of_cluster(seen.cluster)
    for process in seen.processes:
        said = "ready" if process.missing is None else process.missing
        yield process.missing is None, f"{process.name:<12}{process.address:<22}{said}"
    if not seen.processes:
        yield True, "Whether each process is ready is not known: name operations ports (--operations host:port)."
    if seen.kafka_error is None:
        yield from _lines_of_unread_topics(seen.unread_topics)


def _lines_of_cluster(state: "ClusterState") -> Iterator[tuple[bool, str]]:
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


def _lines_of_unread_topics(topics: dict[str, int] | None) -> Iterator[tuple[bool, str]]:
    from operations.existing_topics import WHAT_TO_DO_UNREAD

    if topics is None:
        yield True, f"{'unread':<12}not known: the topic control, which names the streams, can't be read"
    for topic, records in (topics or {}).items():
        yield True, f"{'unread':<12}{topic}  {records} records: {WHAT_TO_DO_UNREAD}"


def _json(seen: StatusReport, well: bool) -> dict[str, Any]:
    from operations.existing_topics import WHAT_TO_DO_UNREAD

    unread = seen.unread_topics
    cluster = {} if seen.cluster is None else asdict(seen.cluster)
    cluster.pop("unread_topics", None)
    return {
        "well": well,
        "kafka": {"address": str(seen.kafka), "error": seen.kafka_error, **cluster},
        "processes": [asdict(process) for process in seen.processes],
        "unread_topics": None
        if unread is None
        else [{"topic": name, "records": unread[name], "what_to_do": WHAT_TO_DO_UNREAD} for name in unread],
    }


COMMANDS = (status,)
