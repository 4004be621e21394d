"""A test that passed only at the second try is printed as FLAKY; one that failed twice fails the run (.ci/run)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.traceability.catalogue import ROOT

SUITE = """
import pathlib
import pytest

def first_time(name):
    seen = pathlib.Path(name)
    if seen.exists():
        return False
    seen.touch()
    return True

def test_good(): ...

@pytest.mark.xdist_group("of a broker")
def test_fails_beside_others():
    assert not first_time("grouped")

@pytest.mark.parametrize("mail", ["a@b"])
def test_of_an_address(mail):
    assert not first_time("address")
"""
BROKEN = "\ndef test_broken():\n    assert False\n"
FLAKY = [
    "FLAKY test_suite.py::test_fails_beside_others",
    "FLAKY test_suite.py::test_of_an_address[a@b]",
]


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    python = [sys.executable, "-m", *command]
    return subprocess.run(python, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("suite", "exit_code", "last_lines"),
    [(SUITE, 0, FLAKY), (SUITE + BROKEN, 1, ["FAILED test_suite.py::test_broken", *FLAKY])],
    ids=["all pass then", "one fails again"],
)
def test_what_passed_only_then_is_told_in_the_last_lines(
    tmp_path: Path, suite: str, exit_code: int, last_lines: list[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_suite.py").write_text(suite)
    first = run(tmp_path, "pytest", "-q", "-n", "2", "--dist", "loadgroup")
    assert first.returncode == 1, first.stdout
    second = run(tmp_path, "tests.support.second_try")
    assert (second.returncode, second.stdout.splitlines()[-len(last_lines) :]) == (exit_code, last_lines)


def test_a_run_that_failed_without_a_failing_test_has_no_second_try(tmp_path: Path) -> None:
    ended = run(tmp_path, "tests.support.second_try")
    assert (ended.returncode, ended.stderr) == (1, "atlas: the run failed, and no test of it did\n")
