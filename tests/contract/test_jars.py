"""Where the broker's jars and tools come from: pinned byte for byte, installed where we may, else told what to type."""

import hashlib
import os
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.broker import Broker, BrokerFailed


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


@pytest.mark.parametrize("version", jars.kafka_versions())
def test_the_pins_name_the_broker_and_its_logger(version: str) -> None:
    pinned = jars.pinned_jars(version)
    assert {f"kafka_2.13-{version}.jar", f"kafka-clients-{version}.jar", "slf4j-simple-1.7.36.jar"} <= set(pinned)
    assert all(len(digest) == 64 for digest in pinned.values())


def test_the_version_is_a_setting_and_one_without_pins_is_refused() -> None:
    assert jars.kafka_version({}) == jars.KAFKA_VERSION == "4.1.0"
    assert jars.kafka_version({"ATLAS_KAFKA_VERSION": "4.4.0"}) == "4.4.0"
    with pytest.raises(jars.JarsUnusable, match=r"must be 4\.1\.0, 4\.3\.1 or 4\.4\.0, not '3\.9\.0'"):
        jars.kafka_version({"ATLAS_KAFKA_VERSION": "3.9.0"})


def test_a_jar_that_is_not_the_pinned_one_is_refused_by_name(tmp_path: Path) -> None:
    for name in jars.pinned_jars("4.1.0"):
        (tmp_path / name).write_bytes(b"not it")
    with pytest.raises(jars.JarsUnusable, match=r"kafka_2\.13-4\.1\.0\.jar"):
        jars.check("4.1.0", tmp_path)


@pytest.fixture
def cache(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a foreign file and another version's jar, where Maven fetches a broker of two jars."""
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "pom.xml").touch()
    digest = hashlib.sha256(b"it").hexdigest()
    (pins / "9.9.9.sha256").write_text(f"{digest}  broker-9.9.9.jar\n{digest}  log.jar\n")
    monkeypatch.setattr(jars, "KAFKA_FILES", pins)
    monkeypatch.setenv("ATLAS_KAFKA_VERSION", "9.9.9")
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "kafka-jars"
    folder.mkdir(parents=True)
    for name in ("broker-8.8.8.jar", "mine.txt"):
        (folder / name).write_text(name)
    program(tools / "java", """echo 'openjdk version "17.0.15" 2025-04-15' >&2""")
    return folder


def maven(tools: Path, content: str) -> None:
    """One that puts these jars where it is told to; PATH has nothing but it."""
    asked = "-DoutputDirectory=*) out=${one#*=};; -Dkafka.version=9.9.9) right=1;;"
    body = f'for one in "$@"; do case $one in {asked} esac; done\n'
    made = "".join(f"printf {content} > $out/{name}\n" for name in ("broker-9.9.9.jar", "log.jar", "unasked.jar"))
    program(tools / "mvn", f"{body}[ $right ] && /bin/mkdir $out\n{made}")


def test_a_fetch_adds_the_pinned_jars_and_leaves_what_is_there(tools: Path, cache: Path) -> None:
    maven(tools, "it")
    assert jars.class_path(lambda _: None) == f"{cache}/broker-9.9.9.jar:{cache}/log.jar"
    found = {path.name: path.read_text() for path in cache.iterdir()}
    assert found == {
        "broker-8.8.8.jar": "broker-8.8.8.jar",
        "mine.txt": "mine.txt",
        "broker-9.9.9.jar": "it",
        "log.jar": "it",
    }
    assert [path.name for path in cache.parent.iterdir()] == ["kafka-jars"]


def test_a_fetch_that_is_not_right_changes_nothing(tools: Path, cache: Path) -> None:
    maven(tools, "other")
    before = sorted(cache.iterdir())
    with pytest.raises(jars.JarsUnusable, match=r"not the pinned .*9\.9\.9\.sha256.*: broker-9\.9\.9\.jar, log\.jar"):
        jars.class_path(lambda _: None)
    assert sorted(cache.iterdir()) == before


def test_data_of_a_newer_broker_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kafka-version").write_text("4.4.0\n")
    with pytest.raises(BrokerFailed, match=r"made by Kafka 4\.4\.0, and 4\.1\.0 does not read it: set ATLAS_"):
        Broker(tmp_path, 1, 2).prepare()


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
