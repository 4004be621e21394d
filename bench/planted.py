"""Loops, inflations and bursts to be found, and what only looks like them, mixed into real traffic. Seeded; pure.

The traffic is an hour of a production LLM service where its trace is at hand (TIMESTAMP, ContextTokens,
GeneratedTokens), else one drawn like it: no two requests the same, gaps and sizes scattered as there.
"""

import csv
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domain.guardrails.prices import cost_of
from schemas.guardrail_policy import Layer, nano
from schemas.telemetry import ModelCall

NOON_MS = 1_779_105_600_000
HOUR_MS = 3_600_000
CHEAP, DEAR = "gpt-4o-mini", "o1"
SYNTHETIC_CALLS = 8_800


@dataclass(frozen=True)
class Planted:
    """`layer` None: a decoy, in which nothing is to be found."""

    name: str
    layer: Layer | None
    calls: list[ModelCall]


def the_trace(path: Path | None, seed: int) -> list[ModelCall]:
    """One after the other, from noon on."""
    rows = _synthetic(seed) if path is None else _read(path)
    return [_call(at_ms, "service", tokens_in=i, tokens_out=o) for at_ms, i, o in rows]


def _read(path: Path) -> Iterator[tuple[int, int, int]]:
    with path.open(newline="") as file:
        first = None
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26])
            first = first or at
            after_ms = int((at - first).total_seconds() * 1_000)
            yield NOON_MS + after_ms, int(row["ContextTokens"]), int(row["GeneratedTokens"])


def _synthetic(seed: int) -> Iterator[tuple[int, int, int]]:
    chance = random.Random(f"trace {seed}")
    at_ms = float(NOON_MS)
    for _ in range(SYNTHETIC_CALLS):
        at_ms += chance.expovariate(SYNTHETIC_CALLS / HOUR_MS)
        yield (
            int(at_ms),
            min(7_500, int(chance.lognormvariate(7.2, 1.0))),
            min(1_000, int(chance.lognormvariate(2.6, 1))),
        )


_count = iter(range(1, 10**12))


def _call(
    at_ms: float,
    key_id: str,
    session_id: str = "",
    *,
    tokens_in: int = 500,
    tokens_out: int = 100,
    fingerprint: int = 0,
    retries: int = 0,
    usd: float | None = None,
    model: str = CHEAP,
) -> ModelCall:
    """Of its own fingerprint unless one is given."""
    cost_nano = cost_of(model, tokens_in, tokens_out).nano if usd is None else nano(usd)
    number = fingerprint or next(_count)
    return ModelCall(
        int(at_ms),
        "openai",
        model,
        200,
        tokens_in,
        tokens_out,
        cost_nano,
        f"sha256:{number:016x}{number:048x}",
        key_id,
        "/chat/completions",
        session_id=session_id,
        retry_count=retries,
    )


Maker = Callable[[random.Random, str, float, bool], list[ModelCall]]
"""(chance, name, when it begins, whether there is anything to find) → its calls."""


def _steps(chance: random.Random, begin_ms: float, count: int, low: float, high: float) -> list[float]:
    """Times with gaps of `low` to `high` seconds."""
    times = [begin_ms]
    while len(times) < count:
        times.append(times[-1] + chance.uniform(low, high) * 1_000)
    return times


