"""The shipped dashboard, alerts and metrics as tests see them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.traceability.reference import metrics_by_module

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "atlas.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
NAME = re.compile(r"\b(?:atlas|process|python)_[a-z_]+\b|\bup\b")
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
OF_THE_CLIENT_LIBRARY = frozenset(
    {
        *("up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"),
        *("process_open_fds", "python_gc_collections_total"),
    }
)


class PanelQuery(NamedTuple):
    panel: str
    expr: str


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return content


def panels() -> Iterator[dict[str, Any]]:
    """Those that show something; rows only part them."""
    return (panel for panel in dashboard()["panels"] if panel["type"] != "row")


def queries() -> list[PanelQuery]:
    """Every query of every panel, with the dashboard's variables as Grafana would fill them in at first."""
    return [
        PanelQuery(panel["title"], target["expr"].replace("$surface", ".*").replace("$__rate_interval", "1m"))
        for panel in panels()
        for target in panel["targets"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def metrics() -> set[str]:
    """Names of all metrics that our processes have, as they are declared."""
    return {name for module in metrics_by_module().values() for name in module}


def metrics_named(expr: str) -> set[str]:
    """The metrics that a query reads, histograms without their parts; words in quotes and labels are none."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\bby \([^)]*\)', " ", expr)
    return {_whole(name) for name in NAME.findall(bare)}


def _whole(name: str) -> str:
    for part in HISTOGRAM_PARTS:
        if name.endswith(part) and name.removesuffix(part) in metrics():
            return name.removesuffix(part)
    return name
