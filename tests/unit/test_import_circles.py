"""No file imports, over any number of others, itself; nor does a folder import what imports the folder.

Imports for types alone count: two files that need each other's types are one part in two places. A folder is compared
with the folders and files next to it: `processors/control` with `processors/guardrails`, `domain` with `schemas`,
`ingest_gateway/surfaces` with `ingest_gateway/services.py`.
"""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import pytest

from tests.traceability.catalogue import ROOT
from tests.traceability.tree import PACKAGES, parsed, python_files

Imports = Mapping[str, Iterable[str]]
ORDER = re.compile(r"^ +json, .* → commands$")


def circles(imports: Imports) -> set[frozenset[str]]:
    """Groups of two or more that reach each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        path.append(one)
        for other in imports.get(one, ()):
            if other not in number:
                visit(other)
                lowest[one] = min(lowest[one], lowest[other])
            elif other in path:
                lowest[one] = min(lowest[one], number[other])
        if lowest[one] == number[one]:
            start = path.index(one)
            if len(path) - start > 1:
                found.add(frozenset(path[start:]))
            del path[start:]

    for one in imports:
        if one not in number:
            visit(one)
    return found


def imported_files(path: PurePosixPath, source: str, files: Collection[PurePosixPath]) -> set[PurePosixPath]:
    """Those of `files` that this file imports, anywhere in it, under TYPE_CHECKING too. `from package import name`
    means the package's own file only where the name is no module of the package.
    """
    found: set[PurePosixPath] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            named = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = [*above, *(node.module or "").split(".")] if node.module else [*above]
            named = [[*module, alias.name] for alias in node.names]
        else:
            continue
        for parts in named:
            found.update(next(([one] for one in _possible_files(parts) if one in files), []))
    return found - {path}


def _possible_files(parts: Sequence[str]) -> Iterator[PurePosixPath]:
    """Where a dotted name may be defined: in a module or package of that name, else in the one that holds it."""
    for named in (parts, parts[:-1]):
        if named:
            yield PurePosixPath(*named).with_suffix(".py")
            yield PurePosixPath(*named, "__init__.py")


def imports_of_files() -> dict[str, set[str]]:
    files = python_files(*PACKAGES)
    known = frozenset(files)
    return {
        str(path): {str(other) for other in imported_files(path, (ROOT / path).read_text(), known)} for path in files
    }


def imports_below(imports: Imports, within: str) -> dict[str, set[str]]:
    """Between the folders and files right below `within`; a folder imports what any file in it imports."""
    found: dict[str, set[str]] = {}
    for importer, imported in imports.items():
        mine = right_below(within, importer)
        if mine is not None:
            theirs = {one for other in imported if (one := right_below(within, other)) is not None}
            found.setdefault(mine, set()).update(theirs - {mine})
    return found


def right_below(within: str, path: str) -> str | None:
    """The folder or file right below `within` that is or holds this file."""
    above, parts = PurePosixPath(within).parts, PurePosixPath(path).parts
    return "/".join(parts[: len(above) + 1]) if parts[: len(above)] == above else None


def folders_of_folders() -> list[str]:
    """Those with a folder of Python files in them, which are to be compared; "" is the top."""
    return sorted(
        {"/".join(path.parts[:depth]) for path in python_files(*PACKAGES) for depth in range(len(path.parts) - 1)}
    )


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    return imports_of_files()


def test_no_file_imports_itself_by_way_of_others(imports: dict[str, set[str]]) -> None:
    found = circles(imports)
    assert found == set()


@pytest.mark.parametrize("within", folders_of_folders(), ids=lambda within: within or "the top")
def test_no_folder_imports_what_imports_it(imports: dict[str, set[str]], within: str) -> None:
    assert circles(imports_below(imports, within)) == set()


def test_the_packages_of_rules_have_the_order_that_architecture_says(imports: dict[str, set[str]]) -> None:
    """Each imports those further left only."""
    (line,) = (line.strip() for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if ORDER.search(line))
    rank = {f"domain/{name}": at for at, names in enumerate(line.split(" → ")) for name in names.split(", ")}
    found = imports_below(imports, "domain")
    assert rank.keys() == {one for one in found if not one.endswith(".py")}
    assert not [
        f"{one} imports {other}"
        for one, others in found.items()
        for other in others
        if one in rank and other in rank and rank[other] >= rank[one]
    ]


def test_the_folders_that_hold_the_most_are_among_those_compared() -> None:
    assert {"", "domain", "processors", "ingest_gateway", "ingest_gateway/surfaces"} <= set(folders_of_folders())


@pytest.mark.parametrize(
    ("story", "imports", "found"),
    [
        ("a line", {"a": ["b"], "b": ["c"], "c": []}, []),
        ("two ways to one", {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ("each other", {"a": ["b"], "b": ["a"]}, [{"a", "b"}]),
        ("by way of a third", {"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a", "y"], "y": []}, [{"a", "b", "c"}]),
        ("two circles", {"a": ["b"], "b": ["a", "c"], "c": ["d"], "d": ["c"]}, [{"a", "b"}, {"c", "d"}]),
    ],
)
def test_circles_are_found(story: str, imports: Imports, found: list[set[str]]) -> None:
    assert circles(imports) == {frozenset(one) for one in found}, story


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import p.b", {"p/b.py"}),
        ("from p import b", {"p/b.py"}),
        ("from p import something", {"p/__init__.py"}),
        ("from p.b import Thing", {"p/b.py"}),
        ("from p.q import c", {"p/q/c.py"}),
        ("from . import b", {"p/b.py"}),
        ("from .q.c import Thing", {"p/q/c.py"}),
        ("if TYPE_CHECKING:\n    from p.b import Thing", {"p/b.py"}),
        ("def f():\n    from p.b import Thing", {"p/b.py"}),
        ("import json\nfrom os import path", set()),
    ],
)
def test_what_a_file_imports_is_found(source: str, imported: set[str]) -> None:
    files = [PurePosixPath(name) for name in ("p/__init__.py", "p/a.py", "p/b.py", "p/q/__init__.py", "p/q/c.py")]
    assert imported_files(PurePosixPath("p/a.py"), source, files) == {PurePosixPath(name) for name in imported}


def test_circles_between_folders_and_files_next_to_each_other_are_found() -> None:
    imports = {"p/a/x.py": ["p/b/y.py"], "p/a/z.py": ["p/a/x.py", "q.py"], "p/b/y.py": [], "p/top.py": ["p/a/x.py"]}
    assert circles(imports_below(imports, "p")) == set()
    two_folders = imports | {"p/b/v.py": ["p/a/z.py"]}
    assert circles(two_folders) == set()
    assert circles(imports_below(two_folders, "p")) == {frozenset({"p/a", "p/b"})}
    folder_and_file = imports | {"p/a/w.py": ["p/top.py"]}
    assert circles(folder_and_file) == set()
    assert circles(imports_below(folder_and_file, "p")) == {frozenset({"p/a", "p/top.py"})}
