"""One organization's guardrails over tables in memory: what is told is decided at once, by the log's time given."""

from collections.abc import Iterable
from typing import Any

import msgspec

from domain.guardrails.decide import decide
from domain.guardrails.state import GuardState
from domain.guardrails.values import GuardEffects, GuardRequest
from domain.tables import MemoryTable
from schemas.guardrail_policy import GuardrailPolicy, nano
from schemas.records import Telemetry
from schemas.replies import ReplyTo
from schemas.telemetry import (
    Account,
    Ask,
    Budget,
    ModelCall,
    ModelCalls,
    SetPolicy,
    Standing,
    TelemetryForm,
    encode_payload,
)

NOON_MS = 1_779_105_600_000  # 2026-05-18T12:00:00Z, a Monday
REPLY = ReplyTo(3, bytes(16))


def a_call(at_seconds: float = 0.0, usd: float = 0.001, **changes: Any) -> ModelCall:
    """At so many seconds after noon."""
    fields: dict[str, Any] = {
        "ts_ms": NOON_MS + round(at_seconds * 1_000),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "status": 200,
        "tokens_in": 142,
        "tokens_out": 318,
        "cost_nano": nano(usd),
        "fingerprint": f"sha256:{at_seconds}",
        "key_id": "key_1",
    }
    return ModelCall(**(fields | changes))


class GuardedOrg:
    def __init__(self, policy: GuardrailPolicy | None = None, workspace: str = "ws_4F9KQ2C7Z1") -> None:
        self.workspace = workspace
        self.tables = MemoryTable(), MemoryTable(), MemoryTable()
        self.offset = -1
        self.log: list[GuardRequest] = []
        if policy is not None:
            self.report(SetPolicy(policy=policy), at_seconds=-1_000)

    def report(self, form: TelemetryForm, at_seconds: float = 0.0) -> GuardEffects:
        """A record appended at so many seconds after noon."""
        self.offset += 1
        payload = encode_payload(form)
        record = Telemetry(id=f"tel_{self.offset}", kind=form.kind, workspace=self.workspace, payload=payload)
        asked = GuardRequest(record, form, NOON_MS + round(at_seconds * 1_000), self.offset, REPLY)  # type: ignore[arg-type]
        self.log.append(asked)
        return self.decide(asked)

    def decide(self, asked: GuardRequest) -> GuardEffects:
        state = GuardState(*self.tables)
        effects = decide(state, asked)
        state.save()
        return effects

    def calls(self, calls: Iterable[ModelCall], at_seconds: float | None = None) -> GuardEffects:
        """In one record, appended when the newest was made."""
        calls = list(calls)
        newest = max(call.ts_ms for call in calls) - NOON_MS
        return self.report(ModelCalls(calls=calls), newest / 1_000 if at_seconds is None else at_seconds)

    def one_by_one(self, calls: Iterable[ModelCall]) -> list[GuardEffects]:
        return [self.calls([call]) for call in calls]

    def account(self, at_seconds: float = 0.0, days: int = 100) -> Account:
        return msgspec.json.decode(answer_of(self.report(Ask(days=days), at_seconds)), type=Account)


def answer_of(effects: GuardEffects) -> bytes:
    """What who waits is told: by a verdict, or by the last command when it is done."""
    if effects.verdict is not None:
        return effects.verdict[1].body
    payload: bytes = msgspec.json.decode(effects.commands[-1].payload, type=_Answer).answer
    return payload


class _Answer(msgspec.Struct):
    answer: bytes = b""


def standing_of(effects: GuardEffects) -> Standing:
    return msgspec.json.decode(answer_of(effects), type=Standing)


def budget_of(effects: GuardEffects) -> Budget:
    return msgspec.json.decode(answer_of(effects), type=Budget)


def layers_of(effects: GuardEffects) -> list[str]:
    return [str(trip.layer) for trip in effects.trips]
