"""quixstreams is no dependency of Atlas: its packages, each with its hash, go into an environment of its own."""

import hashlib
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("quixstreams.lock")
VENV = Path(__file__).parents[3] / ".cache" / "bench-quixstreams"


def quixstreams_python() -> Path:
    """Made at the first use, and anew when the lock has changed."""
    python = VENV / "bin" / "python"
    installed = VENV / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != wanted:
        print("bench: installing quixstreams for comparison (hashes checked)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(LOCK)], check=True)
        installed.write_text(wanted)
    return python
