"""House rules (ARCHITECTURE.md) as tests: size, what may import what, nothing left over, nothing of one machine.

Each rule is a function from a file's path and text to the breaches in it, so that it can be shown to find one.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.traceability import tree
from tests.traceability.catalogue import ROOT

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CODE_SUFFIXES = frozenset({".py", ".ts", ".js", ".java", ".sh"})

KAFKA_CLIENTS = ("confluent_kafka", "aiokafka", "faust")
# (files, what they must not import, why)
FORBIDDEN_IMPORTS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("**/decide.py", (*KAFKA_CLIENTS, "aiohttp", "sqlalchemy", "asyncio", "os", "time"), "decisions are pure"),
    ("**/decide.py", ("random", "secrets", "socket", "threading", "prometheus_client"), "decisions are pure"),
    ("schemas/**", (*KAFKA_CLIENTS, "aiohttp", "operations"), "schemas know no client and no process"),
    ("schemas/**", ("ingest_gateway", "processors", "cli", "deploy"), "schemas are below everything"),
    ("operations/**", ("ingest_gateway", "processors", "cli", "deploy"), "operations are below the processes"),
    ("ingest_gateway/**", ("processors", "cli", "deploy"), "the gateway and the processors meet on the log alone"),
    ("processors/**", ("ingest_gateway", "cli", "deploy"), "the gateway and the processors meet on the log alone"),
    *((f"{package}/**", ("tests", "bench"), "what ships needs no tests") for package in tree.PACKAGES),
)
CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.monotonic")
# (files, what they must not use, why)
FORBIDDEN_NAMES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("**/decide.py", CLOCKS, "time is an argument"),
    ("schemas/**", ("os.environ", "os.getenv"), "schemas know no environment"),
    *(
        (f"{package}/**", ("os.getenv", "os.environ.get"), "operations/settings.py reads it")
        for package in tree.PACKAGES
    ),
)

# Put together from parts, so that this file doesn't break its own rules.
LEFTOVER = re.compile(
    "|".join((rf"\b{'FIX' + 'ME'}\b", rf"\b{'X' * 3}\b", rf"(#|//|<!--|\*)\s*{'TO' + 'DO'}\b|\b{'TO' + 'DO'}[:(]"))
)
MACHINE_PATH = re.compile(r"(?<![\w.~/$}-])/(?:" + "|".join(("home", "Users", "root", "work")) + r")/\w")
REGISTRIES = (
    ("pypi", "org"),
    ("files", "pythonhosted"),
    ("registry", "npmjs"),
    ("registry", "yarnpkg"),
    ("repo", "maven"),
    ("repo1", "maven"),
    ("proxy", "golang"),
)
REGISTRY_HOST = re.compile("|".join(rf"\b{first}\.{second}\b" for first, second in REGISTRIES))

Breaches = Iterator[str]
Rule = Callable[[PurePosixPath, str], Breaches]


def functions_are_short(path: PurePosixPath, text: str) -> Breaches:
    if path.suffix != ".py":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES_MAX} are allowed"


def files_are_short(path: PurePosixPath, text: str) -> Breaches:
    length = text.count("\n")
    if path.suffix in CODE_SUFFIXES and path.parts[0] != "tests" and length > FILE_LINES_MAX:
        yield f"{path}: {length} lines, {FILE_LINES_MAX} are allowed"


def imports_keep_to_their_layer(path: PurePosixPath, text: str) -> Breaches:
    if path.suffix != ".py":
        return
    imported = tree.imported_modules(path, text)
    for files, modules, why in FORBIDDEN_IMPORTS:
        if _lies_in(path, files):
            for name in sorted(name for name in imported if any(tree.is_within(name, module) for module in modules)):
                yield f"{path}: imports {name}, but {why}"


def time_and_environment_come_in_as_arguments(path: PurePosixPath, text: str) -> Breaches:
    if path.suffix != ".py" or path == PurePosixPath("operations/settings.py"):
        return
    used = tree.dotted_names(text)
    for files, names, why in FORBIDDEN_NAMES:
        if _lies_in(path, files):
            for name in sorted(name for name in used if any(f".{name}".endswith(f".{banned}") for banned in names)):
                yield f"{path}: uses {name}, but {why}"


def nothing_is_left_over(path: PurePosixPath, text: str) -> Breaches:
    """A task's status may be the very word that marks unfinished work, so that one counts only where it marks."""
    yield from _lines_with(LEFTOVER, path, text, "work left over")


