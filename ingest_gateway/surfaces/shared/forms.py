"""JSON bodies, read member by member, with all errors at once: the forms of all surfaces are built from this."""

from collections.abc import Callable, Mapping
from typing import Any

from domain.delivery.targets import TargetForbidden, parse_target
from domain.events.fields import REQUIRED, UNKNOWN, shown, time_ms
from domain.json.strict import JsonError, parse_object
from domain.security.networks import read_network
from ingest_gateway.http.errors import ErrorKind, Refused
from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX
from schemas.errors import FieldError

DESCRIPTION_CHARACTERS_MAX = 1_000
NAME_CHARACTERS_MAX = 200
TWICE = "The entry is there twice."
NO_NETWORK = "Expected an address or a network in CIDR form, such as 203.0.113.0/24, without bits beyond its prefix."
_KINDS = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}


class Form:
    """Mutable: one body's members. Each method notes what is wrong; `raise_errors` raises all of it."""

    def __init__(self, body: bytes, known: frozenset[str], hints: Mapping[str, str] | None = None) -> None:
        """`hints`: messages for fields that are no part of the form and are sent all the same. Raises Refused where the
        body is not one JSON object.
        """
        try:
            self.values: dict[str, Any] = parse_object(body).values
        except JsonError as error:
            raise _invalid([FieldError(error.path or "body", error.message)]) from None
        unknown = (name for name in self.values if name not in known)
        self.errors = [FieldError(shown(name), (hints or {}).get(name, UNKNOWN)) for name in unknown]

    def refuse(self, field: str, message: str) -> None:
        self.errors.append(FieldError(field, message))

    def raise_errors(self) -> None:
        if self.errors:
            raise _invalid(self.errors)

    def string(self, field: str, error_in: Callable[[str], str | None], *, required: bool = True) -> str | None:
        """A string that `error_of` has nothing to say against; None for null and for what is absent."""
        value = self.values.get(field)
        if value is None:
            if required:
                self.refuse(field, REQUIRED)
            return None
        error = error_in(value) if type(value) is str else expected("a string", value)
        if error is None:
            return value  # type: ignore[no-any-return]
        self.refuse(field, error)
        return None

    def texts(self, field: str, most: int, error_in: Callable[[str], str | None]) -> list[str]:
        """Different texts that `error_of` has nothing to say against; empty for null and for what is absent."""
        value = self.values.get(field)
        if value is None:
            return []
        if type(value) is not list:
            self.refuse(field, expected("an array of texts", value))
            return []
        if len(value) > most:
            self.refuse(field, f"The array has {len(value)} entries; {most} are allowed.")
            return []
        for index, entry in enumerate(value):
            error = error_in(entry) if type(entry) is str else expected("a text", entry)
            if error is None and entry in value[:index]:
                error = TWICE
            if error is not None:
                self.refuse(f"{field}[{index}]", error)
        return value

    def time_ms(self, field: str, no_time: str, *, required: bool = False) -> int | None:
        """An RFC 3339 time; `no_time`: the message for anything else."""
        text = self.string(field, lambda text: no_time if time_ms(text) is None else None, required=required)
        return None if text is None else time_ms(text)

    def expiry_ms(self, field: str, no_time: str, now_ms: int) -> int | None:
        """A time in the future, if any."""
        expires_ms = self.time_ms(field, no_time)
        if expires_ms is not None and expires_ms <= now_ms:
            self.refuse(field, "The time is over already.")
        return expires_ms

    def overlap_seconds(self, field: str, no_overlap: str) -> int:
        """How long the rotated key or secret stays valid; `no_overlap`: the message for a number out of bounds."""
        value = self.values.get(field)
        if value is None:
            return OVERLAP_SECONDS_DEFAULT
        if type(value) is not int:
            self.refuse(field, expected("a whole number of seconds", value))
        elif not 0 <= value <= OVERLAP_SECONDS_MAX:
            self.refuse(field, no_overlap)
        return value


def text_error(characters_max: int, *, least: int = 0) -> Callable[[str], str | None]:
    def error_in(text: str) -> str | None:
        if len(text) > characters_max:
            return f"The text has {len(text)} characters; {characters_max} are allowed."
        if len(text.strip()) < least:
            return "The text must not be empty."
        return "The text must not contain the character U+0000." if "\x00" in text else None

    return error_in


def target_error(allow_private: bool) -> Callable[[str], str | None]:
    def error_in(text: str) -> str | None:
        try:
            target = parse_target(text, allow_private)
        except TargetForbidden as forbidden:
            return f"Not a URL that events can be sent to: {forbidden}."
        return None if target.scheme == "https" or allow_private else "The scheme must be https."

    return error_in


def network_error(text: str) -> str | None:
    try:
        read_network(text)
    except ValueError:
        return NO_NETWORK
    return None


def expected(what: str, value: object) -> str:
    return f"Expected {what}, not {_KINDS.get(type(value), 'an object')}."


def _invalid(errors: list[FieldError]) -> Refused:
    return Refused(ErrorKind.INVALID_FIELDS, fields=errors)
