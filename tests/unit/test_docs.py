"""The documents keep up with the code: docs/reference.md is current and whole, links and decisions are sound."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from operations.settings import Settings
from schemas import topics
from tests.traceability import deliveries, reference
from tests.traceability.catalogue import ROOT
from tests.traceability.error_codes import error_codes
from tests.traceability.tree import PACKAGES, project_files

METRIC_KINDS = frozenset({"Counter", "Gauge", "Histogram", "Summary", "Info"})
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
ANCHOR = re.compile(r"\[[^\]]*\]\(((?!\w+:)[^)#\s]*)#([^)\s]+)\)")
NO_PROSE = frozenset({"glossary.md", "reference.md", "requirements.md", "performance.md"})
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page() -> str:
    return reference.REFERENCE_PATH.read_text(encoding="utf-8")


def test_the_reference_is_what_the_code_says(page: str) -> None:
    assert page == reference.reference_page(), "run `make docs` and commit docs/reference.md"


def test_the_life_of_a_delivery_is_what_the_code_says() -> None:
    page = deliveries.PAGE_PATH.read_text(encoding="utf-8")
    assert page == deliveries.page(), "run `make docs` and commit docs/deliveries.md"


def test_where_the_life_of_a_delivery_is_in_the_code_exists() -> None:
    for _what, where in deliveries.FOUND_IN:
        first, *others = re.findall(r"`([^`]+)`", where)
        assert (ROOT / first).is_file()
        assert all((ROOT / first).with_name(other).is_file() for other in others)


def test_every_setting_named_anywhere_stands_in_the_reference(page: str) -> None:
    """Also those that a script sets for a process, and those that a message names."""
    named = {name for _, text in _package_sources() for name in re.findall(r"\bATLAS_[A-Z_]+[A-Z]\b", text)}
    assert named
    assert not _absent(named, page)


def test_every_default_can_be_typed_as_the_reference_shows_it(page: str, tmp_path: Path) -> None:
    """Whoever copies a default into an environment gets what they had without it."""
    home = str(tmp_path)
    shown = dict(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| `([^`]+)` \|", page, re.MULTILINE))
    shown = {name: default.replace("$ATLAS_HOME", home) for name, default in shown.items()}
    assert shown["ATLAS_SURFACES"] == "events,work,spine,burn"
    key = {"ATLAS_HOME": home, "ATLAS_MASTER_KEY": "0" * 64}  # the first is the test's own; the other's is a file
    assert Settings.from_env(shown | key) == Settings.from_env(key)


def test_every_topic_stands_in_the_reference(page: str) -> None:
    assert not _absent(set(topics.Topic), page)


def test_every_metric_made_anywhere_stands_in_the_reference(page: str) -> None:
    """Wherever it is made: one outside a `metrics.py` would be missing on the page."""
    made = {name for _, text in _package_sources() for name in _metrics_made(text)}
    assert made
    assert not _absent({f"`{name}`" for name in made}, page)


def test_every_error_code_stands_in_the_reference(page: str) -> None:
    codes = error_codes()
    assert {"invalid_request", "authentication_failed", "stream_not_found", "duplicate_event"} <= codes.keys()
    assert not _absent({f"`{code}`" for code in codes}, page)


def test_metrics_have_one_name_each_and_say_what_they_count() -> None:
    seen: dict[str, tuple[str, object]] = {}
    for module, metrics in reference.metrics_by_module().items():
        for name, metric in metrics.items():
            assert re.fullmatch(r"atlas_[a-z]+(_[a-z]+)*", name), name
            assert (metric.kind == "counter") == name.endswith("_total"), name
            assert metric.meaning.strip(), name
            first, made = seen.setdefault(name, (module, metric.made))
            assert made is metric.made, f"{name} is made in {first} and in {module}"


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path}: {target}"
        for path in project_files()
        if path.suffix == ".md"
        for target in LINK.findall(FENCE.sub("", (ROOT / path).read_text(encoding="utf-8")))
        if "://" not in target and not target.startswith("mailto:") and not (ROOT / path.parent / target).exists()
    ]
    assert not broken


def test_links_to_a_heading_lead_to_one() -> None:
    broken = [
        f"{path}: {target}#{anchor}"
        for path, text in _pages()
        for target, anchor in ANCHOR.findall(FENCE.sub("", text))
        if anchor not in _anchors((ROOT / path.parent / target if target else ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not broken


@pytest.mark.parametrize("word", ["retry schedule", "verdict", "spine", "surface"])
def test_the_first_use_of_a_word_of_ours_links_the_glossary(word: str) -> None:
    """In what people read from beginning to end: prose, not code and headings."""
    used, unlinked = 0, []
    for path, text in _pages():
        if path.parts[0] == "docs" and (path.name in NO_PROSE or "decisions" in path.parts):
            continue
        if path.name not in ("README.md", "CONTRIBUTING.md") and path.parts[0] != "docs":
            continue
        prose = re.sub(r"^#.*$|`[^`\n]*`", "", FENCE.sub("", text), flags=re.MULTILINE)
        first = re.search(rf"(\[)?\b{word}s?\b(\]\([^)]*glossary\.md#)?", prose, re.IGNORECASE)
        if first:
            used += 1
            unlinked += [] if first[1] and first[2] else [str(path)]
    assert used and not unlinked


def test_a_heading_that_is_gone_is_seen() -> None:
    assert _anchors("# One\n## Who `and` where?\n") == {"one", "who-and-where"}


def test_decisions_are_numbered_one_by_one_and_say_their_status() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(len(pages)))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(("# NNNN: ", f"# {page.name[:4]}: ")), page.name
        assert "| status |" in text, page.name


def test_a_name_without_a_meaning_is_told() -> None:
    with pytest.raises(reference.ReferenceIncomplete, match="A_B has no meaning; C_D is told but gone"):
        reference._agree("settings", ["A_B", "E_F"], ["C_D", "E_F"])


@pytest.mark.parametrize(
    "source",
    [
        "x = env.get('SOME_NAME', 'y')",
        "x = _integer(env, 'SOME_NAME', 8, faults)",
        "x = os.environ['SOME_NAME']",
        "x = os.environ.get('SOME_NAME')",
        "x = os.getenv('SOME_NAME')",
    ],
)
def test_a_setting_is_found_however_it_is_read(source: str) -> None:
    assert list(reference._variables_read(source)) == ["SOME_NAME"]


def test_what_is_handed_to_a_child_process_is_not_read() -> None:
    assert not list(reference._variables_read("env = {**os.environ, 'SOME_NAME': 'x'}; env['SOME_NAME'] = '1'"))


def _pages() -> Iterator[tuple[PurePosixPath, str]]:
    for path in project_files():
        if path.suffix == ".md":
            yield path, (ROOT / path).read_text(encoding="utf-8")


def _anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def _absent(names: set[str], page: str) -> list[str]:
    return sorted(name for name in names if name not in page)


def _package_sources() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")


def _metrics_made(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        kind = ast.unparse(node.func).rsplit(".", 1)[-1]
        if kind in METRIC_KINDS and isinstance(node.args[0].value, str):
            name = node.args[0].value
            yield name if kind != "Counter" or name.endswith("_total") else f"{name}_total"