def no_path_of_one_machine(path: PurePosixPath, text: str) -> Breaches:
    yield from _lines_with(MACHINE_PATH, path, text, "a path of one machine")


def no_registry_is_named(path: PurePosixPath, text: str) -> Breaches:
    """Where packages come from is the installing machine's configuration."""
    yield from _lines_with(REGISTRY_HOST, path, text, "a registry's host")


RULES: tuple[Rule, ...] = (
    functions_are_short,
    files_are_short,
    imports_keep_to_their_layer,
    time_and_environment_come_in_as_arguments,
    nothing_is_left_over,
    no_path_of_one_machine,
    no_registry_is_named,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule: Rule) -> None:
    breaches = [breach for path, text in tree.text_files() for breach in rule(path, text)]
    assert not breaches, "\n" + "\n".join(breaches)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (functions_are_short, "cli/main.py", "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX),
        (files_are_short, "cli/main.py", "\n" * (FILE_LINES_MAX + 1)),
        (imports_keep_to_their_layer, "processors/admission/decide.py", "import time"),
        (imports_keep_to_their_layer, "processors/admission/decide.py", "from os import path"),
        (imports_keep_to_their_layer, "processors/admission/decide.py", "def f():\n    import faust.types"),
        (imports_keep_to_their_layer, "schemas/codec.py", "from aiohttp import web"),
        (imports_keep_to_their_layer, "ingest_gateway/log/x.py", "from processors.runtime import outbox"),
        (imports_keep_to_their_layer, "processors/control/x.py", "import ingest_gateway.log as log"),
        (imports_keep_to_their_layer, "operations/logs.py", "from tests import support"),
        (time_and_environment_come_in_as_arguments, "processors/admission/decide.py", "x = datetime.now(UTC)"),
        (time_and_environment_come_in_as_arguments, "processors/admission/decide.py", "x = datetime.datetime.utcnow()"),
        (time_and_environment_come_in_as_arguments, "schemas/codec.py", "x = os.environ['A']"),
        (time_and_environment_come_in_as_arguments, "ingest_gateway/app.py", "x = os.environ.get('A')"),
        (nothing_is_left_over, "cli/main.py", "pass  # " + "TO" + "DO later"),
        (nothing_is_left_over, "README.md", "FIX" + "ME"),
        (no_path_of_one_machine, "README.md", "cd /" + "home/somebody/atlas"),
        (no_registry_is_named, "requirements.lock", "--index-url https://" + "pypi" + ".org/simple"),
    ],
)
def test_a_breach_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(PurePosixPath(path), text))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (functions_are_short, "cli/main.py", "def short():\n" + "    pass\n" * (FUNCTION_LINES_MAX - 1)),
        (
            imports_keep_to_their_layer,
            "processors/admission/decide.py",
            "import timeit_of_ours\nfrom schemas import ids",
        ),
        (imports_keep_to_their_layer, "deploy/local/up.py", "import ingest_gateway, processors"),
        (time_and_environment_come_in_as_arguments, "ingest_gateway/__main__.py", "Settings.from_env(os.environ)"),
        (nothing_is_left_over, "schemas/entities.py", 'STATUS = ("' + "TO" + 'DO", "DONE")'),
        (no_path_of_one_machine, "README.md", "https://example.com/" + "home/page and docs/" + "work/now"),
    ],
)
def test_what_is_allowed_is_no_breach(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(PurePosixPath(path), text))


def test_the_lock_pins_every_package_by_hash_and_names_no_place() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [number for number, line in enumerate(lines) if line and not line.startswith((" ", "#"))]
    assert pins
    for number in pins:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==\S+( ; [^\\]+)? \\", lines[number]), lines[number]
        assert lines[number + 1].startswith("    --hash=sha256:"), lines[number]
    assert not [line for line in lines if "://" in line]


def test_without_git_the_same_files_are_found() -> None:
    """A source archive holds no git directory; the rules hold there too."""
    tracked = set(tree.project_files())
    walked = set(tree._walked_files(ROOT))
    assert tracked <= walked


def _lies_in(path: PurePosixPath, files: str) -> bool:
    folder, _, name = files.partition("/")
    return path.name == name if folder == "**" else path.parts[0] == folder


def _lines_with(pattern: re.Pattern[str], path: PurePosixPath, text: str, what: str) -> Breaches:
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.search(line):
            yield f"{path}:{number}: {what}: {line.strip()[:100]}"
