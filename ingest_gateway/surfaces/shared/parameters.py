"""The query strings of lists: filters, times and limits, read strictly, with all errors at once where possible."""

from collections.abc import Iterator

from domain.events.fields import time_ms
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.queries import MESSAGE
from schemas.errors import FieldError

LIMIT_MAX, LIMIT_DEFAULT = 100, 25
METADATA = "metadata."
METADATA_FILTERS_MAX = 5
NO_TIME = "Must be a time as in RFC 3339, with its zone: 2026-05-18T14:22:11Z."
UPSIDE_DOWN = "Must not be later than `to`."


class Names:
    """Names of parameters, those of metadata keys among them."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def __contains__(self, name: object) -> bool:
        return name in self._names or (isinstance(name, str) and name.startswith(METADATA) and name != METADATA)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def time_range(parameters: dict[str, str]) -> tuple[int | None, int | None]:
    """`from` and `to` in milliseconds. A space counts as a `+`, since clients forget to escape it."""
    errors = []
    found: dict[str, int | None] = {"from": None, "to": None}
    for name in found:
        written = parameters.get(name)
        if written is not None:
            found[name] = time_ms(written.replace(" ", "+"))
            if found[name] is None:
                errors.append(FieldError(name, NO_TIME))
    first, last = found["from"], found["to"]
    if first is not None and last is not None and first > last:
        errors.append(FieldError("from", UPSIDE_DOWN))
    if errors:
        raise invalid(*errors)
    return first, last


def metadata_filters(parameters: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Key and value, in the order of keys."""
    named = ((name, value) for name, value in parameters.items() if name.startswith(METADATA))
    found = sorted((name.removeprefix(METADATA), value) for name, value in named)
    if len(found) > METADATA_FILTERS_MAX:
        raise invalid(FieldError(METADATA + found[-1][0], f"At most {METADATA_FILTERS_MAX} keys can be asked for."))
    return tuple(found)


def invalid(*errors: FieldError) -> Refused:
    return Refused(ErrorKind.INVALID_FIELDS, MESSAGE, fields=errors)
