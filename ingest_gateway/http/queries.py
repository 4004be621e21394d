"""Query strings, strictly: known names, each once, UTF-8; whole numbers in ASCII digits. All errors at once.

`parse_qsl` answers otherwise: docs/decisions/0027.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from aiohttp import web

from ingest_gateway.http.errors import ErrorKind, Refused
from schemas.errors import FieldError

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
PARAMETERS_MAX = 100
MESSAGE = "The query string is not valid."


def read_query(request: web.BaseRequest, names: Collection[str]) -> dict[str, str]:
    """The parameters by name. Refused: unknown names, names given twice, bad escapes, bad UTF-8, controls."""
    _, _, text = request.raw_path.partition("?")
    if not text:
        return {}
    pairs = [pair for pair in text.partition("#")[0].split("&") if pair]
    if len(pairs) > PARAMETERS_MAX:
        raise Refused(ErrorKind.INVALID_FIELDS, MESSAGE)
    found: dict[str, str] = {}
    errors: list[FieldError] = []
    for pair in pairs:
        raw_name, _, raw_value = pair.partition("=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name is None or name not in names:
            errors.append(FieldError("" if name is None else name[:64], "There is no such parameter."))
        elif value is None:
            errors.append(FieldError(name, "The value is not valid UTF-8 text."))
        elif name in found:
            errors.append(FieldError(name, "The parameter is given twice."))
        else:
            found[name] = value
    if errors:
        raise Refused(ErrorKind.INVALID_FIELDS, MESSAGE, fields=errors)
    return found


def whole_number(parameters: dict[str, str], name: str, *, minimum: int, maximum: int, default: int) -> int:
    """A parameter in decimal ASCII digits, within bounds."""
    text = parameters.get(name)
    if text is None:
        return default
    if WHOLE_NUMBER.fullmatch(text) is None or not minimum <= int(text) <= maximum:
        error = FieldError(name, f"Must be a whole number from {minimum} to {maximum}.")
        raise Refused(ErrorKind.INVALID_FIELDS, MESSAGE, fields=[error])
    return int(text)


def _decoded(text: str) -> str | None:
    if not text.isascii() or BAD_ESCAPE.search(text):
        return None
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None
    return decoded if decoded.isprintable() else None
