"""How tests are shared out among xdist's workers: who shares an expensive fixture runs on one worker, long tests first.
xdist keeps that order with `--no-loadscope-reorder`; its own puts those with many tests first, however quick.

A fixture of a module or a package (a broker, a whole installation) is made once a worker, and again whenever a worker
comes back to it from elsewhere. So all tests that use one are a group, and it is made once a run. That holds for every
such fixture, without a mark.
"""

from collections.abc import Sequence

import pytest

QUICKEST_FIRST = ("unit", "contract", "pipeline", "chaos")
USUAL_SECONDS = 120.0
"""Who asks for more time than that (`timeout`) is begun early, so that no worker ends long after the other."""


def share_out(items: list[pytest.Item]) -> None:
    """Marks groups and puts the tests of each behind the first of them; what may take long comes first."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        home = shared_home(item)
        if home is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(home.replace("/", "-")))
        groups.setdefault(home or item.nodeid, []).append(item)
    longest_first = sorted(groups.values(), key=cost, reverse=True)
    items[:] = [item for group in longest_first for item in group]


def cost(group: list[pytest.Item]) -> tuple[float, int, int]:
    """Greater for what takes longer, by what can be seen of it: the time that it asks for, how many tests share
    something expensive, its folder. What is quick comes last, and so fills what is left of the time.
    """
    shares = len(group) if shared_home(group[0]) is not None else 0
    folder = group[0].nodeid.split("/")[1:2]
    rank = QUICKEST_FIRST.index(folder[0]) if folder and folder[0] in QUICKEST_FIRST else 0
    return max(map(allowed_seconds, group)), shares, rank


def shared_home(item: pytest.Item) -> str | None:
    """The module or package whose fixture the test uses: the widest, where there are several."""
    fixtures = getattr(item, "_fixtureinfo", None)
    definitions: dict[str, Sequence[pytest.FixtureDef[object]]] = fixtures.name2fixturedefs if fixtures else {}
    homes = {each[-1].baseid for each in definitions.values() if each[-1].scope in ("module", "package")}
    return min(filter(None, homes), key=len, default=None)


def allowed_seconds(item: pytest.Item) -> float:
    """As the mark `timeout` says, where it says more than usual."""
    mark = item.get_closest_marker("timeout")
    seconds = float(mark.args[0]) if mark is not None and mark.args else 0.0
    return seconds if seconds > USUAL_SECONDS else 0.0
