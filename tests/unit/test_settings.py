"""Which surfaces a gateway process serves, and on which ports."""

from pathlib import Path

import pytest

from ingest_gateway.surfaces.served import ALL
from operations.settings import SURFACES, Settings, SettingsInvalid


def settings(home: Path, **env: str) -> Settings:
    return Settings.from_env({"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": "00" * 32, **env})


def test_every_surface_that_can_be_named_is_there() -> None:
    assert set(SURFACES) == {surface.name for surface in ALL}


@pytest.mark.parametrize(
    ("written", "served"),
    [("", SURFACES), ("burn", ("burn",)), (" work ,events,", ("work", "events")), ("events,events", ("events",))],
)
def test_a_process_serves_those_that_it_was_told_to_each_once(
    tmp_path: Path, written: str, served: tuple[str, ...]
) -> None:
    assert settings(tmp_path, ATLAS_SURFACES=written).surfaces == served


@pytest.mark.parametrize("written", ["nowhere", "events,console", "Events"])
def test_a_surface_that_is_not_there_is_named(tmp_path: Path, written: str) -> None:
    wrong = written.removeprefix("events,")
    with pytest.raises(SettingsInvalid, match=f"ATLAS_SURFACES names {wrong}; there are events, work, spine, burn"):
        settings(tmp_path, ATLAS_SURFACES=written)


def test_hosts_are_read_without_their_case(tmp_path: Path) -> None:
    assert settings(tmp_path).allowed_hosts is None
    read = settings(tmp_path, ATLAS_ALLOWED_HOSTS="API.example.com, [::1]:8080,10.0.0.1 ,").allowed_hosts
    assert read == {"api.example.com", "[::1]:8080", "10.0.0.1"}


@pytest.mark.parametrize("written", ["*.example.com", "https://a.example", "a b", "a.example:port", "ü.example"])
def test_what_is_no_host_is_named(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingsInvalid, match="ATLAS_ALLOWED_HOSTS must be names or addresses"):
        settings(tmp_path, ATLAS_ALLOWED_HOSTS=f"a.example,{written}")


def test_ports_move_together(tmp_path: Path) -> None:
    moved = settings(tmp_path, ATLAS_PORT_BASE="20000")
    assert [moved.ports.surface(name) for name in SURFACES] == [20_000, 20_001, 20_002, 20_003]
    assert (moved.ports.kafka, moved.ports.controller, moved.ports.operations("lifecycle")) == (20_010, 20_011, 20_025)
    usual = settings(tmp_path)
    assert (usual.events_port, usual.burn_port, usual.kafka) == (8080, 8083, "127.0.0.1:9092")
