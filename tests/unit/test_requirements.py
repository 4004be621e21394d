"""The list of requirements and its machinery: the page is whole, markers are checked, outcomes recorded and told."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.traceability import report
from tests.traceability.catalogue import ROOT, Catalogue, CatalogueInvalid, Row, parse_catalogue, read_catalogue
from tests.traceability.markers import scan_source, scan_tests
from tests.traceability.results import Result, load_results, merge_results

GROUPS = {*("A-", "W-", "S-", "B-"), *("F", "H", "J", "S", "A", "W", "K", "L"), "X-"}
"""Statements of the four APIs, faults, oddities."""


def test_every_group_is_numbered_without_a_gap() -> None:
    numbers: dict[str, list[int]] = {}
    for row_id in read_catalogue().rows:
        group = row_id.rstrip("0123456789")
        numbers.setdefault(group, []).append(int(row_id.removeprefix(group)))
    assert numbers.keys() == GROUPS
    assert {group for group, found in numbers.items() if sorted(found) != list(range(1, len(found) + 1))} == set()


@pytest.fixture(scope="module")
def scanned() -> dict[str, set[str]]:
    return scan_tests()


def test_every_marker_in_the_tests_names_a_row(scanned: dict[str, set[str]]) -> None:
    known = read_catalogue()
    unknown = {place: missing for place, ids in scanned.items() if (missing := known.unknown(ids))}
    assert unknown == {}


def test_every_row_that_is_shown_by_a_test_is_named_by_one(scanned: dict[str, set[str]]) -> None:
    """A row promises what a test shows: write that test, or say in the row why there is none."""
    named = set[str]().union(*scanned.values())
    catalogue = read_catalogue()
    by_tests = [row for row in catalogue.rows.values() if row.prose_reason is None and not row.with_ids]
    assert [row.id for row in by_tests if row.id not in named] == []
    assert [row.id for row in catalogue.rows.values() if not _is_promised(row, catalogue, named)] == []


def _is_promised(row: Row, catalogue: Catalogue, named: set[str]) -> bool:
    """A row that is shown with others needs each of them shown by a test."""
    if row.id in named or row.prose_reason is not None:
        return True
    return bool(row.with_ids) and all(
        _is_shown_by_a_test(catalogue.rows[other], catalogue, named) for other in row.with_ids
    )


def _is_shown_by_a_test(row: Row, catalogue: Catalogue, named: set[str]) -> bool:
    return row.id in named or (
        bool(row.with_ids) and all(_is_shown_by_a_test(catalogue.rows[one], catalogue, named) for one in row.with_ids)
    )


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ("| A-001 | says something | perhaps |", "line 1: A-001 is shown by 'perhaps'"),
        ("| A-001 | says something |  |", "line 1: A-001 lacks a cell"),
        ("| A-001 | test |", "line 1: A-001 lacks a cell"),
        ("| A-001 | one | test |\n| A-001 | two | test |", "line 2: A-001 stands twice"),
        ("| X-01 | odd | with A-009 |", "X-01 is shown with A-009, which stands nowhere"),
    ],
)
def test_a_page_that_cannot_be_read_names_the_row(page: str, fault: str) -> None:
    with pytest.raises(CatalogueInvalid, match=fault):
        parse_catalogue(page)


PAGE = """
## Events
| id | statement | shown by |
|---|---|---|
| A-001 | the purpose | prose: nothing to run |
| A-002 | one of two \\| bars | test |
| A-003 | another | test |
| X-01 | odd | does this | with A-002, A-003 |
"""


def test_a_page_is_read_row_by_row() -> None:
    rows = parse_catalogue(PAGE).rows
    assert list(rows) == ["A-001", "A-002", "A-003", "X-01"]
    assert {row.document for row in rows.values()} == {"Events"}
    assert rows["A-001"].prose_reason == "nothing to run"
    assert rows["A-002"].statement == "one of two \\| bars"
    assert rows["X-01"].with_ids == ("A-002", "A-003")


@pytest.mark.parametrize(
    ("outcomes", "totals"),
    [
        ({}, "0 shown    3 not yet    1 prose"),
        ({"A-002": "passed"}, "1 shown    2 not yet    1 prose"),
        ({"A-002": "passed", "A-003": "passed"}, "3 shown    0 not yet    1 prose"),  # the oddity with them
        ({"A-002": "passed", "A-003": "failed"}, "1 shown    2 not yet    1 prose"),
        ({"A-002": "passed", "A-003": "skipped"}, "1 shown    2 not yet    1 prose"),
        ({"A-001": "passed"}, "1 shown    3 not yet    0 prose"),  # a test shows it after all
        ({"X-01": "passed"}, "1 shown    2 not yet    1 prose"),
    ],
)
def test_a_row_is_shown_by_passing_tests_alone(outcomes: dict[str, str], totals: str) -> None:
    results = {f"t.py::test_{id}[case]": Result(outcome, (id,)) for id, outcome in outcomes.items()}
    places: dict[str, set[str]] = {"t.py": set()} | {f"t.py::test_{id}": {id} for id in outcomes}
    told = list(report.lines(parse_catalogue(PAGE), report.standings_of_run(results, places)))
    assert told[-1].endswith(totals)


def test_one_failing_test_outweighs_a_passing_one_and_is_named() -> None:
    results = {"t.py::test_a": Result("passed", ("A-002",)), "t.py::test_b": Result("failed", ("A-002",))}
    standings = report.standings_of_run(results, {"t.py": set(), "t.py::test_a": set(), "t.py::test_b": set()})
    assert not standings["A-002"].shown
    assert report.failing(standings) == ["A-002"]


def test_results_of_tests_that_are_gone_do_not_count() -> None:
    results = {"t.py::test_gone": Result("passed", ("A-002",)), "gone.py::test_b": Result("passed", ("A-003",))}
    assert report.standings_of_run(results, {"t.py": set(), "t.py::test_b": set()}) == {}


def test_markers_are_found_in_the_source_wherever_they_stand() -> None:
    source = """