def dumb_loop(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    same = chance.getrandbits(60) + 2**60
    if real:
        times = _steps(chance, begin_ms, chance.randrange(4, 13), 0.1, 19)
        return [_call(at, name, name, fingerprint=same) for at in times]
    times = _steps(chance, begin_ms, 12, 1, 12)
    return [_call(at, name, name, fingerprint=same if n % 4 else 0) for n, at in enumerate(times)]


def smart_loop(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    count, start = chance.randrange(9, 24), chance.randrange(400, 3_000)
    slope = start * chance.uniform(0.2, 1.5)
    times = _steps(chance, begin_ms, count, 1, 30)
    if real:
        tokens = [start + slope * n + chance.uniform(-0.04, 0.04) * slope for n in range(count)]
    elif chance.random() < 0.5:
        tokens = [start * chance.uniform(1, 6) for _ in range(count)]
    else:
        tokens = [start * (1 + n * 0.9 / count) for n in range(count)]  # along a line, but not to twice its beginning
    return [_call(at, name, name, tokens_in=int(size)) for at, size in zip(times, tokens, strict=True)]


def burst(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    """A rate above 600 a minute for two minutes and more, or as many at once; decoys stay below both."""
    if chance.random() < 0.5:
        span_ms = chance.uniform(1_000, 14_000)
        count = chance.randrange(610, 1_200) if real else chance.randrange(400, 590)
    else:
        span_ms = chance.uniform(130_000, 180_000)
        count = int(span_ms / 60_000 * (chance.uniform(660, 1_200) if real else chance.uniform(300, 540)))
    times = [begin_ms + chance.uniform(0, span_ms) for _ in range(count)]
    return [_call(at, name, tokens_in=chance.randrange(50, 5_000)) for at in times]


def ping_pong(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    pair = [chance.getrandbits(60) + 2**60 for _ in range(2)]
    count = 2 * chance.randrange(3, 7) if real else 12
    times = _steps(chance, begin_ms, count, 0.2, 20)
    calls = enumerate(times)
    return [_call(at, name, name, fingerprint=pair[n % 2] if real or n % 5 else 0) for n, at in calls]


def retry_cascade(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    times = _steps(chance, begin_ms, chance.randrange(5, 10) if real else 4, 0.5, 11)
    return [_call(at, name, name, retries=chance.randrange(2, 7)) for at in times]


def financial(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    """Under a cap of 50 USD a day."""
    total = chance.uniform(50.01, 80) if real else chance.uniform(20, 49.9)
    return [_call(at, name, usd=total / 20) for at in _steps(chance, begin_ms, 20, 10, 60)]


def premium(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    total, share = (
        (chance.uniform(24, 60), chance.uniform(0.94, 1))
        if real
        else (chance.uniform(8, 60), chance.uniform(0.3, 0.88))
    )
    times = _steps(chance, begin_ms, 40, 10, 60)
    dear = [_call(at, name, usd=total * share / 20, model=DEAR) for at in times[1::2]]
    return [*(_call(at, name, usd=total * (1 - share) / 20) for at in times[::2]), *dear]


def burn_rate(chance: random.Random, name: str, begin_ms: float, real: bool) -> list[ModelCall]:
    """Under a cap of 100 USD a day."""
    a_minute = chance.uniform(2.2, 4) if real else chance.uniform(0.05, 0.5)
    return [_call(begin_ms + n * 60_000, name, usd=a_minute) for n in range(40 if real else 60)]


IN_TRAFFIC: dict[Layer, Maker] = {
    Layer.DUMB_LOOP: dumb_loop,
    Layer.SMART_LOOP: smart_loop,
    Layer.BURST: burst,
    Layer.PING_PONG: ping_pong,
    Layer.RETRY_CASCADE: retry_cascade,
}
ORGANIZATIONS: dict[Layer, Maker] = {
    Layer.FINANCIAL_LIMITS: financial,
    Layer.PREMIUM_CONCENTRATION: premium,
    Layer.BURN_RATE: burn_rate,
}


def plant(layer: Layer, make: Maker, count: int, decoys: int, seed: int, span_ms: int) -> list[Planted]:
    """At random moments of the span from noon on."""
    chance = random.Random(f"{layer} {seed}")
    planted = []
    for number in range(count + decoys):
        real = number < count
        name = f"{layer}-{'real' if real else 'decoy'}-{number}"
        begin_ms = NOON_MS + chance.uniform(0, span_ms)
        planted.append(Planted(name, layer if real else None, make(chance, name, begin_ms, real)))
    return planted
