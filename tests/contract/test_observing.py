"""What is shipped for those who watch Atlas: Prometheus takes it, it names metrics that exist, its alerts fire."""

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import main
from deploy.grafana.dashboard import text
from deploy.local.scraping import write_scraping
from tests.support import dashboard
from tests.traceability.catalogue import ROOT

PROMTOOL = shutil.which("promtool")
ALERT_TESTS = Path(__file__).with_name("alerts.test.yml")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_what_a_run_writes(tmp_path: Path) -> None:
    written = write_scraping(tmp_path, {"gateway": "127.0.0.1:9100", "admission": "127.0.0.1:9101"})
    said = promtool("check", "config", written)
    assert "SUCCESS" in said and "WARNING" not in said
    again = write_scraping(tmp_path, {"gateway": "127.0.0.1:9200"})
    assert "9200" in (again.parent / "targets.json").read_text() and len(list(again.parent.iterdir())) == 3


@needs_promtool
def test_every_alert_fires_on_its_trouble_and_none_on_health() -> None:
    promtool("test", "rules", ALERT_TESTS)


def test_every_alert_is_shown_to_fire_and_says_where_to_look() -> None:
    shown = set(_values(yaml.safe_load(ALERT_TESTS.read_text())))
    for name, rule in dashboard.alerts().items():
        assert any(name in value for value in shown), f"{name} is nowhere shown to fire"
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"].keys() == {"summary", "look"}


def test_the_page_for_those_who_are_called_names_every_alert_and_only_commands_that_exist() -> None:
    page = (ROOT / "docs" / "observing.md").read_text(encoding="utf-8")
    assert not [name for name in dashboard.alerts() if name not in page]
    named = set(re.findall(r"`atlas ([a-z-]+)", page))
    assert {"status", "dead-letters", "verify"} <= named <= set(main.commands)


def test_dashboard_and_alerts_name_metrics_that_exist() -> None:
    known = dashboard.metrics() | dashboard.OF_THE_CLIENT_LIBRARY
    asked = {
        **{f"panel {query.panel}": query.expr for query in dashboard.queries()},
        **{f"alert {name}": rule["expr"] for name, rule in dashboard.alerts().items()},
    }
    named = {where: dashboard.metrics_named(expr) for where, expr in asked.items()}
    assert all(named.values()), "every query reads a metric"
    assert not {where: names - known for where, names in named.items() if names - known}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set[str]().union(*(dashboard.metrics_named(query.expr) for query in dashboard.queries()))
    assert not dashboard.metrics() - shown, "give each a line in deploy/grafana/panels.py, then `make docs`"


def test_the_dashboard_is_what_its_panels_say() -> None:
    assert dashboard.DASHBOARD.read_text(encoding="utf-8") == text(), "run `make docs`"


def test_panels_lie_side_by_side_and_say_what_they_show() -> None:
    panels = list(dashboard.panels())
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["description"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    for one, other in combinations(panels, 2):
        assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)


def _values(tree: Any) -> list[str]:
    """Every text that stands anywhere in it."""
    if isinstance(tree, dict):
        return [text for value in tree.values() for text in _values(value)]
    if isinstance(tree, list):
        return [text for value in tree for text in _values(value)]
    return [str(tree)]
