"""A class name means one thing in the whole project: whoever searches for it finds one definition.

Public type aliases and type variables count as well; those for typing alone are underscored (`_Key = …`).
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest

from tests.traceability import tree
from tests.traceability.catalogue import ROOT

Definitions = dict[str, list[PurePosixPath]]

SHARED: dict[str, str] = {}
"""Names that several files define, and why each of them has to."""
FROM_OUTSIDE: dict[str, str] = {
    "Receiver": "answers webhooks as a test scripts it; the shipped one is that of `atlas listen`",
    "Surface": "a running surface with its addresses and keys; the shipped one is what it is made of",
    "Worker": "a running process with its log; the shipped one is what the watchdog sees of it from inside",
}
"""Names of shipped classes that tests/support gives to what tests see of the same thing."""


def defined_names(source: str) -> Iterator[str]:
    """Public classes anywhere in the source, and public aliases of types at its top."""
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
    for statement in module.body:
        for target in _targets(statement):
            if isinstance(target, ast.Name) and _looks_like_a_type(target.id):
                yield target.id


def _targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _looks_like_a_type(name: str) -> bool:
    return name[0].isupper() and not name.isupper()


def definitions(sources: Mapping[PurePosixPath, str]) -> Definitions:
    """The files that define each name; a file that defines it twice is in its list twice."""
    found = defaultdict(list)
    for path, source in sources.items():
        for name in defined_names(source):
            found[name].append(path)
    return found


def repeated(found: Definitions) -> Definitions:
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def named_alike(some: Definitions, others: Definitions) -> set[str]:
    return {name for name in some if name in others}


@pytest.fixture(scope="module")
def shipped() -> Definitions:
    return definitions({path: (ROOT / path).read_text(encoding="utf-8") for path in tree.python_files(*tree.PACKAGES)})


def test_a_class_name_means_one_thing(shipped: Definitions) -> None:
    several = {name: paths for name, paths in repeated(shipped).items() if name not in SHARED}
    assert not several, "\n" + "\n".join(f"{name}: {', '.join(map(str, paths))}" for name, paths in several.items())


def test_no_reason_is_left_over(shipped: Definitions) -> None:
    assert SHARED.keys() <= repeated(shipped).keys()
    assert all(SHARED.values())


def test_what_tests_share_is_not_named_like_what_ships(shipped: Definitions) -> None:
    support = {path: (ROOT / path).read_text(encoding="utf-8") for path in tree.python_files("tests")}
    shared = definitions({path: text for path, text in support.items() if path.parts[1] == "support"})
    assert named_alike(shared, shipped) == FROM_OUTSIDE.keys()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("class Batch: ...", "class Batch: ..."),
        ("class Batch: ...", "Batch = tuple[int, ...]"),
        ("Batch = tuple[int, ...]", "Batch: TypeAlias = list[int]"),
        ("class Batch: ...", "def f():\n    class Batch: ..."),
        ("class Batch: ...", "class Other:\n    class Batch: ..."),
    ],
)
def test_a_repeated_name_is_found(first: str, second: str) -> None:
    paths = PurePosixPath("cli/a.py"), PurePosixPath("domain/b.py")
    assert repeated(definitions(dict(zip(paths, (first, second), strict=True)))) == {"Batch": list(paths)}
    assert set(repeated(definitions({paths[0]: f"{first}\n{second}"}))) == {"Batch"}
    assert named_alike(definitions({paths[0]: first}), definitions({paths[1]: second})) == {"Batch"}


def test_private_names_constants_and_variables_may_repeat() -> None:
    source = "class _Own: ...\n_Private = int\nLIMIT = 3\nname = 4\nclass Batch: ...\nKey = tuple[str, str]\n"
    assert list(defined_names(source)) == ["Batch", "Key"]
    assert list(defined_names(source.split("class Batch")[0])) == []
