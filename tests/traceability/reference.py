"""Writes docs/reference.md from the code: settings, topics, records, metrics, error codes. `make docs` runs it.

Names, defaults, bounds and shapes come from the code; what a name means for its user stands in `meanings.py` where the
code doesn't say it. A name without a meaning, and a meaning whose name is gone, raise ReferenceIncomplete, and
tests/unit/test_docs.py fails while the page differs from what would be written.
"""

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from domain.events.catalog import CATALOG
from ingest_gateway.latency import BulkHistogram
from ingest_gateway.read_model.spine_pages import TOTAL_MAX
from operations.settings import Settings
from schemas import topics
from tests.traceability import error_codes, meanings
from tests.traceability.catalogue import ROOT
from tests.traceability.tree import PACKAGES

REFERENCE_PATH = ROOT / "docs" / "reference.md"
SETTINGS_FILE = "operations/settings.py"
DEFAULT_PARTITIONS = 8

_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_INTRODUCTION = """\
# Reference

Settings, topics, records, metrics, error codes and event types.
`make docs` writes this page; edit the code, or `tests/traceability/meanings.py`, not the page."""


class ReferenceIncomplete(Exception):
    """A name of the code has no meaning written down, or a meaning has lost its name; the message lists them."""


def reference_page() -> str:
    """The whole page. Raises ReferenceIncomplete."""
    sections = (settings_section, topics_section, records_section, metrics_section, errors_section, types_section)
    return "\n\n".join([_INTRODUCTION, *("\n".join(section()) for section in sections)]) + "\n"


def settings_section() -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield "Environment variables. A process reads them when it starts, and names all that it can't use at once."
    yield from _heading("variable", "default", "meaning", "read by")
    found = variables()
    _agree("settings", found, meanings.SETTINGS)
    for name in sorted(found, key=lambda name: (found[name] != SETTINGS_FILE, list(meanings.SETTINGS).index(name))):
        yield _row(f"`{name}`", _code(_default(name)), meanings.SETTINGS[name], f"`{found[name]}`")


def variables() -> dict[str, str]:
    """Every environment variable that the packages read, and the file that reads it."""
    found: dict[str, str] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for name in _variables_read(path.read_text(encoding="utf-8")):
            found.setdefault(name, path.relative_to(ROOT).as_posix())
    return found


def topics_section() -> Iterator[str]:
    yield "## Topics"
    yield ""
    yield (
        f"Partitions are those of an installation with `ATLAS_PARTITIONS={DEFAULT_PARTITIONS}`; times are those of "
        f"the log."
    )
    yield from _heading("topic", "key", "record", "partitions", "kept", "meaning")
    stream = topics.StreamTopic("<workspace>", "<environment>", "<stream>")
    route = topics.RouteTopic("<workspace>", "<environment>", "<topic>")
    specs = [
        topics.stream_topic_spec(stream, DEFAULT_PARTITIONS, 14),
        *topics.base_topics(DEFAULT_PARTITIONS),
        topics.route_topic_spec(route, DEFAULT_PARTITIONS),
    ]
    _agree("topics", [str(spec.name) for spec in specs], meanings.TOPICS)
    for spec in specs:
        told = meanings.TOPICS[spec.name]
        kept = "the stream's `retention_days`" if spec.name == stream.name else _kept(spec.config)
        yield _row(f"`{spec.name}`", told.key, f"`{told.record}`", str(spec.partitions), kept, told.meaning)


