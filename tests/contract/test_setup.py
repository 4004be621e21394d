"""`make setup` on machines that lack something: the exact command to type, and nothing half made."""

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "deploy" / "local" / "setup.sh"


def program(path: Path, body: str) -> None:
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with a Python that is too old, and little else."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("dirname", "id"):
        (directory / name).symlink_to(str(shutil.which(name)))
    program(directory / "python3", "exit 1")
    return directory


@pytest.mark.parametrize(
    ("manager", "told"),
    [
        ("apt-get", "Type: sudo apt-get update && sudo apt-get install -y python3.11 python3.11-venv"),
        ("dnf", "Type: sudo dnf install -y python3.11"),
        (None, "install it with your system's package manager, then try again."),
    ],
)
def test_without_a_new_enough_python(tools: Path, tmp_path: Path, manager: str | None, told: str) -> None:
    if manager:
        program(tools / manager, "exit 1")
    done = subprocess.run(
        [str(SETUP), str(tmp_path / "venv")], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("atlas: Python 3.11 or newer is needed") and done.stderr.strip().endswith(told)
    assert not (tmp_path / "venv").exists()


def test_a_newer_python_beside_an_old_one_is_found(tools: Path, tmp_path: Path) -> None:
    program(tools / "python3.12", f'echo "$@" >> {tmp_path}/asked; case $1 in --version) echo Python 3.12.1;; esac')
    done = subprocess.run(
        [str(SETUP), str(tmp_path / "venv")], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert "making the virtual environment" in done.stderr and "with Python 3.12.1" in done.stderr
    assert f"-m venv --clear {tmp_path / 'venv'}" in (tmp_path / "asked").read_text().splitlines()
