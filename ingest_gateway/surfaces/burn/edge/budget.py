"""Strict budgets: a call's worst cost is set aside before it is made, or it is not made (FEATURES, ask 1; F54).

The budget's owner decides (`reserve` on burn.telemetry); no gateway counts anything. After the call `settle` puts the
real cost in the reservation's place; one whose gateway died lapses by the log's time. Where nobody decides in time
there is no call (503): an organization that chose strict chose that (DECISIONS, strict budgets and Law 4).
"""

import asyncio

from ingest_gateway.http.faults import Fault, FaultKind
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.telemetry import TelemetryClient, Teller
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.surfaces.burn.edge.inspection import Inspected, estimate_tokens
from schemas.burn import RESERVED_SECONDS_MAX, Reserve, Settle
from schemas.commands import DONE, decode_fault
from schemas.prices import cost_of
from schemas.records import Verdict

TOKENS_OUT_ASSUMED = 4_096
"""Of a caller that sets no limit."""
BUDGET_UNAVAILABLE = Fault(
    FaultKind.UNAVAILABLE,
    "budget_unavailable",
    "The organization's budget is strict and could not be asked; the call was not sent. Please send it again.",
    headers={"Retry-After": "1"},
)


class OverBudget(Exception):
    """The owner refused; the message is its own."""


def worst_cost_nano(asked: Inspected) -> int:
    """Billionths of a dollar: the prompt as estimated, and all that the model may write."""
    tokens_out = TOKENS_OUT_ASSUMED if asked.tokens_out_max is None else asked.tokens_out_max
    return cost_of(asked.model, estimate_tokens(asked.prompt_characters), tokens_out).nano


class Budgets:
    """`hold_seconds`: how long a call may take before its reservation lapses."""

    def __init__(self, telemetry: TelemetryClient, hold_seconds: float) -> None:
        self._telemetry = telemetry
        self._hold_seconds = min(RESERVED_SECONDS_MAX, max(1, round(hold_seconds)))
        self._releasing: set[asyncio.Task[None]] = set()

    async def reserve(self, teller: Teller, wanted: Reserve) -> None:
        """Returns when the call may be made. Raises OverBudget, or Refused (503)."""
        try:
            verdict = await self._telemetry.submit(teller, wanted)
        except LogBusy:
            raise BUDGET_UNAVAILABLE.refused() from None
        except (LogUnavailable, VerdictLate):
            self.release(teller, wanted.id)  # it may have been granted after all
            raise BUDGET_UNAVAILABLE.refused() from None
        except asyncio.CancelledError:
            self.release(teller, wanted.id)
            raise
        if verdict.outcome != DONE:
            raise OverBudget(_words(verdict))

    def release(self, teller: Teller, reservation: str) -> None:
        """No call was made of it. Where this doesn't get through, the reservation lapses."""
        task = asyncio.create_task(self._release(teller, reservation))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, teller: Teller, reservation: str) -> None:
        try:
            await self._telemetry.submit(teller, Settle(id=reservation))
        except (LogBusy, LogUnavailable, VerdictLate):
            return

    def wanted(self, reservation: str, asked: Inspected, key_id: str, labels: dict[str, str]) -> Reserve:
        return Reserve(
            id=reservation,
            cost_nano=worst_cost_nano(asked),
            ttl_seconds=self._hold_seconds,
            key_id=key_id,
            project=labels.get("project", ""),
            model=asked.model,
            user=labels.get("user", ""),
        )


def _words(verdict: Verdict) -> str:
    return decode_fault(verdict.body).message if verdict.body else "The budget does not allow the call."
