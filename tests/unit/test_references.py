"""What pages, docstrings and comments refer to exists: files, folders, decisions, modules, and members of our classes;
and what tests and benches import.

Each rule is a function from a file's path and text to the breaches in it, so that it can be shown to find one. Examples
in fences and the changelog are left out. A decision may name a class that is gone, but not in backticks.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath

import pytest

from tests.traceability import tree
from tests.traceability.catalogue import ROOT

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK_TARGET = re.compile(r"\]\([^)\s]*\)")  # tests/unit/test_docs.py follows them
FILE = re.compile(r"(?<![\w./@:<*{-])((?:[\w.-]+/)*[\w-]+\.(?:py|md))\b(?![\w(])")
IN_BACKTICKS = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?|[\w.-]+/)`")
SAID = re.compile(r'^ *"""(?P<docstring>.*?)"""|""".*?"""|(?:^|\s)# (?P<comment>[^\n]*)', re.MULTILINE | re.DOTALL)
DECISION = re.compile(r"\bdecisions/(\d{4})")
MODULE = re.compile(rf"(?<![\w./@-])((?:{'|'.join(tree.PACKAGES)})(?:\.\w+)+)")
CLASS = re.compile(r"`([A-Z][a-z]\w+(?:\.[a-z_]\w*)?)(?:\(\))?`")
NAMING_CLASSES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md", "docs/decisions/")
"""Pages that name classes of ours; others also name fields and classes of their readers' software."""

UNTYPED = ("tests", "bench")
OURS = "|".join((*tree.PACKAGES, *UNTYPED))
IMPORT = re.compile(
    rf"^ *from (?P<module>(?:{OURS})\b[\w.]*) import (?P<names>\([^)]*\)|[^\n(]+)$",
    re.MULTILINE,
)
ELSEWHERE = frozenset({"web_protocol.py", "tests/unit/test_x.py", "deploy/kafka/jars", "deploy/kafka/V.sha256"})
"""Files of others (aiohttp's), of examples, and those that are not committed."""
FOREIGN = frozenset({"ListOffsets", "PyJWKClientConnectionError", "ParseError"})
"""Names of Kafka, PyJWT and protobuf. `Class.member` is only looked up where the class is ours."""

Breaches = Iterator[str]


def named_files_exist(path: PurePosixPath, text: str) -> Breaches:
    """A file may be named by the end of its path."""
    for number, line in prose(path, text):
        for name in FILE.findall(line):
            if name not in path_ends() and name not in ELSEWHERE and "://" not in line:
                yield f"{path}:{number}: {name} does not exist"


def named_folders_exist(path: PurePosixPath, text: str) -> Breaches:
    """Of pages: what is in backticks and begins with the name of one of our folders."""
    if path.suffix != ".md":
        return
    for number, line in prose(path, text):
        for name in IN_BACKTICKS.findall(line):
            is_ours = name.partition("/")[0] in tree.PACKAGES and name not in ELSEWHERE
            if is_ours and name.rstrip("/") not in path_ends():
                yield f"{path}:{number}: {name} does not exist"


def cited_decisions_exist(path: PurePosixPath, text: str) -> Breaches:
    for number, line in prose(path, text):
        for decision in DECISION.findall(line):
            if not any((ROOT / "docs" / "decisions").glob(f"{decision}-*.md")):
                yield f"{path}:{number}: there is no decision {decision}"


def dotted_names_exist(path: PurePosixPath, text: str) -> Breaches:
    """`package.module.Name`: the module is there, and the name is in it."""
    for number, line in prose(path, text):
        for name in MODULE.findall(line):
            if not name.endswith((".js", ".d.ts")) and not _is_defined(name):
                yield f"{path}:{number}: {name} does not exist"


def named_classes_exist(path: PurePosixPath, text: str) -> Breaches:
    if path.suffix != ".md" or not str(path).startswith(NAMING_CLASSES):
        return
    for number, line in prose(path, text):
        for name in CLASS.findall(line):
            first, _, member = name.partition(".")
            is_known = first in words() if not member else first not in classes() or member in words()
            if not is_known and name not in FOREIGN:
                yield f"{path}:{number}: {name} does not exist"


def imported_names_exist(path: PurePosixPath, text: str) -> Breaches:
    """Of tests and benches, some of which run rarely; mypy sees to the rest."""
    if path.suffix != ".py" or path.parts[0] not in UNTYPED:
        return
    modules: dict[str, str] = {}
    for said in IMPORT.finditer(text):
        number = text.count("\n", 0, said.start()) + 1
        for imported in re.findall(r"\w+(?: as \w+)?", said["names"]):
            first, _, local = imported.partition(" as ")
            name = f"{said['module']}.{first}"
            if not _is_defined(name):
                yield f"{path}:{number}: {name} does not exist"
            elif _file_of(name) is not None and first not in (_words_of(said["module"]) or ()):
                modules[local or first] = name
    for local, name in modules.items():
        for attribute in set(re.findall(rf"(?<![\w./\"']){local}\.(\w+)", text)):
            if not _is_defined(f"{name}.{attribute}"):
                yield f"{path}: {local}.{attribute} does not exist"


