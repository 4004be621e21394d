"""The private names of Faust and aiokafka that the runtime uses: all listed in one place, and there in the installed
versions.
"""

import ast
import importlib
import inspect
import re
from importlib import metadata
from typing import Any, NamedTuple

import pytest

import processors.runtime
from tests.traceability.catalogue import ROOT
from tests.traceability.tree import python_files

DOCUMENTED = processors.runtime.__doc__ or ""
SUBCLASSES_OF_FAUST = {
    "MembershipThread": "faust.transport.drivers.aiokafka.AIOKafkaConsumerThread",
    "Consumer": "faust.transport.drivers.aiokafka.Consumer",
    "NoTables": "faust.tables.manager.TableManager",
}
"""Classes of the runtime whose own private names may be Faust's: `self._thread` is, `self._draining` is not."""
RUNTIME = [path for path in python_files("processors") if path.parts[1] == "runtime"]


class Listed(NamedTuple):
    owner: str
    name: str


LISTED = [Listed(*row) for row in re.findall(r"^\| ((?:faust|aiokafka)[\w.]*) \| (\w+) \| .+ \|$", DOCUMENTED, re.M)]


def class_of(owner: str) -> type[Any]:
    module, _, name = owner.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def has(owner: type[Any], name: str) -> bool:
    """As an attribute of the class, or as one that its methods, or those it inherits, give to an instance."""
    own = [base for base in owner.__mro__ if base.__module__.startswith(("faust", "aiokafka", "mode"))]
    assigned = re.compile(rf"\bself\.{name}\b[^=\n]*=(?!=)")
    return hasattr(owner, name) or any(assigned.search(inspect.getsource(base)) for base in own)


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: f"{listed.owner.rpartition('.')[2]}.{listed.name}")
def test_the_installed_versions_have_each_name(listed: Listed) -> None:
    assert has(class_of(listed.owner), listed.name)


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert not has(class_of("aiokafka.consumer.group_coordinator.GroupCoordinator"), "_never_heard_of")


@pytest.mark.parametrize("package", ["faust-streaming", "aiokafka"])
def test_the_list_was_made_for_the_installed_versions(package: str) -> None:
    assert f"{package} {metadata.version(package)}" in " ".join(DOCUMENTED.split())


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def foreign_names(source: str) -> set[str]:
    """Private names that are asked of anything but `self`, in `getattr` and `setattr` too, or that a subclass takes
    from Faust. librdkafka's error codes (`KafkaError._TIMED_OUT`) are public.
    """
    tree = ast.parse(source)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = {name for node in classes for name in given_names(node)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and not node.attr.isupper():
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("_task"):
            found.add(node.value)
    for node in classes:
        if node.name in SUBCLASSES_OF_FAUST:
            mentioned = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and private(n.attr)}
            found |= mentioned - own
            faust = class_of(SUBCLASSES_OF_FAUST[node.name])
            found |= {method for method in methods_of(node) if private(method) and has(faust, method)}
    return {name for name in found if not name.isupper()}


def given_names(node: ast.ClassDef) -> set[str]:
    """What a class defines itself: methods, class attributes, and what it assigns to `self`."""
    names = methods_of(node)
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and isinstance(one.value, ast.Name):
            names.add(one.attr)
    return names | {
        one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }


def methods_of(node: ast.ClassDef) -> set[str]:
    return {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_private_name_that_is_used_is_listed() -> None:
    used = {name for path in RUNTIME for name in foreign_names((ROOT / path).read_text())}
    assert used - {listed.name for listed in LISTED} == set()
    assert {listed.name for listed in LISTED if private(listed.name)} - used == set(), "nothing is listed for nothing"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("consumer._client._request_timeout_ms = 1", {"_client", "_request_timeout_ms"}),
        ("self._coordinator._do_heartbeat()", {"_do_heartbeat"}),
        ("KafkaError._TIMED_OUT", set()),
        ("class Consumer:\n    def f(self):\n        self._thread.call()", {"_thread"}),
        ("class Consumer:\n    def f(self):\n        self._mine = 1\n        return self._mine", set()),
        ("class Consumer:\n    async def _getmany(self): ...", {"_getmany"}),
        ("class NoTables:\n    async def on_start(self):\n        await self._update_channels()", {"_update_channels"}),
    ],
)
def test_foreign_private_names_are_found(source: str, found: set[str]) -> None:
    assert foreign_names(source) == found
