"""docs/install-and-upgrade.md: its commands build a wheel and install it, and what is installed is all that runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.traceability.catalogue import ROOT
from tests.traceability.tree import project_files

PAGE = ROOT / "docs" / "install-and-upgrade.md"
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNIT = re.compile(r"^```ini\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WHAT_RUNS = """
import ingest_gateway.__main__, processors.__main__, cli.main, psycopg
from ingest_gateway.surfaces.shared.contract import load_document
from operations.read_model_engine import writer_engine
from operations.settings import SURFACES
from processors.projection.migrate import migrate

assert "site-packages" in cli.main.__file__
assert all(load_document(surface)["paths"] for surface in SURFACES)
with writer_engine("sqlite:///read-model.sqlite").begin() as connection:
    migrate(connection)
print("whole")
"""


def run(command: str, folder: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_wheel_that_is_built_and_installed_as_the_page_says_is_whole(tmp_path: Path) -> None:
    build, install = SHELL.findall(PAGE.read_text(encoding="utf-8"))[:2]
    checkout, elsewhere, target = tmp_path / "checkout", tmp_path / "elsewhere", tmp_path / "atlas"
    for path in project_files():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, checkout / path)
    run(build.replace("python3", sys.executable), checkout)
    shutil.copytree(checkout / "dist", elsewhere / "dist")
    said = run(install.replace("python3", sys.executable).replace("/opt/atlas", str(target)), elsewhere)
    assert "Usage: atlas" in said
    (elsewhere / "what_runs.py").write_text(WHAT_RUNS)
    assert run(f"{target}/bin/python what_runs.py", elsewhere) == "whole\n"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    (unit,) = UNIT.findall(PAGE.read_text(encoding="utf-8"))
    file = tmp_path / "atlas@.service"
    file.write_text(unit.replace("/opt/atlas/bin/python", sys.executable))
    run(f"systemd-analyze verify {file}", tmp_path)