@lru_cache(maxsize=1)
def prose(path: PurePosixPath, text: str) -> list[tuple[int, str]]:
    """A page without its examples; of code the docstrings and comments. Lines with their numbers."""
    if path.suffix == ".md" and path.name != "CHANGELOG.md":
        blanked = FENCE.sub(lambda fenced: "\n" * fenced[0].count("\n"), text)
        return list(enumerate(LINK_TARGET.sub("]", blanked).splitlines(), start=1))
    if path.suffix != ".py":
        return []
    found = []
    for said in SAID.finditer(text):
        first = text.count("\n", 0, said.start()) + 1
        found += list(enumerate((said["docstring"] or said["comment"] or "").splitlines(), start=first))
    return found


@cache
def path_ends() -> frozenset[str]:
    """Every file and folder of the project, by its whole path and by each end of it."""
    files = tree.project_files()
    paths = {*files, *(folder for path in files for folder in path.parents)}
    return frozenset("/".join(path.parts[-length:]) for path in paths for length in range(1, len(path.parts) + 1))


@cache
def words() -> frozenset[str]:
    """Every word in code of ours."""
    code = [text for path, text in tree.text_files() if path.suffix in (".py", ".ts", ".avsc", ".yaml")]
    return frozenset(word for text in code for word in re.findall(r"\w+", text))


@cache
def classes() -> frozenset[str]:
    sources = [(ROOT / path).read_text(encoding="utf-8") for path in tree.python_files(*tree.PACKAGES)]
    return frozenset(name for source in sources for name in re.findall(r"^\s*class (\w+)", source, re.MULTILINE))


@cache
def _is_defined(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        words = _words_of(".".join(parts[:length]))
        if words is not None:
            return length == len(parts) or parts[length] in words or parts[length].startswith("__")
    return False


@cache
def _words_of(module: str) -> frozenset[str] | None:
    file = _file_of(module)
    return None if file is None else frozenset(re.findall(r"\w+", file.read_text(encoding="utf-8")))


@cache
def _file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


Rule = Callable[[PurePosixPath, str], Breaches]
RULES: tuple[Rule, ...] = (
    named_files_exist,
    named_folders_exist,
    cited_decisions_exist,
    dotted_names_exist,
    named_classes_exist,
    imported_names_exist,
)


@pytest.fixture(scope="module")
def breaches() -> dict[Rule, list[str]]:
    found: dict[Rule, list[str]] = {rule: [] for rule in RULES}
    for path, text in tree.text_files():
        for rule in RULES:
            found[rule] += rule(path, text)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_referred_to_exists(rule: Rule, breaches: dict[Rule, list[str]]) -> None:
    assert not breaches[rule], "\n" + "\n".join(breaches[rule])


GONE = "gone"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (named_files_exist, "README.md", f"See `domain/delivery/{GONE}.py`."),
        (named_files_exist, "ARCHITECTURE.md", f"| {GONE}.py | what |"),
        (named_files_exist, "cli/main.py", f'"""Rules: domain/{GONE}/decide.py."""'),
        (named_files_exist, "cli/main.py", f"x = 1  # see docs/{GONE}.md"),
        (named_folders_exist, "CONTRIBUTING.md", f"It goes into `domain/{GONE}/`."),
        (named_folders_exist, "CONTRIBUTING.md", f"It goes into `processors/{GONE}`."),
        (cited_decisions_exist, "schemas/codec.py", '"""See docs/decisions/' + '9999."""'),
        (dotted_names_exist, "schemas/codec.py", f"key = 1  # schemas.{GONE}.Key"),
        (dotted_names_exist, "schemas/codec.py", f'"""As schemas.codec.{GONE.title()}One has it."""'),
        (named_classes_exist, "ARCHITECTURE.md", f"Read by `{GONE.title()}Reader`."),
        (named_classes_exist, "docs/decisions/0001-x.md", f"See `ControlView.{GONE}_and_away`."),
        (imported_names_exist, "bench/x.py", f"from operations.{GONE} import now_ms"),
        (imported_names_exist, "bench/x.py", f"from operations.clock import {GONE}_ms"),
        (imported_names_exist, "tests/x.py", f"def f():\n    from operations import clock\n    clock.{GONE}_ms()"),
    ],
)
def test_a_breach_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(PurePosixPath(path), text))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (named_files_exist, "README.md", "`states.py`, domain/delivery/states.py and `delivery/states.py`"),
        (named_files_exist, "README.md", f"```sh\npython {GONE}.py\n```"),
        (named_files_exist, "cli/main.py", f'x = "{GONE}.py"'),
        (named_folders_exist, "README.md", "`domain/`, `domain/delivery` and `surfaces/burn/edge`; `azure/us/`"),
        (dotted_names_exist, "schemas/codec.py", "key = 1  # schemas.codec.Codec, operations.clock.now_ms()"),
        (imported_names_exist, "tests/x.py", "from operations import clock\nclock.now_ms(); x = clock.__doc__"),
        (named_classes_exist, "ARCHITECTURE.md", "`ControlView`, `AdminClient.elect_leaders`, `Work.commit`"),
    ],
)
def test_what_is_there_is_no_breach(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(PurePosixPath(path), text))
