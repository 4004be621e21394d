"""The broker's jars: those that are pinned for its version, fetched once by Maven and checked byte for byte.

`ATLAS_KAFKA_VERSION` chooses among the versions that deploy/kafka has a `<version>.sha256` of. The jars are kept in
`$ATLAS_CACHE/kafka-jars`, by default in deploy/kafka/jars, those of all versions side by side: their names carry their
versions. A fetch goes into a directory beside it and is moved in, jar by jar, once all of it is right; whatever else is
in the folder is somebody else's and stays. Java and Maven are installed through the system's package manager when they
are missing and we may; otherwise ToolMissing carries the exact command to type.
"""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import deploy.kafka
from deploy.local.messages import Say, say_on_stderr

JAVA_VERSION_MIN = 17  # what a Kafka 4 broker asks for
KAFKA_FILES = Path(deploy.kafka.__path__[0])
KAFKA_VERSION = "4.1.0"
INSTALLERS: dict[str, Callable[[Sequence[str]], list[list[str]]]] = {
    "apt-get": lambda names: [["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", *names]],
    "dnf": lambda names: [["dnf", "install", "-y", *names]],
}
PACKAGES = {
    "apt-get": {"java": "default-jre-headless", "mvn": "maven"},
    "dnf": {"java": "java-21-openjdk-headless", "mvn": "maven"},
}


class ToolMissing(Exception):
    """Java or Maven is not there and can't be installed; the message is the command to type."""


class JarsUnusable(Exception):
    """Maven could not fetch the jars, or one of them is not the pinned one."""


def kafka_versions() -> list[str]:
    """Those whose jars are pinned, oldest first."""
    return sorted((path.stem for path in KAFKA_FILES.glob("*.sha256")), key=version_order)


def kafka_version(env: Mapping[str, str] = os.environ) -> str:
    """Raises JarsUnusable for one whose jars are not pinned."""
    version = env.get("ATLAS_KAFKA_VERSION") or KAFKA_VERSION
    *others, newest = kafka_versions()
    if version not in (*others, newest):
        raise JarsUnusable(
            f"ATLAS_KAFKA_VERSION must be {', '.join(others)} or {newest}, not {version!r}. "
            "To use a broker that runs already, of any version, set ATLAS_KAFKA."
        )
    return version


def version_order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def pinned_jars(version: str) -> dict[str, str]:
    """File name → SHA-256, of every jar on the broker's class path."""
    lines = (KAFKA_FILES / f"{version}.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def jars_directory(env: Mapping[str, str] = os.environ) -> Path:
    cache = env.get("ATLAS_CACHE")
    return Path(cache).expanduser().absolute() / "kafka-jars" if cache else KAFKA_FILES / "jars"


def class_archive(java_path: str) -> Path:
    """Where the archive of this broker's classes for this Java is, or would be (deploy/local/class_archive.py makes
    it)."""
    return jars_directory().resolve() / f"classes-{kafka_version()}-{java_version_text(java_path)}.jsa"


def class_path(say: Say = say_on_stderr) -> str:
    """The broker's class path; fetches what is missing. Raises ToolMissing, JarsUnusable."""
    version, directory = kafka_version(), jars_directory()
    names = pinned_jars(version)
    with (KAFKA_FILES / "pom.xml").open() as pom:
        fcntl.flock(pom, fcntl.LOCK_EX)  # of two that start at once one fetches, the other finds them
        if not all((directory / name).exists() for name in names):
            fetch(version, directory, say)
    # Real paths: an archive of classes holds for the class path that it was made with, to the letter.
    return os.pathsep.join(str(directory.resolve() / name) for name in names)


def java(say: Say = say_on_stderr) -> str:
    """Path of a Java that can run the broker. Raises ToolMissing."""
    path = find_tool("java", say)
    version = java_version(path)
    if version < JAVA_VERSION_MIN:
        raise ToolMissing(f"Java {JAVA_VERSION_MIN} or newer is needed, {path} is {version}. {advice(['java'])}")
    return path


def java_version(path: str) -> int:
    """The major version; 0 when it can't be found out."""
    found = re.match(r"\d+", java_version_text(path))
    return int(found[0]) if found else 0


@functools.cache
def java_version_text(path: str) -> str:
    """As in `17.0.15`; empty when it can't be found out. Asked once a process: each time starts a JVM."""
    printed = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "([\w.+-]+)"', printed)
    return found[1] if found else ""


def fetch(version: str, directory: Path, say: Say) -> None:
    """Downloads all jars beside `directory`, checks them, and moves those into it that it has not. Raises ToolMissing,
    JarsUnusable."""
    java(say)
    maven = find_tool("mvn", say)
    directory.mkdir(parents=True, exist_ok=True)
    say(f"fetching the Kafka {version} broker with Maven into {directory} (43 MB, once)")
    with tempfile.TemporaryDirectory(dir=directory.resolve().parent, prefix=".jars-") as made:
        arriving = Path(made) / "jars"
        command = [maven, "-q", "-B", "-f", str(KAFKA_FILES / "pom.xml"), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-Dkafka.version={version}", f"-DoutputDirectory={arriving}"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            umask=0o022,  # they are everybody's, and the cache may be for several users
        )
        if done.returncode != 0:
            raise JarsUnusable(f"Maven could not fetch the broker:\n{(done.stdout + done.stderr).strip()[-2000:]}")
        check(version, arriving)
        for name in pinned_jars(version):
            if not (directory / name).exists():
                (arriving / name).rename(directory / name)


def check(version: str, directory: Path) -> None:
    """Raises JarsUnusable naming every jar that is not the pinned one."""
    wrong = [name for name, digest in pinned_jars(version).items() if _sha256(directory / name) != digest]
    if wrong:
        raise JarsUnusable(f"not the pinned jars (deploy/kafka/{version}.sha256): {', '.join(wrong)}")


def find_tool(name: str, say: Say) -> str:
    """Path of `java` or `mvn`, installed now when it is missing and we are root. Raises ToolMissing."""
    found = shutil.which(name)
    if found is None and may_install():
        _install(name, say)
        found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not installed. {advice([name])}")
    return found


def package_manager() -> str | None:
    return next((name for name in INSTALLERS if shutil.which(name)), None)


def may_install() -> bool:
    return os.geteuid() == 0 and package_manager() is not None


def advice(tools: Sequence[str]) -> str:
    """The sentence with the exact command to type."""
    manager = package_manager()
    if manager is None:
        return "Install Java 17 or newer and Maven with your system's package manager, then try again."
    packages = [PACKAGES[manager][tool] for tool in tools]
    return "Type: " + " && ".join("sudo " + " ".join(command) for command in INSTALLERS[manager](packages))


def _install(tool: str, say: Say) -> None:
    manager = package_manager()
    assert manager is not None
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in INSTALLERS[manager]([PACKAGES[manager][tool]]):
        say(f"{tool} is missing; running: {' '.join(command)}")
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ToolMissing(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
