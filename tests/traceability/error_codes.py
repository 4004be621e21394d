"""The error codes that the code can answer with, found in its source: none is listed by hand, so none is forgotten.

A code is the snake-case literal in a call of `ErrorAnswer(…)`, `Refused(…)` or `CommandRefused(…)`, with the status
next to it: a number, or the `ErrorKind` named there. A mapping from `ErrorKind` to codes, as a surface's renderer has
it, is read the same way.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest_gateway.http.errors import ErrorKind
from tests.traceability.catalogue import ROOT

SOURCES = ("ingest_gateway", "domain")
_CODE = re.compile(r"[a-z]+(_[a-z0-9]+)*")
_MAKERS = frozenset({"ErrorAnswer", "Refused", "CommandRefused", "GuardRefused", "RefusalBody"})


@dataclass(frozen=True)
class ErrorCode:
    """One way to answer: the code, HTTP's status, and the message as the code has it (`…` where values go in)."""

    code: str
    status: int
    message: str


def error_codes() -> dict[str, list[ErrorCode]]:
    """Every code of the gateway and of the control agent, with each way in which it is answered."""
    found: dict[str, set[ErrorCode]] = {}
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for error in codes_in(path.read_text(encoding="utf-8")):
                found.setdefault(error.code, set()).add(error)
    return {code: sorted(ways, key=lambda way: (way.status, way.message)) for code, ways in sorted(found.items())}


def codes_in(source: str) -> Iterator[ErrorCode]:
    """The codes of one file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in _MAKERS:
            yield from _code_of([*node.args, *(keyword.value for keyword in node.keywords)])
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None and _kind_of(key) is not None and not isinstance(value, ast.Call):
                    yield from _code_of([key, *(value.elts if isinstance(value, ast.Tuple) else [value])])


def _code_of(parts: list[ast.expr]) -> Iterator[ErrorCode]:
    texts = [text for part in parts if (text := _text(part))]
    codes = [text for text in texts if _CODE.fullmatch(text)]
    if not codes:
        return
    kinds = [kind for part in parts if (kind := _kind_of(part))]
    statuses = [part.value for part in parts if isinstance(part, ast.Constant) and type(part.value) is int]
    statuses += [kind.status for kind in kinds]
    sentences = [text for text in texts if " " in text] + [kind.message for kind in kinds]
    yield ErrorCode(codes[0], int(statuses[0]) if statuses else 0, sentences[0] if sentences else "")


def _text(part: ast.expr) -> str | None:
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return part.value
    if isinstance(part, ast.JoinedStr):
        return "".join(str(value.value) if isinstance(value, ast.Constant) else "…" for value in part.values)
    return None


def _kind_of(part: ast.expr) -> ErrorKind | None:
    if isinstance(part, ast.Attribute) and ast.unparse(part.value).rsplit(".", 1)[-1] == "ErrorKind":
        return ErrorKind[part.attr]
    return None
