"""Bodies that mint or rotate tokens: from a caller's JSON to a command's payload, all errors at once."""

from domain.security.principals import SCOPES_OF_KIND
from ingest_gateway.surfaces.shared.forms import NAME_CHARACTERS_MAX, Form, network_error, text_error
from ingest_gateway.surfaces.work.forms import NO_TIME
from schemas.commands.fields import OVERLAP_SECONDS_MAX
from schemas.commands.keys import CreateKey, RotateKey
from schemas.entities import KeyKind

ALLOWED_IPS_MAX = 100
SCOPES = SCOPES_OF_KIND[KeyKind.ACCESS_TOKEN]
NO_SCOPES = f"A token needs one scope or more, of {', '.join(sorted(SCOPES))}."
NO_SCOPE = f"The scopes are {', '.join(sorted(SCOPES))}."
NO_OVERLAP = f"The old token may hold for 0 to {OVERLAP_SECONDS_MAX} seconds more."


def read_new_token(body: bytes, environment: str, now_ms: int) -> CreateKey:
    """The body of POST /v1/tokens. Raises Refused with every error."""
    form = Form(body, frozenset({"name", "scopes", "allowedIps", "expiresAt"}))
    name = form.string("name", text_error(NAME_CHARACTERS_MAX, least=1))
    scopes = form.texts("scopes", len(SCOPES), lambda text: None if text in SCOPES else NO_SCOPE)
    if form.values.get("scopes") in (None, []):
        form.refuse("scopes", NO_SCOPES)
    allowed_ips = form.texts("allowedIps", ALLOWED_IPS_MAX, network_error)
    expires_ms = form.expiry_ms("expiresAt", NO_TIME, now_ms)
    form.raise_errors()
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
    overlap_seconds = form.overlap_seconds("overlapSeconds", NO_OVERLAP)
    form.raise_errors()
    return RotateKey(id=token_id, overlap_seconds=overlap_seconds)
