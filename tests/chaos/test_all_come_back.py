"""The broker is killed under a whole installation: nobody lends a hand, and soon a request of every kind is right."""

import json
from pathlib import Path

import pytest

from bench.system import System
from tests.support.every_kind import EveryKind
from tests.support.ports import free_port_base
from tests.support.victims import kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = 2
GO_ON_SECONDS = 90.0
"""The start of the broker, and of the processors that it takes along, are in it."""


@pytest.mark.requirement("F1", "F39")
def test_all_is_right_soon_after_a_killed_broker_is_back(tmp_path: Path) -> None:
    with System(tmp_path / "home", free_port_base()) as atlas:
        every_kind = EveryKind(atlas)
        every_kind.comes_right(GO_ON_SECONDS)
        for _ in range(KILLS):
            kill(atlas, "broker")
            assert every_kind.wrong(), "the kill was felt"
            print(f"all right {every_kind.comes_right(GO_ON_SECONDS):.1f} s after the kill")
        told = [json.loads(line)["message"] for line in atlas.log("gateway").splitlines()]
        assert told.count("control.behind") == told.count("control.current") <= KILLS
