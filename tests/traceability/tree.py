"""The project's own files, and what its Python files import: what the house rules are asked about.

Files are those that git tracks; in a tree without git, all that .gitignore doesn't name.
"""

import ast
import fnmatch
import subprocess
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath

from tests.traceability.catalogue import ROOT

PACKAGES = ("schemas", "domain", "operations", "ingest_gateway", "processors", "cli", "deploy")
_BINARY_SUFFIXES = frozenset({".png", ".jpg", ".gif", ".ico", ".woff2", ".jar", ".gz", ".xz", ".zip", ".pdf"})


@cache
def project_files(root: Path = ROOT) -> tuple[PurePosixPath, ...]:
    """Paths from the root of all files that belong to the project."""
    found = _tracked_files(root)
    names = _walked_files(root) if found is None else (PurePosixPath(name) for name in found)
    return tuple(sorted(name for name in names if (root / name).is_file()))


def text_files() -> Iterator[tuple[PurePosixPath, str]]:
    """Every file of the project that holds text, with it."""
    for path in project_files():
        if path.suffix not in _BINARY_SUFFIXES:
            yield path, (ROOT / path).read_text(encoding="utf-8")


def python_files(*folders: str) -> list[PurePosixPath]:
    """The project's Python files, or those below some of its top folders."""
    return [path for path in project_files() if path.suffix == ".py" and (not folders or path.parts[0] in folders)]


@lru_cache(maxsize=1)
def parsed(source: str) -> ast.Module:
    """Rules that look at one file after the other share its tree."""
    return ast.parse(source)


def imported_modules(path: PurePosixPath, source: str) -> set[str]:
    """Every module and name that a file imports, anywhere in it, as dotted names from the top."""
    names: set[str] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def dotted_names(source: str) -> set[str]:
    """Attribute chains that a file uses, such as `os.environ` or `datetime.now`."""
    return {ast.unparse(node) for node in ast.walk(parsed(source)) if isinstance(node, ast.Attribute)}


def is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _tracked_files(root: Path) -> list[str] | None:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in listing.stdout.split("\0") if name]


def _walked_files(root: Path) -> Iterator[PurePosixPath]:
    ignored = [".git/", *(root / ".gitignore").read_text(encoding="utf-8").split()]
    for path in root.rglob("*"):
        name = PurePosixPath(path.relative_to(root).as_posix())
        if path.is_file() and not any(_ignores(pattern, name) for pattern in ignored):
            yield name


def _ignores(pattern: str, name: PurePosixPath) -> bool:
    """As .gitignore means it, for the patterns that ours holds: a folder by name or by path, or a file's name."""
    wanted = pattern.strip("/")
    if "/" in wanted:
        return fnmatch.fnmatch(name.as_posix(), wanted + "/*") or name.as_posix() == wanted
    return any(fnmatch.fnmatch(part, wanted) for part in (name.parts[:-1] if pattern.endswith("/") else name.parts))
