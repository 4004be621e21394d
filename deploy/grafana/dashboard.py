"""Writes deploy/grafana/atlas.json, Grafana's form of what `panels` says: `python -m deploy.grafana.dashboard`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from deploy.grafana.panels import ROWS, STATS
from deploy.grafana.queries import OURS, Graph, Query, Stat

PATH = Path(__file__).with_name("atlas.json")
WIDTH = 24
STAT_HEIGHT, GRAPH_HEIGHT, ROW_HEIGHT, GRAPHS_A_LINE = 4, 8, 1, 3
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SURFACES = "label_values(atlas_http_requests_total, surface)"


def dashboard() -> dict[str, Any]:
    return {
        "title": "Atlas",
        "uid": "atlas",
        "description": "An Atlas installation: what comes in, what is decided, what goes out, what is in trouble.",
        "tags": ["atlas"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "links": [],
        "templating": {"list": _variables()},
        "annotations": {"list": [_starts()]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), start=1)],
    }


def _panels() -> Iterator[dict[str, Any]]:
    width = WIDTH // len(STATS)
    for place, stat in enumerate(STATS):
        yield _stat(stat, {"x": place * width, "y": 0, "w": width, "h": STAT_HEIGHT})
    top = STAT_HEIGHT
    for title, graphs in ROWS.items():
        position = {"x": 0, "y": top, "w": WIDTH, "h": ROW_HEIGHT}
        yield {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": position}
        yield from _graphs(graphs, top + ROW_HEIGHT)
        top += ROW_HEIGHT + GRAPH_HEIGHT * -(-len(graphs) // GRAPHS_A_LINE)


def _graphs(graphs: Sequence[Graph], top: int) -> Iterator[dict[str, Any]]:
    width = WIDTH // GRAPHS_A_LINE
    for place, graph in enumerate(graphs):
        line, column = divmod(place, GRAPHS_A_LINE)
        yield _graph(graph, {"x": column * width, "y": top + line * GRAPH_HEIGHT, "w": width, "h": GRAPH_HEIGHT})


def _stat(stat: Stat, position: dict[str, int]) -> dict[str, Any]:
    steps = [("green", None), *((color, at) for color, at in (("orange", stat.orange), ("red", stat.red)) if at)]
    thresholds = {"mode": "absolute", "steps": [{"color": color, "value": at} for color, at in steps]}
    return {
        "type": "stat",
        "title": stat.title,
        "description": stat.description,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": stat.unit, "thresholds": thresholds}, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
        },
        "targets": _targets([Query(stat.expr)]),
    }


def _graph(graph: Graph, position: dict[str, int]) -> dict[str, Any]:
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 10,
        "showPoints": "never",
        "stacking": {"mode": "normal" if graph.stacked else "none"},
    }
    return {
        "type": "timeseries",
        "title": graph.title,
        "description": graph.description,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": graph.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": _targets(graph.queries),
    }


def _targets(queries: Iterable[Query]) -> list[dict[str, Any]]:
    return [
        {"refId": letter, "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend, "range": True}
        for letter, query in zip(ascii_uppercase, queries, strict=False)
    ]


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}
    surface = {
        "name": "surface",
        "label": "Surface",
        "type": "query",
        "datasource": SOURCE,
        "definition": SURFACES,
        "query": {"query": SURFACES, "refId": "surface"},
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }
    return [source, surface]


def _starts() -> dict[str, Any]:
    """A mark wherever a process started."""
    expr = f"changes(process_start_time_seconds{OURS}[1m]) > 0"
    return {
        "name": "Starts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": expr,
        "titleFormat": "{{process}} started",
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
