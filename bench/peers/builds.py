"""What has to be made before the run: an older commit's source tree with what runs it, and the Benthos program."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.streams import unpack
from bench.system import ROOT

LOCK = "requirements.lock"
BENTHOS = Path(__file__).with_name("benthos")
BENTHOS_SOURCES = ("main.go", "go.mod", "go.sum")
CACHE = ROOT / ".cache" / "bench-benthos"
BUILD_SECONDS = 900.0


class CannotBuild(Exception):
    """The message is the reason, as the end of a sentence."""


def older_tree(commit: str, tree: Path) -> str:
    """Unpacks the commit into `tree`, which is new, and returns the Python that runs it: this one, unless the commit
    wants other packages. Raises SystemExit where there is no such commit, CannotBuild.
    """
    tree.mkdir()
    unpack(commit, tree)
    if (tree / LOCK).read_bytes() == (ROOT / LOCK).read_bytes():
        return sys.executable
    print(f"bench-peers: {commit} has another {LOCK}, so it gets an environment of its own", file=sys.stderr)
    made = subprocess.run(["sh", str(tree / "deploy" / "local" / "setup.sh"), str(tree / ".venv")], check=False)
    if made.returncode != 0:
        raise CannotBuild(f"the packages of {commit} can't be installed")
    return str(tree / ".venv" / "bin" / "python")


def benthos_program() -> Path:
    """Built at the first use, and anew when its sources have changed. Raises CannotBuild."""
    sources = b"".join((BENTHOS / name).read_bytes() for name in BENTHOS_SOURCES)
    program = CACHE / f"benthos-{hashlib.sha256(sources).hexdigest()[:16]}"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise CannotBuild("there is no Go")
    print("bench-peers: building Benthos, once", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(".part")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    command = [go, "build", "-trimpath", "-o", str(unfinished), "."]
    try:
        done = subprocess.run(
            command, cwd=BENTHOS, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"Go was not finished after {BUILD_SECONDS:g} s") from None
    if done.returncode != 0:
        raise CannotBuild(f"Go can't build it: {last_line(done.stderr)}")
    unfinished.replace(program)
    return program


def last_line(text: str) -> str:
    """Of a message, the words that say most; empty where there are none."""
    return text.strip().rpartition("\n")[2]
