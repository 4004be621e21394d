"""`dev.json` in ATLAS_HOME: where a development run listens and the keys to use it. It is there while Atlas serves.

Scripts and tests read it; its shape is an object with one entry a surface, `kafka` and `metrics` (README shows it).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operations.private_files import write_whole

FILE_NAME = "dev.json"


def write(home: Path, content: Mapping[str, Any]) -> Path:
    """Appears whole or not at all, readable by its owner only: it holds keys."""
    path = home / FILE_NAME
    write_whole(path, f"{json.dumps(content, indent=2)}\n".encode())
    return path


def read(home: Path) -> dict[str, Any] | None:
    """None when nothing runs in this home."""
    path = home / FILE_NAME
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def remove(home: Path) -> None:
    """A stale one would send people to a run that is gone."""
    (home / FILE_NAME).unlink(missing_ok=True)