import pytest
pytestmark = pytest.mark.requirement("A-001")
CASES = [pytest.param(1, marks=pytest.mark.requirement("H4"))]

@pytest.mark.requirement("A-002", "A-003")
class TestClass:
    @pytest.mark.requirement("J1")
    async def test_inner(self): ...

@pytest.mark.parametrize("case", [pytest.param(1, marks=[pytest.mark.requirement("H5")])])
def test_outer(case): ...
"""
    assert scan_source(source, "t.py") == {
        "t.py": {"A-001", "H4"},
        "t.py::TestClass": {"A-002", "A-003"},
        "t.py::TestClass::test_inner": {"J1"},
        "t.py::test_outer": {"H5"},
    }


def test_runs_that_end_together_keep_each_others_results(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "requirements.json"
    runs = [{f"t.py::test_{number}": Result("passed", (f"A-{number:03}",))} for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: merge_results(run, path), runs))
    assert load_results(path) == {node: result for run in runs for node, result in run.items()}


def test_a_new_run_of_a_function_replaces_all_its_cases(tmp_path: Path) -> None:
    path = tmp_path / "requirements.json"
    other = {"t.py::test_other": Result("passed", ("A-001",))}
    merge_results({"t.py::test_table[old]": Result("failed", ("H4",)), **other}, path)
    merge_results({"t.py::test_table[new]": Result("passed", ("H4",))}, path)
    assert load_results(path) == {"t.py::test_table[new]": Result("passed", ("H4",)), **other}


SUITE = """
import pytest

@pytest.mark.requirement("A-001")
class TestStory:
    def test_goes_well(self): ...

    @pytest.mark.requirement("A-002")
    def test_goes_wrong(self):
        raise ValueError("on purpose")

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.requirement("H4"))])
def test_table(n): ...

@pytest.mark.requirement("J3")
def test_left_out():
    pytest.skip("not here")

@pytest.fixture
def broken_afterwards():
    yield
    raise ValueError("on purpose")

@pytest.mark.requirement("K2")
def test_cleans_up_badly(broken_afterwards): ...

def test_unmarked(): ...
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_records_what_each_marked_test_came_to(tmp_path: Path, workers: str) -> None:
    run = _pytest(tmp_path, SUITE, workers)
    assert run.returncode == 1, run.stdout
    assert load_results(tmp_path / "requirements.json") == {
        "test_suite.py::TestStory::test_goes_well": Result("passed", ("A-001",)),
        "test_suite.py::TestStory::test_goes_wrong": Result("failed", ("A-002", "A-001")),
        "test_suite.py::test_table[2]": Result("passed", ("H4",)),
        "test_suite.py::test_left_out": Result("skipped", ("J3",)),
        "test_suite.py::test_cleans_up_badly": Result("failed", ("K2",)),
    }


@pytest.mark.parametrize(
    ("marker", "fault"),
    [
        ('requirement("A-999")', "test_slip: requirement A-999 does not stand in docs/requirements.md"),
        ("requirement()", "test_slip: the marker requirement names no id"),
    ],
)
def test_a_marker_that_names_no_row_stops_the_collection(tmp_path: Path, marker: str, fault: str) -> None:
    run = _pytest(tmp_path, f"import pytest\n\n@pytest.mark.{marker}\ndef test_slip(): ...\n", workers="0")
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert fault in run.stdout


def test_the_report_tells_a_static_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--static", "--brief"]) == 0
    told = capsys.readouterr().out
    assert all(f"{heading:<42}" in told for heading in read_catalogue().documents())


def _pytest(folder: Path, suite: str, workers: str) -> subprocess.CompletedProcess[str]:
    """Runs a suite of its own in `folder`, with the plugin and nothing of this project's configuration."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-p", "tests.traceability.plugin", "-p", "no:cacheprovider"]
    command += ["-p", "xdist.plugin", "-n", workers, f"--requirements-file={folder / 'requirements.json'}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
