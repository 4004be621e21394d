"""An installation's files are its user's alone, whole or not there, and agreed on by all who start at once."""

import multiprocessing
import os
import stat
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from operations.private_files import close_home, make_home, write_whole
from operations.settings import SettingsInvalid, ensure_master_key


def mode_of(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_a_home_is_made_for_its_user_alone(tmp_path: Path) -> None:
    home = tmp_path / "a" / "home"
    assert make_home(home) is None
    assert mode_of(home) == "0o700"
    assert make_home(home) is None, "there is nothing to say of one that is closed"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o2770, 0o701])
def test_a_home_that_is_open_is_closed_with_what_atlas_made_in_it(tmp_path: Path, mode: int) -> None:
    """And with nothing else in it; a link leads nowhere."""
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    home = tmp_path / "home"
    inside = [home / name for name in ("master.key", "read-model.sqlite-wal", "kafka/data/0.log", "logs/gateway.log")]
    for path in (*inside, home / "their-own.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        path.chmod(0o644)
    (home / "kafka" / "data").chmod(0o755)
    (home / "logs" / "elsewhere").symlink_to(outside)
    home.chmod(mode)
    told = close_home(home)
    assert told is not None and str(home) in told and f"{mode:04o}" in told
    assert mode_of(home) == "0o700" and mode_of(home / "kafka" / "data") == "0o700"
    assert {mode_of(path) for path in inside} == {"0o600"}
    assert mode_of(outside) == mode_of(home / "their-own.txt") == "0o644"
    assert close_home(home) is None


def test_a_directory_that_is_everybodys_is_left_and_told_of(tmp_path: Path) -> None:
    """As a home in /tmp itself would be."""
    tmp_path.chmod(0o1777)
    told = close_home(tmp_path)
    assert told is not None and "open to every user" in told
    assert mode_of(tmp_path) == "0o1777"
    tmp_path.chmod(0o700)


def test_a_home_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert close_home(tmp_path / "nowhere") is None


def test_a_file_appears_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    umask = os.umask(0)
    try:
        for content in (b"one", b"two"):
            assert write_whole(path, content)
            assert (path.read_bytes(), mode_of(path)) == (content, "0o600")
    finally:
        os.umask(umask)
    assert not write_whole(path, b"three", replace=False)
    assert path.read_bytes() == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["dev.json"], "nothing is left beside it"


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_paths: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert write_whole(tmp_path / "master.key", b"one", replace=False)
    assert not write_whole(tmp_path / "master.key", b"two", replace=False)
    assert (tmp_path / "master.key").read_bytes() == b"one" and [one.name for one in tmp_path.iterdir()] == [
        "master.key"
    ]


def test_those_that_start_at_once_agree_on_one_master_key(tmp_path: Path) -> None:
    for number in range(10):
        home = tmp_path / str(number)
        with ThreadPool(8) as pool:
            keys = set(pool.map(ensure_master_key, [home] * 8))
        assert len(keys) == 1 and keys == {bytes.fromhex((home / "master.key").read_text())}
        assert mode_of(home / "master.key") == "0o600"


def test_processes_too(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(ensure_master_key, [tmp_path] * 4, chunksize=1))) == 1


@pytest.mark.parametrize("content", ["", "\n", "zz" * 32, "ab" * 31])
def test_a_master_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    """An empty one would be a key that everybody knows."""
    (tmp_path / "master.key").write_text(content)
    with pytest.raises(SettingsInvalid, match=r"master\.key must be 64 hexadecimal digits"):
        ensure_master_key(tmp_path)