def records_section() -> Iterator[str]:
    yield "## Records"
    yield ""
    yield "Avro, with the schema's fingerprint in front (single-object encoding). `?` marks a field that may be null."
    for path in sorted((ROOT / "schemas" / "avro").glob("*.avsc")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        yield f"\n### {schema['name']}\n\n{schema['doc']}"
        yield from _heading("field", "type", "default", "meaning")
        for field in schema["fields"]:
            default = _code(json.dumps(field["default"])) if "default" in field else ""
            yield _row(f"`{field['name']}`", _avro_type(field["type"]), default, field.get("doc", ""))


def metrics_section() -> Iterator[str]:
    yield "## Metrics"
    yield ""
    yield "On `/metrics` of each process's operations port, in Prometheus' text format."
    for module, metrics in metrics_by_module().items():
        yield f"\n### {module.rsplit('.', 1)[0]}"
        yield from _heading("metric", "kind", "labels", "meaning")
        for name, metric in sorted(metrics.items()):
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            yield _row(f"`{name}`", metric.kind, labels, metric.meaning)


class Metric(NamedTuple):
    """`made`: the metric itself."""

    kind: str
    labels: tuple[str, ...]
    meaning: str
    made: object


def metrics_by_module() -> dict[str, dict[str, Metric]]:
    """Metrics by name, as `/metrics` shows them, of every `metrics.py` of the packages."""
    found: dict[str, dict[str, Metric]] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("metrics.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        mine = found[module] = {}
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, BulkHistogram):
                mine[value.name] = Metric("histogram", (), value.documentation, value)
            elif isinstance(value, MetricWrapperBase):
                labels = tuple(value._labelnames)
                mine[_shown_name(value)] = Metric(str(value._type), labels, value._documentation, value)
    return found


def errors_section() -> Iterator[str]:
    yield "## Error codes"
    yield ""
    yield "`error.code` of an answer that isn't 2xx; on AtlasWork the problem's `title`. Codes stay, texts may change."
    yield from _heading("code", "HTTP", "when, or the message")
    found = error_codes.error_codes()
    silent = [code for code, ways in found.items() if not any(way.message for way in ways)]
    _agree("error codes", {*meanings.ERRORS, *silent} & found.keys(), meanings.ERRORS)
    for code, ways in sorted(found.items(), key=lambda entry: (entry[1][0].status, entry[0])):
        statuses = dict.fromkeys(str(way.status) for way in ways if way.status)
        message = next((way.message for way in ways if way.message), "")
        yield _row(f"`{code}`", ", ".join(statuses), meanings.ERRORS.get(code, message))


def types_section() -> Iterator[str]:
    yield "## Event types of the spine"
    yield ""
    yield (
        "What the platforms publish. An organization can register its own types (`PUT /v1/event-types/{type}`). "
        "`total` "
        f"of a query is exact up to {TOTAL_MAX:,}."
    )
    yield from _heading("type", "platform", "when", "properties of `data`")
    for known in CATALOG.values():
        properties = (known.schema or {}).get("properties", {})
        shown = ", ".join(f"`{name}` ({schema['type']})" for name, schema in properties.items())
        yield _row(f"`{known.type}`", known.platform, known.description, shown)


def main() -> int:
    try:
        page = reference_page()
    except ReferenceIncomplete as incomplete:
        print(f"docs/reference.md is not written: {incomplete}", file=sys.stderr)
        return 1
    changed = not REFERENCE_PATH.exists() or REFERENCE_PATH.read_text(encoding="utf-8") != page
    REFERENCE_PATH.write_text(page, encoding="utf-8")
    print(f"{REFERENCE_PATH.relative_to(ROOT)}: {'written' if changed else 'unchanged'}")
    return 0


def _variables_read(source: str) -> Iterator[str]:
    """Names read by `env.get(NAME, …)`, `env[NAME]`, `getenv(NAME)` or a function that is handed `env`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            mapping, keys = ast.unparse(node.value), [node.slice]
        elif isinstance(node, ast.Call):
            handed = [ast.unparse(argument) for argument in node.args if isinstance(argument, ast.Name)]
            mapping = " ".join([ast.unparse(node.func), *handed])
            keys = node.args
        else:
            continue
        if re.search(r"\b(env|environ|getenv)\b", mapping):
            for key in keys:
                if isinstance(key, ast.Constant) and _VARIABLE.fullmatch(str(key.value)):
                    yield str(key.value)


def _default(name: str) -> str:
    """What the setting is when nothing is set, as one types it: fields of Settings are called like their variables."""
    home = Path("/nowhere")  # stands for the data directory, whose real default depends on where a process starts
    settings = Settings.from_env({"ATLAS_HOME": str(home), "ATLAS_MASTER_KEY": "0" * 64})
    if name in meanings.DEFAULTS:
        return meanings.DEFAULTS[name]
    for field in (name.removeprefix("ATLAS_").lower(), name.lower()):
        if hasattr(settings, field):
            return _typed(getattr(settings, field)).replace(str(home), "$ATLAS_HOME")
    raise ReferenceIncomplete(f"the default of {name} is neither in Settings nor in meanings.DEFAULTS")


def _typed(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kept(config: dict[str, str]) -> str:
    if "retention.ms" not in config:
        return "compacted: the newest record a key"
    minutes = int(config["retention.ms"]) // 60_000
    return f"{minutes // 1440} days" if minutes % 1440 == 0 else f"{minutes} minutes"


def _avro_type(kind: object) -> str:
    if isinstance(kind, list):
        return _avro_type(next(branch for branch in kind if branch != "null")) + "?"
    if isinstance(kind, dict):
        return f"{kind['type']} of {_avro_type(kind['items'])}" if kind["type"] == "array" else str(kind["type"])
    return str(kind)


def _shown_name(metric: MetricWrapperBase) -> str:
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)


def _agree(what: str, names: Iterable[str], told: Iterable[str]) -> None:
    names, told = set(names), set(told)
    faults = [f"{name} has no meaning" for name in sorted(names - told)]
    faults += [f"{name} is told but gone" for name in sorted(told - names)]
    if faults:
        raise ReferenceIncomplete(f"{what} in tests/traceability/meanings.py: " + "; ".join(faults))


def _heading(*cells: str) -> Iterator[str]:
    yield ""
    yield _row(*cells)
    yield "|" + "---|" * len(cells)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.exit(main())
