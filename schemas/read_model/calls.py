"""Model calls, as they were reported to the burn surface."""

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Index, Table, Text

from schemas.read_model.tables import Rules, metadata

CALLS_KEPT_DAYS = 100
"""As long as the topic `burn.telemetry` keeps its records."""


class CallRow(NamedTuple):
    """One model call (schemas.telemetry.ModelCall): what it cost, whose it was, how it went.

    `id`: the caller's own `event_id` (of a proxied call `edge:` and its request id); without one the telemetry record's
    id and the call's index in it. A call that was reported again is one row, as it was reported first. `model`: the
    requested one if it is known, otherwise the one that answered. `at_ms`: when it was made, as the caller says.
    `cost_nano`: billionths of a US dollar.
    """

    workspace: str
    id: str
    log_offset: int
    at_ms: int
    provider: str
    model: str
    endpoint: str
    status: int
    latency_ms: int
    streamed: int
    tokens_in: int
    tokens_out: int
    cached_tokens: int
    usage: int  # schemas.telemetry.UsageFrom
    cost_nano: int
    price: int  # schemas.telemetry.Price
    source: int  # schemas.telemetry.CallSource
    key_id: str
    project: str
    user_id: str
    session_id: str
    trace_id: str
    fingerprint: str
    retry_count: int


_NUMBERS = frozenset(name for name, kind in CallRow.__annotations__.items() if kind is int)

model_calls = Table(
    "model_calls",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    *(Column(name, BigInteger if name in _NUMBERS else Text, nullable=False) for name in CallRow._fields[2:]),
    Index("ix_model_calls_order", "workspace", "at_ms"),
    Index("ix_model_calls_at", "at_ms"),
    info={"rules": Rules(time="at_ms", kept_days=CALLS_KEPT_DAYS)},
    sqlite_with_rowid=False,
)
