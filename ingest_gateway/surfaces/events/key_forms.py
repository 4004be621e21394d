"""Bodies that create or rotate keys: from a caller's JSON to a command's payload, all errors at once.

`principals.beyond` decides whether the caller may create such a key. Rows of docs/requirements.md: A-008, A-011, A-012.
"""

import re
from collections.abc import Callable

from domain.events.fields import NO_STREAM, is_stream_name
from domain.security.principals import SCOPES_OF_KIND, Principal
from ingest_gateway.surfaces.shared.forms import NAME_CHARACTERS_MAX, Form, network_error, text_error
from schemas.commands.fields import OVERLAP_SECONDS_MAX
from schemas.commands.keys import CreateKey, RotateKey
from schemas.entities import KeyKind

KINDS = {"secret": KeyKind.SECRET, "publishable": KeyKind.PUBLISHABLE}
ENTRIES_MAX = 100
ORIGIN = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]{2,45}\](?::[0-9]{1,5})?")

NO_KIND = "A key is secret or publishable."
NO_ORIGIN = "Expected an origin as browsers send it, such as https://shop.example.com."
NO_TIME = "Expected a time as RFC 3339 has it, with zone, such as 2027-01-31T00:00:00Z."
NO_OVERLAP = f"The old key may hold for 0 to {OVERLAP_SECONDS_MAX} seconds more."
STREAMS_NEEDED = "A publishable key must name the streams that it may send to."
SECRET_ORIGINS = "Only publishable keys are for pages."
_FIELDS = frozenset({"kind", "name", "scopes", "streams", "allowed_ips", "origins", "expires_at"})


def read_new_key(body: bytes, maker: Principal, now_ms: int) -> CreateKey:
    """The body of POST /v1/keys. Raises Refused with every error."""
    form = Form(body, _FIELDS)
    name = form.string("name", text_error(NAME_CHARACTERS_MAX, least=1))
    written = form.string("kind", lambda text: None if text in KINDS else NO_KIND, required=False)
    kind = KINDS[written or "secret"]
    streams = form.texts("streams", ENTRIES_MAX, lambda text: None if is_stream_name(text) else NO_STREAM)
    scopes = form.texts("scopes", ENTRIES_MAX, _scope_error(kind))
    allowed_ips = form.texts("allowed_ips", ENTRIES_MAX, network_error)
    origins = form.texts("origins", ENTRIES_MAX, lambda text: None if ORIGIN.fullmatch(text) else NO_ORIGIN)
    expires_ms = form.expiry_ms("expires_at", NO_TIME, now_ms)
    if kind is KeyKind.PUBLISHABLE and not streams and not _has_error(form, "streams"):
        form.refuse("streams", STREAMS_NEEDED)
    if kind is KeyKind.SECRET and origins:
        form.refuse("origins", SECRET_ORIGINS)
    form.raise_errors()
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
    overlap_seconds = form.overlap_seconds("overlap_seconds", NO_OVERLAP)
    form.raise_errors()
    return RotateKey(id=key_id, overlap_seconds=overlap_seconds)


def _scope_error(kind: KeyKind) -> Callable[[str], str | None]:
    known = SCOPES_OF_KIND[kind]
    return lambda text: None if text in known else f"The scopes of such a key are {', '.join(sorted(known))}."


def _has_error(form: Form, field: str) -> bool:
    return any(error.field.partition("[")[0] == field for error in form.errors)
