"""The pytest side of traceability: the marker `requirement(id, …)` and the record of what each marked test came to.

An id that docs/requirements.md doesn't know makes the module that uses it a collection error, so a typing slip can't
pass for a shown requirement. With pytest-xdist the ids travel in each report's `user_properties`, and only the
controller writes. Works on functions, classes, modules and `pytest.param(…, marks=…)` alike.
"""

from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from tests.traceability.catalogue import Catalogue, CatalogueInvalid, read_catalogue
from tests.traceability.results import RESULTS_PATH, Result, merge_results

PROPERTY = "requirement"
_WORST_FIRST = ("failed", "skipped", "passed")


def requirement_ids(node: pytest.Item) -> list[str]:
    """The ids a test carries by its own marks and those of its class and module, each once."""
    return list(dict.fromkeys(row_id for mark in node.iter_markers("requirement") for row_id in mark.args))


class MarkerCheck:
    """Turns unknown ids into collection errors and hands each test's ids to its reports."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        items = [node for node in report.result or () if isinstance(node, pytest.Item)]
        faults = sorted({fault for item in items for fault in self._faults(item)})
        if faults:
            report.outcome = "failed"
            report.longrepr = "\n".join(faults)
            report.result = []
        return report

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        item.user_properties.extend((PROPERTY, row_id) for row_id in requirement_ids(item))

    def _faults(self, item: pytest.Item) -> Iterable[str]:
        ids = requirement_ids(item)
        if any(not mark.args for mark in item.iter_markers("requirement")):
            yield f"{item.name}: the marker requirement names no id"
        for row_id in self._catalogue.unknown(set(ids)):
            yield f"{item.name}: requirement {row_id} does not stand in docs/requirements.md"


class Recorder:
    """Gathers the outcomes of marked tests on the controller and writes them when the run ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ids = tuple(str(value) for name, value in report.user_properties if name == PROPERTY)
        if not ids:
            return
        before = self._results.get(report.nodeid)
        outcomes = {report.outcome} | ({before.outcome} if before else set())
        worst = next(outcome for outcome in _WORST_FIRST if outcome in outcomes)
        self._results[report.nodeid] = Result(worst, ids)

    def pytest_sessionfinish(self) -> None:
        if self._results:
            merge_results(self._results, self._path)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirements-file",
        type=Path,
        default=RESULTS_PATH,
        help="where to record which requirements the tests show (default: .cache/requirements.json)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(id, ...): the rows of docs/requirements.md that the test shows")
    try:
        catalogue = read_catalogue()
    except CatalogueInvalid as invalid:
        raise pytest.UsageError(f"docs/requirements.md: {invalid}") from invalid
    config.pluginmanager.register(MarkerCheck(catalogue), "requirement-markers")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.getoption("--requirements-file")), "requirement-recorder")
