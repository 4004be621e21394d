"""Guardrails: what they find, what they cost, and how fast a flag is everywhere.

`python -m bench.guardrails [--planted 1000] [--parts cost,memory,detection] [--live]`. Planted loops, inflations and
bursts, and decoys, mixed into the trace (`--trace`, else a seeded one) go through the very decisions of the control
process, told as clients tell: each flushes what it has every 5 s, in its own order. Found and false ones are counted by
layer. Then the processor time of a call at the gateway and at the guardrails (RocksDB and changelog records included),
beside orjson reading the same bodies; and the memory of 100,000 organizations. `--live`: a whole installation; time
from a fourth identical call to its flag in another gateway's view and to 429 there, and the processes' processor time.
Results go to bench/results/guardrails.json.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

from bench.planted import IN_TRAFFIC, NOON_MS, ORGANIZATIONS, Planted, plant, the_trace
from domain.guardrails.decide import decide
from domain.guardrails.state import KEPT_SECONDS, GuardState
from domain.guardrails.values import GuardRequest
from domain.tables import MemoryTable
from ingest_gateway.surfaces.burn.forms import call_of, read_calls
from processors.runtime.table import TablePartition, TableSpec, TableView, shared_cache
from schemas.guardrail_policy import (
    BurnRate,
    Burst,
    Cap,
    DumbLoop,
    FinancialLimits,
    GuardrailPolicy,
    Layer,
    Mode,
    Period,
    PingPong,
    PremiumConcentration,
    RetryCascade,
    SmartLoop,
)
from schemas.records import Telemetry
from schemas.telemetry import CALLS_A_RECORD_MAX, ModelCall, ModelCalls, decode_payload, encode_payload

ROOT = Path(__file__).parents[1]
TRACE = ROOT.parent / "shared" / "data" / "azure-llm-trace-code.csv"
RESULTS = Path(__file__).parent / "results" / "guardrails.json"
BATCH = 500
FLUSH_MS = 5_000
SPAN_MS = 3_600_000
WARN = Mode.WARN
WATCHING = GuardrailPolicy(
    dumb_loop=DumbLoop(mode=WARN),
    smart_loop=SmartLoop(mode=WARN),
    burst=Burst(mode=WARN),
    premium_concentration=PremiumConcentration(mode=WARN),
    ping_pong=PingPong(mode=WARN),
    retry_cascade=RetryCascade(mode=WARN),
    burn_rate=BurnRate(mode=WARN),
)
"""The default thresholds, stopping nothing: a flag would hide what comes after it."""
CAPS = {Layer.FINANCIAL_LIMITS: 50.0, Layer.BURN_RATE: 100.0}
PRECISION_MIN = RECALL_MIN = 0.99
GATEWAY_GOAL, MEMORY_GOAL_MIB = 50_000, 500


class Guardrails:
    """As the control process has them, over tables in memory."""

    def __init__(self, policy: GuardrailPolicy | None) -> None:
        self._policy = policy
        self._tables = MemoryTable(), MemoryTable(), MemoryTable()
        self._offset = 0

    def tell(self, workspace: str, calls: Sequence[ModelCall], append_ms: int) -> list[tuple[Layer, str]]:
        """Who tripped which layer: the key of each."""
        self._offset += 1
        state = GuardState(*self._tables)
        record = Telemetry(id=str(self._offset), kind=ModelCalls.kind, workspace=workspace, payload=b"")
        effects = decide(
            state, GuardRequest(record, ModelCalls(calls=list(calls)), append_ms, self._offset), self._policy
        )
        state.save()
        return [(trip.layer, trip.key_id or workspace) for trip in effects.trips]


def told(guardrails: Guardrails, workspace: str, calls: Iterable[ModelCall], seed: int) -> Counter[tuple[Layer, str]]:
    """In records of 500. Each client (a key's) flushes every 5 s and takes up to 1 s for it; who tripped what."""
    chance = random.Random(f"delays {seed}")
    flushes: dict[tuple[str, int], int] = {}
    arriving: list[tuple[int, int, ModelCall]] = []
    for call in sorted(calls, key=lambda call: call.ts_ms):
        phase_ms = phase_of(call.key_id)
        flush = call.key_id, (call.ts_ms + phase_ms) // FLUSH_MS
        if flush not in flushes:
            flushes[flush] = (flush[1] + 1) * FLUSH_MS - phase_ms + chance.randrange(1_000)
        arriving.append((flushes[flush], len(arriving), call))
    arriving.sort()
    found: Counter[tuple[Layer, str]] = Counter()
    for some in records_of(arriving):
        found.update(guardrails.tell(workspace, [call for _, _, call in some], some[-1][0]))
    return found


def records_of(arriving: Sequence[tuple[int, int, ModelCall]]) -> Iterator[Sequence[tuple[int, int, ModelCall]]]:
    """What arrives within a second, 500 calls at most."""
    first = 0
    for n, (at_ms, _, _) in enumerate(arriving):
        if n - first == BATCH or at_ms - arriving[first][0] >= 1_000:
            yield arriving[first:n]
            first = n
    if arriving:
        yield arriving[first:]


def phase_of(key_id: str) -> int:
    """When in its 5 s a client flushes."""
    return sum(key_id.encode()) * 977 % FLUSH_MS


def detection(trace: list[ModelCall], count: int, seed: int) -> dict[str, Any]:
    in_traffic: list[Planted] = []
    for layer, make in IN_TRAFFIC.items():
        in_traffic += plant(layer, make, count, count // 5 if layer is Layer.BURST else count, seed, SPAN_MS)
    calls = [*trace, *(call for planted in in_traffic for call in planted.calls)]
    found = told(Guardrails(WATCHING), "ws_bench", calls, seed)
    rows = {layer: _row(layer, in_traffic, found) for layer in IN_TRAFFIC}
    for layer, make in ORGANIZATIONS.items():
        organizations = plant(layer, make, count, count, seed, SPAN_MS)
        alone: Counter[tuple[Layer, str]] = Counter()
        for planted in organizations:
            ordered = sorted(planted.calls, key=lambda call: call.ts_ms)
            guardrails = Guardrails(_capped(layer))
            for call in ordered:
                alone.update((tripped, planted.name) for tripped, _ in guardrails.tell("ws_bench", [call], call.ts_ms))
        rows[layer] = _row(layer, organizations, alone)
    return {"calls": len(calls), "layers": {str(layer): rows[layer] for layer in Layer}}


def _capped(layer: Layer) -> GuardrailPolicy:
    caps = [Cap(period=Period.DAY, hard_usd=CAPS[layer])] if layer in CAPS else []
    return GuardrailPolicy(
        financial_limits=FinancialLimits(mode=WARN, caps=caps),
        premium_concentration=PremiumConcentration(mode=WARN),
        burn_rate=BurnRate(mode=WARN),
    )


def _row(layer: Layer, planted: Sequence[Planted], found: Counter[tuple[Layer, str]]) -> dict[str, float]:
    real = {one.name for one in planted if one.layer is layer}
    named = {name for tripped, name in found if tripped is layer}
    right = len(real & named)
    return {
        "planted": len(real),
        "decoys": sum(one.layer is None and one.name.startswith(layer) for one in planted),
        "found": right,
        "false": len(named - real),
        "recall": right / len(real),
        "precision": right / len(named) if named else 1.0,
    }


# What it costs


class Discarded:
    """Changelog records that go nowhere: only what it takes to make them is paid."""

    def __init__(self) -> None:
        self.changelog_end: dict[str, int] = {}
        self.count = 0

    def produce(self, topic: str, value: bytes | None, **_more: object) -> None:
        self.count += 1
        self.changelog_end[topic] = self.count


class Worker:
    """The guardrails' agent without its broker: real tables, one partition of each."""

    def __init__(self, home: Path, cache: Any) -> None:
        self._partitions = {
            name: TablePartition(TableSpec(name, f"{name}-changelog", kept), home / name, cache)
            for name, kept in KEPT_SECONDS.items()
        }
        self._out = Discarded()
        self._offset = 0

    def handle(self, values: Sequence[tuple[bytes, int]]) -> int:
        """Records of one batch, with their append times; how many calls they had."""
        views = {name: TableView(partition, bytes(16)) for name, partition in self._partitions.items()}
        state, calls = GuardState(*views.values()), 0
        for value, append_ms in values:
            self._offset += 1
            record = Telemetry.decode(value)
            calls += decide(state, GuardRequest(record, decode_payload(record), append_ms, self._offset)).calls
        state.save()
        for view in views.values():
            view.publish(self._out, 0)  # type: ignore[arg-type]
            view.apply(self._out)  # type: ignore[arg-type]
        return calls

    def close(self) -> None:
        for partition in self._partitions.values():
            partition.close()


def cost(trace: list[ModelCall]) -> dict[str, float]:
    """Processor time of a call, in microseconds, in batches of 500."""
    bodies = [_body(trace[start : start + BATCH]) for start in range(0, len(trace) - BATCH + 1, BATCH)]
    whole = len(bodies) * BATCH
    began = time.process_time()
    for body in bodies:
        orjson.loads(body)
    bare_us = (time.process_time() - began) / whole * 1e6
    began = time.process_time()
    values = [_gateway(body) for body in bodies]
    gateway_us = (time.process_time() - began) / whole * 1e6
    appended = [(value, trace[(n + 1) * BATCH - 1].ts_ms) for n, value in enumerate(values)]
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        worker = Worker(Path(home), shared_cache())
        began = time.process_time()
        counted = sum(worker.handle([one]) for one in appended)
        guardrails_us = (time.process_time() - began) / counted * 1e6
        worker.close()
    return {"orjson_us": bare_us, "gateway_us": gateway_us, "guardrails_us": guardrails_us}


def _body(calls: Sequence[ModelCall]) -> bytes:
    events = [
        {
            "ts": f"2026-05-18T12:{n // 60 % 60:02d}:{n % 60:02d}.789Z",
            "provider": call.provider,
            "model": call.model,
            "endpoint": call.endpoint,
            "status": call.status,
            "tokens_in": call.tokens_in,
            "tokens_out": call.tokens_out,
            "cost_usd": 0.000421,
            "latency_ms": 612,
            "fingerprint": call.fingerprint,
            "stream": False,
        }
        for n, call in enumerate(calls)
    ]
    return json.dumps({"events": events}).encode()


def _gateway(body: bytes) -> bytes:
    """What the gateway does to a body, but for HTTP: read, check, price, encode."""
    fit, _ = read_calls(body)
    calls = [call for _, new in fit if (call := call_of(new, "key_1")) is not None]
    assert len(calls) <= CALLS_A_RECORD_MAX
    payload = encode_payload(ModelCalls(calls=calls))
    return Telemetry(id="tel_1", kind=ModelCalls.kind, workspace="ws_bench", payload=payload).encode()


def memory(organizations: int, fingerprints: int) -> dict[str, float]:
    """Resident, after each of so many organizations made so many calls; 8 partitions in one process."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        before = process.memory_info().rss
        cache = shared_cache()
        workers = [Worker(Path(home) / str(number), cache) for number in range(8)]
        for start in range(0, organizations, 800):
            batches: list[list[tuple[bytes, int]]] = [[] for _ in workers]
            for number in range(start, min(start + 800, organizations)):
                calls = [_one(number, n) for n in range(fingerprints)]
                payload = encode_payload(ModelCalls(calls=calls))
                record = Telemetry(id="t", kind=ModelCalls.kind, workspace=f"ws_{number:010d}", payload=payload)
                batches[number % 8].append((record.encode(), calls[-1].ts_ms))
            for worker, batch in zip(workers, batches, strict=True):
                worker.handle(batch)
        after = process.memory_info().rss
        for worker in workers:
            worker.close()
    return {"before_mib": before / 2**20, "after_mib": after / 2**20}


def _one(organization: int, number: int) -> ModelCall:
    fingerprint = f"sha256:{organization * 1_000 + number:064x}"
    return ModelCall(NOON_MS + number * 1_000, "openai", "gpt-4o-mini", 200, 142, 318, 421_000, fingerprint, "key_1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.guardrails", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--planted", type=int, default=1_000, help="of each layer (1000)")
    parser.add_argument("--organizations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--trace", type=Path, default=TRACE)
    parser.add_argument("--live", action="store_true", help="a whole installation too")
    parser.add_argument("--parts", default="cost,memory,detection", help="which of them (all); empty: none")
    asked = parser.parse_args()
    parts = {part for part in asked.parts.split(",") if part}
    path = asked.trace if asked.trace.exists() else None
    trace = the_trace(path, asked.seed)
    results: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seed": asked.seed}
    results["load_before"] = os.getloadavg()[0]
    which = "the trace" if path else "a seeded trace"
    print(f"traffic: {len(trace)} calls of {which}; load before {results['load_before']:.2f}", flush=True)
    if "cost" in parts:
        results["cost"] = cost(trace)
        show_cost(results["cost"])
    if "memory" in parts:
        results["memory"] = memory(asked.organizations, 10)
        show_memory(results["memory"], asked.organizations)
    if "detection" in parts:
        results["false_on_bare_trace"] = sum(told(Guardrails(None), "ws_bench", trace, asked.seed).values())
        print(f"false alarms on the bare trace, default policy: {results['false_on_bare_trace']}", flush=True)
        results["detection"] = detection(trace, asked.planted, asked.seed)
        show_detection(results["detection"]["layers"])
    if asked.live:
        from bench.guardrails_live import live

        results["live"] = live()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def show_detection(layers: dict[str, Any]) -> None:
    print(f"{'layer':<24}{'planted':>9}{'decoys':>9}{'found':>9}{'false':>9}{'recall':>9}{'precision':>11}")
    met = True
    for name, row in layers.items():
        numbers = "".join(f"{row[column]:>9}" for column in ("planted", "decoys", "found", "false"))
        print(f"{name:<24}{numbers}{row['recall']:>9.3f}{row['precision']:>11.3f}")
        met &= row["recall"] >= RECALL_MIN and row["precision"] >= PRECISION_MIN
    print(f"goal recall and precision ≥ 0.99: {'met' if met else 'missed'}", flush=True)


def show_cost(paid: dict[str, float]) -> None:
    for name in ("gateway_us", "guardrails_us"):
        rate = 1e6 / paid[name]
        times, goal = paid[name] / paid["orjson_us"], "met" if rate >= GATEWAY_GOAL else "missed"
        who = name.removesuffix("_us")
        print(f"{who:<12}{paid[name]:7.2f} µs a call, {rate:,.0f} a core, {times:.1f} × orjson (goal 50,000: {goal})")
    whole = paid["gateway_us"] + paid["guardrails_us"]
    print(f"{'together':<12}{whole:7.2f} µs a call, {1e6 / whole:,.0f} a core", flush=True)


def show_memory(found: dict[str, float], organizations: int) -> None:
    grown = found["after_mib"] - found["before_mib"]
    goal = "met" if found["after_mib"] <= MEMORY_GOAL_MIB else "missed"
    print(
        f"{organizations:,} organizations × 10 fingerprints: {found['after_mib']:.0f} MiB resident, "
        f"{grown:.0f} more than before (goal {MEMORY_GOAL_MIB}: {goal})",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
