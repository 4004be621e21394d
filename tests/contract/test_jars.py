"""Where the broker's jars and tools come from: pinned byte for byte, installed where we may, else told what to type."""

import os
from pathlib import Path

import pytest

from deploy.local import jars


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def program(path: Path, body: str) -> None:
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)


def test_the_pin_names_the_broker_and_its_logger() -> None:
    names = set(jars.pinned_jars())
    assert {"kafka_2.13-4.1.0.jar", "kafka-clients-4.1.0.jar", "slf4j-simple-1.7.36.jar"} <= names
    assert all(len(digest) == 64 for digest in jars.pinned_jars().values())


def test_a_jar_that_is_not_the_pinned_one_is_refused_by_name(tmp_path: Path) -> None:
    for name in jars.pinned_jars():
        (tmp_path / name).write_bytes(b"not it")
    with pytest.raises(jars.JarsUnusable, match=r"kafka_2\.13-4\.1\.0\.jar"):
        jars.check(tmp_path)


def test_the_cache_can_be_elsewhere() -> None:
    assert jars.jars_directory({"ATLAS_CACHE": "/somewhere"}) == Path("/somewhere/kafka-jars")
    assert jars.jars_directory({}) == jars.KAFKA_FILES / "jars"


def test_a_missing_tool_is_installed_when_we_may(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    install = f'echo "#!/bin/sh" > {tools}/mvn; /bin/chmod +x {tools}/mvn'
    program(tools / "apt-get", f'echo "$@" >> {tools}/asked\ncase $1 in install) {install};; esac\n')
    said: list[str] = []
    assert jars.find_tool("mvn", said.append) == str(tools / "mvn")
    assert (tools / "asked").read_text().splitlines() == ["update -q", "install -y -q maven"]
    assert said == [f"mvn is missing; running: apt-get {asked}" for asked in ("update -q", "install -y -q maven")]


@pytest.mark.parametrize(
    ("manager", "typed"),
    [
        ("apt-get", "Type: sudo apt-get update -q && sudo apt-get install -y -q maven"),
        ("dnf", "Type: sudo dnf install -y maven"),
        (None, "Install Java 17 or newer and Maven with your system's package manager"),
    ],
)
def test_a_missing_tool_that_we_may_not_install_is_told_with_the_command(
    tools: Path, monkeypatch: pytest.MonkeyPatch, manager: str | None, typed: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if manager:
        program(tools / manager, "exit 1")
    with pytest.raises(jars.ToolMissing) as missing:
        jars.find_tool("mvn", lambda _: None)
    assert str(missing.value).startswith(f"mvn is not installed. {typed}")


def test_an_old_java_is_refused_with_the_command(tools: Path) -> None:
    program(tools / "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    with pytest.raises(jars.ToolMissing, match=r"Java 17 or newer is needed, .* is 11"):
        jars.java(lambda _: None)
