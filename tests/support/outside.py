"""Material that is not in the repository: tests that need it are skipped, and say which variable tells where it is."""

import os
from pathlib import Path

DATA, DOCUMENTS = "ATLAS_TEST_DATA", "ATLAS_TEST_DOCUMENTS"


def outside(variable: str, pattern: str) -> Path | None:
    """The first file of that name below the folder that the variable names."""
    folder = os.environ.get(variable)
    return next(iter(sorted(Path(folder).glob(pattern))), None) if folder else None


def why_skipped(variable: str, what: str) -> str:
    return f"{what} not in the repository: set {variable} to the folder that holds them"
