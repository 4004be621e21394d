"""Which tests run on one worker, and which first."""

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.sharing_out import share_out


class Item:
    """A collected test: the fixtures that it uses, by scope and home, and the time that it asks for."""

    def __init__(self, nodeid: str, *fixtures: tuple[str, str], seconds: int | None = None, group: str | None = None):
        self.nodeid = nodeid
        named = {f"fixture-{n}": [SimpleNamespace(scope=s, baseid=home)] for n, (s, home) in enumerate(fixtures)}
        self._fixtureinfo = SimpleNamespace(name2fixturedefs=named)
        self._marks: dict[str, Any] = {}
        if seconds is not None:
            self._marks["timeout"] = SimpleNamespace(args=(seconds,))
        if group is not None:
            self._marks["xdist_group"] = SimpleNamespace(args=(group,))

    def get_closest_marker(self, name: str) -> Any:
        return self._marks.get(name)

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self._marks[mark.name] = mark

    @property
    def group(self) -> str | None:
        mark = self._marks.get("xdist_group")
        return None if mark is None else str(mark.args[0])


def shared_out(*items: Item) -> list[Item]:
    order: Any = list(items)
    random.shuffle(order)
    share_out(order)
    return list(order)


def test_what_a_module_or_a_package_makes_is_made_on_one_worker() -> None:
    one, other = (Item(f"a/{name}", ("package", "tests/a"), ("module", f"tests/a/{name}")) for name in "xy")
    alone = Item("b", ("function", "tests/b"), ("session", "tests"))
    mine = Item("c", ("module", "tests/c"), group="of its own")
    shared_out(one, other, alone, mine)
    assert [item.group for item in (one, other, alone, mine)] == ["tests-a", "tests-a", None, "of its own"]


def test_groups_stay_together_and_those_that_may_take_long_come_first() -> None:
    quick = [Item(f"quick/{number}") for number in range(3)]
    group = [Item(f"g/{number}", ("package", "tests/g"), seconds=240 if number == 1 else None) for number in range(3)]
    longest = Item("longest", seconds=300)
    impatient = Item("impatient", seconds=20)
    order = shared_out(*quick, *group, longest, impatient)
    assert order[0] is longest
    assert set(order[1:4]) == set(group)
    assert set(order[4:]) == {*quick, impatient}


def test_what_is_quick_fills_the_time_that_is_left() -> None:
    group = [Item(f"tests/contract/{number}", ("package", "tests/contract")) for number in range(2)]
    pipeline, contract, unit = (Item(f"tests/{folder}/test_a.py::test") for folder in ("pipeline", "contract", "unit"))
    order = shared_out(unit, contract, *group, pipeline)
    assert order[2:] == [pipeline, contract, unit]


GROUPED = """
import os, pathlib, time, pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_of_the_group(number):
    time.sleep(0.01)
    pathlib.Path(os.environ["RAN_ON"], f"{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


def test_the_pytest_that_is_installed_keeps_a_group_on_one_worker(tmp_path: Path) -> None:
    """pytest 9.2.0 with xdist 3.8.0 does not, and says nothing; every installation was made twice a run."""
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    (ran_on := tmp_path / "ran-on").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [*command, "-c", os.devnull, f"--rootdir={tmp_path}", tmp_path],
        cwd=tmp_path,
        env=env | {"RAN_ON": str(ran_on)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len({one.read_text() for one in ran_on.iterdir()}) == 1
