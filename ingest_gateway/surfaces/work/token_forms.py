"""Bodies that mint or rotate tokens: from a stranger's JSON to a command's payload, all faults at once. Pure."""

from collections.abc import Callable

from ingest_gateway.identity.principals import SCOPES_OF_KIND
from ingest_gateway.surfaces.events.entity_forms import NAME_CHARACTERS_MAX, Form, expected, text_fault
from ingest_gateway.surfaces.work.forms import NO_TIME, TWICE
from schemas.commands import OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX, CreateKey, RotateKey
from schemas.entities import KeyKind
from schemas.event_fields import time_ms
from schemas.networks import read_network

ALLOWED_IPS_MAX = 100
SCOPES = SCOPES_OF_KIND[KeyKind.ACCESS_TOKEN]
NO_SCOPES = f"A token needs one scope or more, of {', '.join(sorted(SCOPES))}."
NO_SCOPE = f"The scopes are {', '.join(sorted(SCOPES))}."
NO_NETWORK = "Expected an address or a network in CIDR form, such as 203.0.113.0/24, without bits beyond its prefix."
NO_OVERLAP = f"The old token may hold for 0 to {OVERLAP_SECONDS_MAX} seconds more."


def read_new_token(body: bytes, environment: str, now_ms: int) -> CreateKey:
    """The body of POST /v1/tokens. Raises Refused with every fault."""
    form = Form(body, frozenset({"name", "scopes", "allowedIps", "expiresAt"}))
    name = form.string("name", text_fault(NAME_CHARACTERS_MAX, least=1))
    scopes = _texts(form, "scopes", len(SCOPES), lambda text: None if text in SCOPES else NO_SCOPE)
    if form.values.get("scopes") in (None, []):
        form.refuse("scopes", NO_SCOPES)
    allowed_ips = _texts(form, "allowedIps", ALLOWED_IPS_MAX, _network_fault)
    expires_at = form.string("expiresAt", lambda text: None if time_ms(text) is not None else NO_TIME, required=False)
    expires_ms = None if expires_at is None else time_ms(expires_at)
    if expires_ms is not None and expires_ms <= now_ms:
        form.refuse("expiresAt", "The time is over already.")
    form.raise_faults()
    return CreateKey(
        name=name or "",
        environment=environment,  # type: ignore[arg-type]
        key_kind=KeyKind.ACCESS_TOKEN,
        scopes=scopes,
        allowed_ips=allowed_ips,
        expires_ms=expires_ms,
    )


def read_rotation(token_id: str, body: bytes) -> RotateKey:
    """The body of POST /v1/tokens/{token}/rotate, which may be empty."""
    form = Form(body or b"{}", frozenset({"overlapSeconds"}))
    value = form.values.get("overlapSeconds")
    if value is None:
        value = OVERLAP_SECONDS_DEFAULT
    elif type(value) is not int:
        form.refuse("overlapSeconds", expected("a whole number of seconds", value))
    elif not 0 <= value <= OVERLAP_SECONDS_MAX:
        form.refuse("overlapSeconds", NO_OVERLAP)
    form.raise_faults()
    return RotateKey(id=token_id, overlap_seconds=value)


def _texts(form: Form, field: str, most: int, fault_of: Callable[[str], str | None]) -> list[str]:
    """An array of different texts; empty for null and for what is absent."""
    value = form.values.get(field)
    if value is None:
        return []
    if type(value) is not list:
        form.refuse(field, expected("an array of texts", value))
        return []
    if len(value) > most:
        form.refuse(field, f"The array has {len(value)} entries; {most} are allowed.")
        return []
    for index, entry in enumerate(value):
        fault = fault_of(entry) if type(entry) is str else expected("a text", entry)
        if fault is None and entry in value[:index]:
            fault = TWICE
        if fault is not None:
            form.refuse(f"{field}[{index}]", fault)
    return value


def _network_fault(text: str) -> str | None:
    try:
        read_network(text)
    except ValueError:
        return NO_NETWORK
    return None
