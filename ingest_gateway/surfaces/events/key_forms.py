"""Bodies that make or rotate keys: from a stranger's JSON to a command's payload, all faults at once. Pure.

Whether the maker may make such a key is `principals.beyond`'s to say. Sources: A-008, A-011, A-012; RELIABILITY A8.
"""

import re
from collections.abc import Callable

from ingest_gateway.identity.principals import SCOPES_OF_KIND, Principal
from ingest_gateway.surfaces.events.entity_forms import NAME_CHARACTERS_MAX, Form, expected, text_fault
from schemas.commands import OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX, CreateKey, RotateKey
from schemas.entities import KeyKind
from schemas.event_fields import NO_STREAM, is_stream_name, time_ms
from schemas.networks import read_network

KINDS = {"secret": KeyKind.SECRET, "publishable": KeyKind.PUBLISHABLE}
ENTRIES_MAX = 100
ORIGIN = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?")

NO_KIND = "A key is secret or publishable."
NO_NETWORK = "Expected an address or a network in CIDR form, such as 203.0.113.0/24, without bits beyond its prefix."
NO_ORIGIN = "Expected an origin as browsers send it, such as https://shop.example.com."
NO_TIME = "Expected a time as RFC 3339 has it, with zone, such as 2027-01-31T00:00:00Z."
NO_OVERLAP = f"The old key may hold for 0 to {OVERLAP_SECONDS_MAX} seconds more."
STREAMS_NEEDED = "A publishable key must name the streams that it may send to."
SECRET_ORIGINS = "Only publishable keys are for pages."
_FIELDS = frozenset({"kind", "name", "scopes", "streams", "allowed_ips", "origins", "expires_at"})


def read_new_key(body: bytes, maker: Principal, now_ms: int) -> CreateKey:
    """The body of POST /v1/keys. Raises Refused with every fault."""
    form = Form(body, _FIELDS)
    name = form.string("name", text_fault(NAME_CHARACTERS_MAX, least=1))
    written = form.string("kind", lambda text: None if text in KINDS else NO_KIND, required=False)
    kind = KINDS[written or "secret"]
    streams = _texts(form, "streams", lambda text: None if is_stream_name(text) else NO_STREAM)
    scopes = _texts(form, "scopes", _scope_fault(kind))
    allowed_ips = _texts(form, "allowed_ips", _network_fault)
    origins = _texts(form, "origins", lambda text: None if ORIGIN.fullmatch(text) else NO_ORIGIN)
    expires_ms = _expires_ms(form, now_ms)
    if kind is KeyKind.PUBLISHABLE and not streams and not _is_at_fault(form, "streams"):
        form.refuse("streams", STREAMS_NEEDED)
    if kind is KeyKind.SECRET and origins:
        form.refuse("origins", SECRET_ORIGINS)
    form.raise_faults()
    return CreateKey(
        name=name or "",
        environment=maker.environment,  # type: ignore[arg-type]
        key_kind=kind,
        streams=streams,
        scopes=scopes,
        allowed_ips=allowed_ips,
        origins=origins,
        expires_ms=expires_ms,
    )


def read_rotation(key_id: str, body: bytes) -> RotateKey:
    """The body of POST /v1/keys/{key}/rotate, which may be empty."""
    form = Form(body or b"{}", frozenset({"overlap_seconds"}))
    value = form.values.get("overlap_seconds")
    if value is None:
        value = OVERLAP_SECONDS_DEFAULT
    elif type(value) is not int:
        form.refuse("overlap_seconds", expected("a whole number of seconds", value))
    elif not 0 <= value <= OVERLAP_SECONDS_MAX:
        form.refuse("overlap_seconds", NO_OVERLAP)
    form.raise_faults()
    return RotateKey(id=key_id, overlap_seconds=value)


def _texts(form: Form, field: str, fault_of: Callable[[str], str | None]) -> list[str]:
    """An array of different texts that `fault_of` has nothing to say against; empty for null and for what is absent."""
    value = form.values.get(field)
    if value is None:
        return []
    if type(value) is not list:
        form.refuse(field, expected("an array of texts", value))
        return []
    if len(value) > ENTRIES_MAX:
        form.refuse(field, f"The array has {len(value)} entries; {ENTRIES_MAX} are allowed.")
        return []
    for index, entry in enumerate(value):
        fault = fault_of(entry) if type(entry) is str else expected("a text", entry)
        if fault is None and entry in value[:index]:
            fault = "The entry stands twice."
        if fault is not None:
            form.refuse(f"{field}[{index}]", fault)
    return value


def _expires_ms(form: Form, now_ms: int) -> int | None:
    text = form.string("expires_at", lambda text: NO_TIME if time_ms(text) is None else None, required=False)
    expires_ms = None if text is None else time_ms(text)
    if expires_ms is not None and expires_ms <= now_ms:
        form.refuse("expires_at", "The time is over already.")
    return expires_ms


def _scope_fault(kind: KeyKind) -> Callable[[str], str | None]:
    known = SCOPES_OF_KIND[kind]
    return lambda text: None if text in known else f"The scopes of such a key are {', '.join(sorted(known))}."


def _network_fault(text: str) -> str | None:
    try:
        read_network(text)
    except ValueError:
        return NO_NETWORK
    return None


def _is_at_fault(form: Form, field: str) -> bool:
    return any(fault.field.partition("[")[0] == field for fault in form.faults)
