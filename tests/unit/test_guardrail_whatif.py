"""A changed policy over what was: what it would have blocked and saved, by layer."""

from domain.guardrails.values import GuardRequest
from processors.guardrails.whatif import compare, rows_of, warm_up_ms
from schemas.guardrail_policy import Burst, Cap, DumbLoop, FinancialLimits, GuardrailPolicy, Mode, Period, nano
from schemas.telemetry import ModelCalls, Resume
from tests.support.guarded import NOON_MS, GuardedOrg, a_call

LOOP = "sha256:" + "b9c1" * 16
WARN_ONLY = GuardrailPolicy(dumb_loop=DumbLoop(mode=Mode.WARN))


def told(calls_at: list[float], usd: float = 1.0, fingerprint: str | None = LOOP) -> list[GuardRequest]:
    guarded = GuardedOrg()
    for at in calls_at:
        more = {} if fingerprint is None else {"fingerprint": fingerprint}
        guarded.calls([a_call(at, usd=usd, **more)])
    return guarded.log


def test_what_was_called_under_the_flag_would_have_been_saved() -> None:
    before, after = compare(
        told([float(n) for n in range(10)]), {"ws_4F9KQ2C7Z1": WARN_ONLY}, GuardrailPolicy(), NOON_MS
    )
    assert (before.blocked, before.saved_nano) == (0, 0)
    assert (after.calls, after.blocked, after.saved_nano) == (10, 6, nano(6))
    assert [(name, was.warnings, would.trips) for name, was, would in rows_of(before, after)] == [
        ("dumb_loop_detector", 1, 1)
    ]


def test_what_is_blocked_trips_nothing_else() -> None:
    new = GuardrailPolicy(ttl_seconds=30, burst=Burst(per_minute=5))
    _, after = compare(told([n / 10 for n in range(100)]), {}, new, NOON_MS)
    assert {name: layer.trips for name, layer in after.layers.items()} == {"dumb_loop_detector": 1}
    assert after.blocked == 96


def test_a_resume_as_it_was() -> None:
    guarded = GuardedOrg()
    guarded.one_by_one(a_call(n, fingerprint=LOOP) for n in range(6))
    guarded.report(Resume(reason="manual_resume"), 7)
    guarded.calls([a_call(8, fingerprint=LOOP)])
    _, after = compare(guarded.log, {}, GuardrailPolicy(), NOON_MS)
    assert (after.calls, after.blocked) == (7, 2)


def test_a_cap_knows_what_was_spent_before_the_span() -> None:
    log = told([-7_200.0, -3_600.0, 10.0, 20.0], usd=4, fingerprint=None)
    new = GuardrailPolicy(financial_limits=FinancialLimits(caps=[Cap(period=Period.MONTH, hard_usd=12)]))
    _, after = compare(log, {}, new, NOON_MS)
    assert (after.calls, after.blocked, after.layers["financial_limits"].trips) == (2, 1, 1)


def test_spend_is_counted_from_the_months_beginning() -> None:
    assert warm_up_ms(NOON_MS) == 1_777_593_600_000  # 2026-05-01T00:00:00Z


def test_the_records_are_left_as_they_are() -> None:
    log = told([0.0, 1.0, 2.0, 3.0, 4.0])
    compare(log, {}, GuardrailPolicy(), NOON_MS)
    assert all(isinstance(asked.payload, ModelCalls) and len(asked.payload.calls) == 1 for asked in log)
