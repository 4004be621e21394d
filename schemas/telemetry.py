"""The records on `burn.telemetry`: model calls, and all other changes of an organization's guardrail state.

The record is `Telemetry` (schemas/avro), its key the workspace, so an organization's records have one order; whoever
waits for the verdict is named in the header `atlas-reply`. The payload is MessagePack of one of the forms here. One
record holds many calls: what is done once a record then costs a call next to nothing.

A verdict's outcome is `done` or `refused`; its body, JSON: to calls, enforce and resume a `Standing`, to reserve and
settle a `Budget`, to policy the policy, to ask an `Account`; to what is refused a `RefusalBody`
(schemas/commands/answers.py).
"""

from enum import IntEnum
from typing import ClassVar, Literal

import msgspec

from schemas.codec import Undecodable
from schemas.entities import KillFlag
from schemas.guardrail_policy import GuardrailPolicy, Layer, Scope
from schemas.records import Telemetry

CALLS_A_RECORD_MAX = 1_000
LATENESS_MS = 120_000
"""The watermark is this much behind a record's append time. A call that is older is late: it costs in the period it was
made in, and the layers look at it among other late ones, by their own times."""
RESERVED_SECONDS_DEFAULT, RESERVED_SECONDS_MAX = 600, 3_600


class Price(IntEnum):
    """Where a call's cost comes from."""

    GIVEN = 0  # the caller said it
    LISTED = 1  # domain/guardrails/prices.yaml
    FALLBACK = 2  # the model has no price there; the list's fallback, which is conservative (B-058)


class UsageFrom(IntEnum):
    """Where a call's tokens come from."""

    REPORTED = 0
    ESTIMATED = 1  # from the length of texts (B-059, B-073)
    UNKNOWN = 2  # nobody said; the numbers are 0 and mean nothing


class CallSource(IntEnum):
    INGEST = 0
    EDGE = 1
    OTLP = 2


class ModelCall(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One call of a model, priced. Written as an array: fields are only ever added at the end.

    `ts_ms`: when it was made, as the caller says. `cost_nano`: billionths of a US dollar. `key_id`: whose calls the
    layers take together (the caller's own name for it, else the AtlasBurn key's id). `model`: what was asked for, where
    that is known; `answered_model`: what answered, where it is another name (an alias, a router); caps see both.
    """

    ts_ms: int
    provider: str
    model: str
    status: int
    tokens_in: int
    tokens_out: int
    cost_nano: int
    fingerprint: str
    key_id: str
    endpoint: str = ""
    latency_ms: int = 0
    stream: bool = False
    cached_tokens: int = 0
    event_id: str = ""
    session_id: str = ""
    project: str = ""
    user: str = ""
    retry_count: int = 0
    trace_id: str = ""
    price: int = Price.GIVEN
    usage: int = UsageFrom.REPORTED
    source: int = CallSource.INGEST
    answered_model: str = ""


class TelemetryForm(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the payloads."""

    kind: ClassVar[str]


class ModelCalls(TelemetryForm, frozen=True, kw_only=True):
    """At most CALLS_A_RECORD_MAX of them."""

    kind: ClassVar[str] = "calls"
    calls: list[ModelCall]


class Enforce(TelemetryForm, frozen=True, kw_only=True):
    """Suspends. `ttl_seconds` None: the policy's; 0: until somebody resumes."""

    kind: ClassVar[str] = "enforce"
    layer: str
    reason: str
    ttl_seconds: int | None = None
    scope: Scope = Scope.ORG
    scope_id: str = ""


class Resume(TelemetryForm, frozen=True, kw_only=True):
    """Clears the flag, if there is one, and resets the windows of the layer that set it. Without a scope: all flags."""

    kind: ClassVar[str] = "resume"
    reason: str
    scope: Scope | None = None
    scope_id: str = ""


class SetPolicy(TelemetryForm, frozen=True, kw_only=True):
    kind: ClassVar[str] = "policy"
    policy: GuardrailPolicy


class Reserve(TelemetryForm, frozen=True, kw_only=True):
    """Sets a call's worst cost aside under every hard cap that counts it, or is refused (429 `budget_exceeded`).

    A reservation that is never settled lapses by the log's time. The same id again: the same answer.
    """

    kind: ClassVar[str] = "reserve"
    id: str
    cost_nano: int
    ttl_seconds: int = RESERVED_SECONDS_DEFAULT
    key_id: str = ""
    project: str = ""
    model: str = ""
    user: str = ""


class Settle(TelemetryForm, frozen=True, kw_only=True):
    """Ends a reservation and counts its call in one step; None: no call was made."""

    kind: ClassVar[str] = "settle"
    id: str
    call: ModelCall | None = None


class Ask(TelemetryForm, frozen=True, kw_only=True):
    """Changes nothing; the verdict holds the organization's status. `days`: how much of its spend, up to 100."""

    kind: ClassVar[str] = "ask"
    days: int = 1


TelemetryPayload = ModelCalls | Enforce | Resume | SetPolicy | Reserve | Settle | Ask
FORMS: dict[str, type[TelemetryForm]] = {
    form.kind: form for form in (ModelCalls, Enforce, Resume, SetPolicy, Reserve, Settle, Ask)
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`tripped`: the layers that tripped on this very record."""

    state: Literal["ok", "suspended"]
    flag: KillFlag | None = None
    tripped: list[Layer] = []
    duplicates: int = 0


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """`left_nano`: under the tightest cap that counts the call, after it; None: no hard cap does."""

    id: str
    left_nano: int | None = None
    expires_ms: int = 0


class CapUse(msgspec.Struct, frozen=True, kw_only=True):
    """A cap's use in its current period. `warned_percent`: 50, 80 or 100 where that warning was sent."""

    cap: str
    scope: Scope
    id: str
    spent_nano: int
    reserved_nano: int
    soft_nano: int | None
    hard_nano: int | None
    warned_percent: int = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An organization's status. `days_nano`: spend by day (since the epoch, UTC), only days with any."""

    at_ms: int
    standing: Standing
    flags: list[KillFlag] = []
    caps: list[CapUse] = []
    hour_nano: int = 0
    day_nano: int = 0
    month_nano: int = 0
    reservations: int = 0
    reserved_nano: int = 0
    days_nano: dict[int, int] = {}
    minutes_nano: list[int] = []
    """Of the last hour, the newest last."""


_encode = msgspec.msgpack.Encoder().encode
_DECODERS = {kind: msgspec.msgpack.Decoder(form) for kind, form in FORMS.items()}


def encode_payload(payload: TelemetryForm) -> bytes:
    return _encode(payload)


def decode_payload(record: Telemetry) -> TelemetryPayload:
    """Raises Undecodable for an unknown kind and for a payload that is not of its form."""
    decoder = _DECODERS.get(record.kind)
    if decoder is None:
        raise Undecodable(f"unknown kind of telemetry: {record.kind[:64]!r}")
    try:
        return decoder.decode(record.payload)  # type: ignore[return-value]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the payload is not of the form {record.kind}: {error}") from error


def telemetry_key(workspace: str) -> bytes:
    """The record's key: partition = murmur2 of it."""
    return workspace.encode()
