"""Finds requirement markers in the source of the tests, without importing or running them.

A marker on a function or class belongs to it; one anywhere else (a module's `pytestmark`, a `pytest.param` in a
table) belongs to the whole file. Ids that aren't literals can't be seen from here; the run sees them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.traceability.catalogue import ROOT

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def scan_tests(folder: Path = ROOT / "tests") -> dict[str, set[str]]:
    """Ids by place, a place being `tests/unit/test_x.py` or `tests/unit/test_x.py::TestY::test_z`.

    Every test file and every definition in it is a key, marked or not, so that results of tests that are gone can
    be told from those that still stand.
    """
    places: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(ROOT if path.is_relative_to(ROOT) else folder).as_posix()
        places |= scan_source(path.read_text(encoding="utf-8"), name)
    return places


def scan_source(source: str, name: str) -> dict[str, set[str]]:
    """The places of one file, as `scan_tests` tells them."""
    tree = ast.parse(source)
    places: dict[str, set[str]] = {}
    claimed: set[int] = set()
    for place, definition in _definitions(tree, name):
        marks = [mark for decorator in definition.decorator_list for mark in _marks(decorator)]
        claimed.update(id(mark) for mark in marks)
        places[place] = {text for mark in marks for text in _literals(mark)}
    places[name] = {text for mark in _marks(tree) if id(mark) not in claimed for text in _literals(mark)}
    return places


def _definitions(parent: ast.Module | ast.ClassDef, place: str) -> Iterator[tuple[str, _Definition]]:
    for node in parent.body:
        if isinstance(node, _Definition):
            inner = f"{place}::{node.name}"
            yield inner, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, inner)


def _marks(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
            yield node


def _literals(mark: ast.Call) -> Iterator[str]:
    for argument in mark.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
