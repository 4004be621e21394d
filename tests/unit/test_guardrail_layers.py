"""Each layer as a table: what was seen, and whether it trips."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.guardrails.counting import number_of
from domain.guardrails.layers import (
    burn_rate,
    burst,
    dumb_loop,
    ping_pong,
    premium_concentration,
    retry_cascade,
    smart_loop,
)
from domain.guardrails.layers.found import Seen, short
from schemas.guardrail_policy import (
    BurnRate,
    Burst,
    DumbLoop,
    PingPong,
    PremiumConcentration,
    RetryCascade,
    SmartLoop,
    nano,
)

FULL = "sha256:" + "b9c1" * 16
A, B, C = 1, 2, 3


def seen(
    fingerprints: Sequence[int], every_ms: int = 1_000, tokens: Sequence[int] = (), retries: int = 0
) -> list[Seen]:
    filled = tokens or [100] * len(fingerprints)
    return [(1_000 + i * every_ms, f, t, retries) for i, (f, t) in enumerate(zip(fingerprints, filled, strict=True))]


# (fingerprints, ms between, which is new, forgiven up to, trips)
@pytest.mark.requirement("B-023", "B-034", "X-48")
@pytest.mark.parametrize(
    ("fingerprints", "every_ms", "at", "since_ms", "trips"),
    [
        ([A, A, A, A], 1_000, 3, 0, True),
        ([A, A, A], 1_000, 2, 0, False),
        ([A, A, A, A], 20_000, 3, 0, True),  # 60 s from the first to the fourth
        ([A, A, A, A], 20_001, 3, 0, False),
        ([A, A, B, A, A], 1_000, 4, 0, False),
        ([B, A, A, A, A], 1_000, 4, 0, True),
        ([A, A, A, A, B], 1_000, 2, 0, True),  # late: it stands before others
        ([A, A, A, A, B], 1_000, 4, 0, False),
        ([A, A, A, A, A], 25_000, 4, 0, False),
        ([A, A, A, A], 1_000, 3, 2_000, False),  # resumed after the second
        ([A, A, A, A, A, A], 1_000, 5, 2_000, True),
    ],
)
def test_dumb_loop(fingerprints: list[int], every_ms: int, at: int, since_ms: int, trips: bool) -> None:
    found = dumb_loop.check(seen(fingerprints, every_ms), at, FULL, DumbLoop(), since_ms)
    assert (found is not None) is trips
    if found is not None:
        assert found.reason == "fingerprint sha256:b9c1... seen 4 times in 60s"
        assert len(found.calls) == 4


def test_the_documents_own_short_fingerprint_is_named_as_it_is() -> None:
    assert short("sha256:b9c1...") == "sha256:b9c1..."


@given(st.lists(st.tuples(st.integers(0, 30_000), st.sampled_from([A, B])), min_size=1, max_size=32))
def test_dumb_loop_is_four_in_a_row_within_a_minute_whatever_the_calls(gaps: list[tuple[int, int]]) -> None:
    calls, now = [], 0
    for gap, fingerprint in gaps:
        now += gap
        calls.append((now, fingerprint, 1, 0))
    at = len(calls) - 1
    newest = calls[-4:]
    wanted = len(newest) == 4 and len({c[1] for c in newest}) == 1 and newest[-1][0] - newest[0][0] <= 60_000
    assert (dumb_loop.check(calls, at, "f", DumbLoop(), -1) is not None) is wanted


LINE = [1_000 + 500 * n for n in range(12)]


@pytest.mark.requirement("B-036")
@pytest.mark.parametrize(
    ("tokens", "trips"),
    [
        (LINE[:8], True),
        (LINE[:7], False),
        ([t + (n % 3) * 40 for n, t in enumerate(LINE[:8])], True),  # nearly a line
        ([1_000, 1_010, 1_020, 1_030, 1_040, 1_050, 1_060, 1_070], False),  # a line, but not twice the first
        ([100 * 2**n for n in range(10)], False),  # grows, but along no line
        ([*LINE[:4], 900, *LINE[4:8]], False),  # fell once
        ([5_000, 200, *LINE[:8]], True),  # began anew and grew
        ([1_000] * 9, False),
        ([1_000, 50_000, *(50_000 + 20_000 * n for n in range(1, 8))], True),  # its last eight lie on a line
    ],
)
def test_smart_loop(tokens: list[int], trips: bool) -> None:
    calls = seen([A] * len(tokens), tokens=tokens)
    assert (smart_loop.check(calls, len(calls) - 1, SmartLoop(), 0) is not None) is trips


@given(st.integers(1, 10_000), st.integers(1, 2_000), st.integers(2, 32))
def test_a_perfect_line_fits_perfectly(start: int, slope: int, count: int) -> None:
    assert smart_loop.fit_of([start + slope * n for n in range(count)]) == pytest.approx(1.0)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=32))
def test_a_fit_is_a_share(values: list[int]) -> None:
    assert -1e-9 <= smart_loop.fit_of(values) <= 1 + 1e-9


@pytest.mark.requirement("B-037", "X-52")
@pytest.mark.parametrize(
    ("steps", "per_minute", "since_ms", "trips"),
    [
        ({0: 600}, 600, -1, False),
        ({0: 601}, 600, -1, True),  # a flood
        (dict.fromkeys(range(4), 150), 600, -1, False),
        (dict.fromkeys(range(4), 151), 600, -1, True),
        (dict.fromkeys(range(12), 60), 600, -1, False),  # one busy minute
        (dict.fromkeys(range(24), 50), 600, -1, False),
        (dict.fromkeys(range(24), 51), 600, -1, True),  # sustained
        (dict.fromkeys(range(48), 50), 600, -1, False),
        ({0: 590, 12: 590}, 600, -1, False),
        ({0: 590, 12: 590, 23: 30}, 600, -1, True),
        ({0: 590, 12: 590, 24: 30}, 600, -1, False),
        ({0: 601}, 600, 4_000, False),  # resumed meanwhile
        ({0: 11}, 10, -1, True),
    ],
)
def test_burst(steps: dict[int, int], per_minute: int, since_ms: int, trips: bool) -> None:
    assert (burst.check(steps, Burst(per_minute=per_minute), since_ms) is not None) is trips


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 30), max_size=40), st.integers(1, 30))
def test_the_busiest_span_of_steps(steps: dict[int, int], width: int) -> None:
    wanted = max((sum(n for s, n in steps.items() if end - width < s <= end) for end in steps), default=0)
    assert burst.busiest(dict(sorted(steps.items())), width) == wanted


MINUTE_MS = 60_000


@pytest.mark.requirement("B-038")
@pytest.mark.parametrize(
    ("minutes", "trips"),
    [
        ({100: (nano(20), nano(20))}, True),
        ({100: (nano(19.9), nano(19.9))}, False),  # too little to matter
        ({100: (nano(25), nano(22.5))}, False),  # nine tenths are allowed
        ({100: (nano(25), nano(22.6))}, True),
        ({41: (nano(30), nano(30))}, True),  # within the hour
        ({40: (nano(30), nano(30))}, False),  # before it
        ({90: (nano(15), nano(15)), 99: (nano(6), nano(6))}, True),
        ({}, False),
    ],
)
def test_premium_concentration(minutes: dict[int, tuple[int, int]], trips: bool) -> None:
    found = premium_concentration.check(minutes, 100 * MINUTE_MS + 5, PremiumConcentration(), 0)
    assert (found is not None) is trips


@pytest.mark.parametrize(
    ("fingerprints", "every_ms", "at", "trips"),
    [
        ([A, B, A, B, A, B], 1_000, 5, True),
        ([A, B, A, B, A], 1_000, 4, False),
        ([C, A, B, A, B, A, B], 1_000, 6, True),
        ([A, B, A, B, C, B], 1_000, 5, False),
        ([A, A, A, A, A, A], 1_000, 5, False),  # layer 2's
        ([A, B, C, A, B, C], 1_000, 5, False),
        ([A, B, A, B, A, B], 24_000, 5, True),
        ([A, B, A, B, A, B], 24_001, 5, False),
        ([A, B, A, B, A, B, C], 1_000, 2, True),  # late
    ],
)
def test_ping_pong(fingerprints: list[int], every_ms: int, at: int, trips: bool) -> None:
    assert (ping_pong.check(seen(fingerprints, every_ms), at, PingPong(), 0) is not None) is trips


@pytest.mark.requirement("B-061")
@pytest.mark.parametrize(
    ("count", "retries", "every_ms", "trips"),
    [(5, 2, 1_000, True), (4, 9, 1_000, False), (5, 1, 1_000, False), (5, 2, 15_000, True), (5, 2, 15_001, False)],
)
def test_retry_cascade(count: int, retries: int, every_ms: int, trips: bool) -> None:
    calls = seen(list(range(count)), every_ms, retries=retries)
    assert (retry_cascade.check(calls, count - 1, RetryCascade(), 0) is not None) is trips


@pytest.mark.parametrize(
    ("minutes", "day_usd", "cap_usd", "trips"),
    [
        (dict.fromkeys(range(91, 101), 1.0), 40.1, 60, True),  # 10 USD in 15 minutes: 30 minutes for the last 20
        (dict.fromkeys(range(91, 101), 1.0), 39, 60, False),
        ({100: 10.0}, 40, 60, False),  # one minute is no pace
        (dict.fromkeys(range(91, 101), 1.0), 60, 60, False),  # passed already: layer 1's
        (dict.fromkeys(range(40, 80), 1.0), 40, 60, False),  # long ago
    ],
)
def test_burn_rate(minutes: dict[int, float], day_usd: float, cap_usd: float, trips: bool) -> None:
    spent = {minute: (nano(usd), 0) for minute, usd in minutes.items()}
    found = burn_rate.check(spent, nano(day_usd), nano(cap_usd), 100 * MINUTE_MS, BurnRate(), 0)
    assert (found is not None) is trips


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (FULL, FULL, True),
        (FULL, "sha256:" + "b9c2" * 16, False),
        ("sha256:b9c1...", "sha256:b9c1...", True),
        ("sha256:b9c1...", "sha256:b9c2...", False),
        ("sha256:" + "zz" * 32, "sha256:" + "zy" * 32, False),
        ("", "x", False),
    ],
)
def test_fingerprints_are_told_apart_by_64_bits(one: str, other: str, same: bool) -> None:
    assert (number_of(one) == number_of(other)) is same
    assert 0 <= number_of(one) < 2**64
