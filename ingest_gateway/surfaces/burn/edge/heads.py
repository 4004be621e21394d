"""Which headers are forwarded: hop-by-hop headers are not (RFC 9110, 7.6.1), nor Atlas's own, nor those of proxies.

The caller's provider credential (`Authorization`, `x-api-key`, `x-goog-api-key`, `?key=`) is forwarded unchanged,
and neither logged nor stored (B-045, B-056, L4). The proxy asks for answers without a content coding, since it reads
their usage.

aiohttp reads header values as UTF-8 and keeps other bytes as lone surrogates, which neither its writer nor MessagePack
writes: its C writer leaves them out silently (aiohttp 3.14, `_http_writer.pyx`). So a value for a provider must be
UTF-8, or the call is refused (`unsendable`). A value that is only recorded, or comes from a provider, is read as
Latin-1 if it is not UTF-8 (`text_of`). Pure.
"""

from collections.abc import Iterable, Mapping

from multidict import CIMultiDict

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
    }
)
_OURS = frozenset({"host", "content-length", "expect", "accept-encoding", "cookie", "forwarded", "via", "x-real-ip"})
_NOT_SENT = HOP_BY_HOP | _OURS
_NOT_RETURNED = HOP_BY_HOP | {"content-length"}
_OUR_PREFIXES = ("atlasburn-", "x-atlasburn-", "x-forwarded-")


def request_headers(received: Iterable[tuple[str, str]], connection: Iterable[str]) -> CIMultiDict[str]:
    """The headers for the provider. `connection`: the values of `Connection`; those it names are not forwarded."""
    named = _named(connection)
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in received:
        lower = name.lower()
        if lower not in _NOT_SENT and lower not in named and not lower.startswith(_OUR_PREFIXES):
            kept.add(name, value)
    kept["Accept-Encoding"] = "identity"
    return kept


def answer_headers(received: Iterable[tuple[str, str]], connection: Iterable[str]) -> CIMultiDict[str]:
    """The provider's headers for the caller. Only Atlas may send `x-atlasburn-…` (L6)."""
    named = _named(connection)
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in received:
        lower = name.lower()
        if lower not in _NOT_RETURNED and lower not in named and not lower.startswith("x-atlasburn-"):
            kept.add(name, text_of(value))
    return kept


def text_of(value: str) -> str:
    """A header's value as text without surrogates: its bytes as UTF-8 if they are valid, otherwise as Latin-1."""
    if value.isascii() or _is_utf8(value):
        return value
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def unsendable(headers: CIMultiDict[str]) -> str | None:
    """The name of a header whose value is not UTF-8; None if all can be sent unchanged."""
    return next((name for name, value in headers.items() if not (value.isascii() or _is_utf8(value))), None)


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(connection: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for value in connection for name in value.split(","))


def labels(headers: Mapping[str, str]) -> dict[str, str]:
    """What the caller adds to the call's telemetry by `AtlasBurn-…` headers; the SDKs count their retries."""
    found = {field: text_of(headers[name])[:LABEL_CHARACTERS_MAX] for name, field in _LABELS.items() if name in headers}
    if "trace_id" not in found and (parent := text_of(headers.get("traceparent", "")).split("-"))[1:2]:
        found["trace_id"] = parent[1][:LABEL_CHARACTERS_MAX]
    return found


LABEL_CHARACTERS_MAX = 128
_LABELS = {
    "AtlasBurn-Session-Id": "session_id",
    "AtlasBurn-Project": "project",
    "AtlasBurn-User": "user",
    "AtlasBurn-Trace-Id": "trace_id",
}


def retry_count(headers: Mapping[str, str]) -> int | None:
    """`AtlasBurn-Retry-Count`, or the OpenAI and Anthropic SDKs' own count (B-061); None without either."""
    written = headers.get("AtlasBurn-Retry-Count") or headers.get("x-stainless-retry-count") or ""
    return int(written) if written.isascii() and written.isdigit() and len(written) <= 4 else None
