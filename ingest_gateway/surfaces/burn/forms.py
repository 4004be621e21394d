"""Reads the model calls of `POST /api/ingest` and turns them into telemetry. Source: the AtlasBurn document, B-014.

Unknown members are ignored: clients of several versions report calls, and the spend of each must count.
"""

import msgspec

from domain.guardrails.prices import Cost, cost_of
from ingest_gateway.surfaces.burn.broken_text import mended
from ingest_gateway.surfaces.burn.new_calls import VERIFICATION_MODEL, NewCall
from ingest_gateway.surfaces.burn.published import is_published, project_of, read_published
from schemas.guardrail_policy import NANO_PER_USD
from schemas.telemetry import CallSource, ModelCall, Price, UsageFrom

CALLS_MAX = 10_000
BODY_BYTES_MAX = 5 * 1024 * 1024
BEFORE_1970 = "Must not be before 1970."


class NewCalls(msgspec.Struct):
    events: list[NewCall]


class _RawCalls(msgspec.Struct):
    events: list[msgspec.Raw]


class Rejected(msgspec.Struct, frozen=True, order=True):
    """Why one item does not count. `field` is empty where the whole item is wrong."""

    index: int
    field: str
    message: str


class UnreadableCalls(ValueError):
    """The body is not an event, `{"events": […]}` or an array; the message says where it goes wrong."""


_batch = msgspec.json.Decoder(NewCalls).decode
_list = msgspec.json.Decoder(list[NewCall]).decode
_one = msgspec.json.Decoder(NewCall).decode
_raw_batch = msgspec.json.Decoder(_RawCalls).decode
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_calls(body: bytes) -> tuple[list[tuple[int, NewCall]], list[Rejected]]:
    """The valid items with their indexes, and the rejected items. Raises UnreadableCalls."""
    try:
        return _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = mended(body)  # half a character in one item must not make the others unreadable
    try:
        return _read(body)
    except msgspec.DecodeError as error:
        raise UnreadableCalls(f"The body is not valid JSON: {error}.") from None


def _read(body: bytes) -> tuple[list[tuple[int, NewCall]], list[Rejected]]:
    """Raises UnreadableCalls, msgspec.DecodeError, UnicodeDecodeError."""
    try:
        body.decode()
        return list(enumerate(_all_at_once(body))), []
    except RecursionError:
        raise UnreadableCalls("The body is nested too deeply.") from None
    except msgspec.ValidationError:
        return _one_by_one(_items(body), body)


def _all_at_once(body: bytes) -> list[NewCall]:
    """Decodes a body whose items are all valid, as nearly all bodies are."""
    return _list(body) if body.lstrip()[:1] == b"[" else _batch(body).events


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        if body.lstrip()[:1] == b"[":
            return _raw_list(body)
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return _raw_batch(body).events if "events" in members else [msgspec.Raw(body)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableCalls(f'The body must be an event, {{"events": […]}} or an array of events: {error}.') from None


def _one_by_one(items: list[msgspec.Raw], body: bytes) -> tuple[list[tuple[int, NewCall]], list[Rejected]]:
    fit: list[tuple[int, NewCall]] = []
    rejected: list[Rejected] = []
    project = project_of(body)
    for index, item in enumerate(items):
        try:
            fit.append((index, read_published(item, project) if is_published(item) else _one(item)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message, _, path = str(error).partition(" - at `$")
            rejected.append(Rejected(index, path.rstrip("`").lstrip(".") or _named_in(message), message))
    return fit, rejected


def _named_in(message: str) -> str:
    """The field that a message of msgspec names: Object missing required field `ts`."""
    return message.rpartition("missing required field `")[2].rstrip("`") if "missing required" in message else ""


def _listed_cost(new: NewCall) -> Cost:
    """The call's cost by the price list. Where the item gives more one-hour cache writes than cache writes, all its
    cache writes are one-hour writes."""
    long = new.cache_write_1h_tokens or 0
    short = max(0, (new.cache_write_tokens or 0) - long)
    cached = new.cached_tokens or 0
    return cost_of(new.model, new.tokens_in, new.tokens_out, cached, written_tokens=short, written_long_tokens=long)


def call_of(new: NewCall, key_id: str, event_id: str = "", source: CallSource = CallSource.INGEST) -> ModelCall | None:
    """The telemetry of one call; None for a call before 1970. `key_id`, `event_id`: used where the item has none."""
    ts_ms = round(new.ts.timestamp() * 1_000)
    if ts_ms < 0:
        return None
    cached = new.cached_tokens or 0
    if new.model == VERIFICATION_MODEL:
        cost_nano, price = 0, Price.GIVEN  # a client that tests its connection spends nothing (B-075)
    elif new.cost_usd is not None:
        cost_nano, price = round(new.cost_usd * NANO_PER_USD), Price.GIVEN
    else:
        cost_nano, price = _listed_cost(new)
    return ModelCall(
        ts_ms,
        new.provider,
        new.model,
        new.status,
        new.tokens_in,
        new.tokens_out,
        cost_nano,
        new.fingerprint,
        new.key_id or key_id,
        new.endpoint or "",
        round(new.latency_ms or 0),
        new.stream or False,
        cached,
        new.event_id or event_id,
        new.session_id or "",
        new.project or "",
        new.user or "",
        new.retry_count or 0,
        new.trace_id or "",
        price,
        UsageFrom.ESTIMATED if new.estimated else UsageFrom.REPORTED,
        source,
    )
