"""Strict budgets: a call is made only after its worst cost (worst_cost.py) is reserved (F54).

The budget's owner decides (`reserve` on burn.telemetry); gateways count nothing. After the call, `settle` replaces the
reservation by the real cost. A reservation whose gateway died lapses by the log's time. If no decision comes in time,
the call is not made (503): an organization that chose strict budgets chose that (B-041).
"""

import asyncio
import functools

from domain.security.callers import CallerContext
from ingest_gateway.http.errors import ErrorAnswer, ErrorKind
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.telemetry import TelemetryClient
from ingest_gateway.log.verdicts import VerdictLate
from ingest_gateway.surfaces.burn.edge.bodies import PARSED_HERE_BYTES, Held
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.inspection import Inspected
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget
from ingest_gateway.surfaces.burn.edge.worst_cost import Unpriceable, worst_cost_nano
from schemas.commands.answers import DONE, decode_refusal
from schemas.records import Verdict
from schemas.telemetry import RESERVED_SECONDS_MAX, Reserve, Settle

BUDGET_UNAVAILABLE = ErrorAnswer(
    ErrorKind.UNAVAILABLE,
    "budget_unavailable",
    "The organization's budget is strict and could not be asked; the call was not sent. Please send it again.",
    headers={"Retry-After": "1"},
)

UNREADABLE = ErrorAnswer(
    ErrorKind.FORBIDDEN,
    "cost_unreadable",
    "The proxy can't read what this endpoint costs, so it does not forward it; ATLAS_EDGE_FORWARD_UNREADABLE=on does.",
)
UNREADABLE_UNDER_STRICT = ErrorAnswer(
    ErrorKind.FORBIDDEN,
    "cost_unreadable",
    "The organization's budget is strict, and the proxy can't read what this endpoint costs: call the provider itself, "
    "or set budget_mode to open.",
)
CODED_UNDER_STRICT = ErrorAnswer(
    ErrorKind.UNSUPPORTED_MEDIA_TYPE,
    "cost_unreadable",
    "The organization's budget is strict, so the proxy must read the body: send it without Content-Encoding.",
)
UNPRICEABLE = ErrorAnswer(
    ErrorKind.MALFORMED_REQUEST,
    "cost_unreadable",
    "The organization's budget is strict, so a call that can't be priced is not sent.",
)


class OverBudget(Exception):
    """The budget's owner refused; the message is the owner's."""


def refuse_unreadable(*, is_strict: bool, is_allowed: bool) -> None:
    """For an endpoint whose cost can't be read. Raises Refused, unless the setting allows such calls (`is_allowed`) and
    the organization's budget is not strict.
    """
    if is_strict:
        raise UNREADABLE_UNDER_STRICT.refused()
    if not is_allowed:
        raise UNREADABLE.refused()


async def worst_cost_of(held: Held, target: ProviderTarget, dialect: Dialect) -> int:
    """For a call whose body is held whole. Raises Refused: under a strict budget only calls with a known price are
    sent.
    """
    if held.coded:
        raise CODED_UNDER_STRICT.refused()
    price = functools.partial(worst_cost_nano, held.body, target, dialect)
    try:
        return await asyncio.to_thread(price) if len(held.body) > PARSED_HERE_BYTES else price()
    except Unpriceable as why:
        raise UNPRICEABLE.refused(f"{why} {UNPRICEABLE.message}") from None


class StrictBudgets:
    """Reserves and releases budget. `hold_seconds`: how long a call may take before its reservation lapses."""

    def __init__(self, telemetry: TelemetryClient, hold_seconds: float) -> None:
        self._telemetry = telemetry
        self._hold_seconds = min(RESERVED_SECONDS_MAX, max(1, round(hold_seconds)))
        self._releasing: set[asyncio.Task[None]] = set()

    async def reserve(self, workspace: str, caller: CallerContext, wanted: Reserve) -> None:
        """Returns when the call may be made. Raises OverBudget, or Refused (503)."""
        try:
            verdict = await self._telemetry.submit(workspace, caller, wanted)
        except LogBusy:
            raise BUDGET_UNAVAILABLE.refused() from None
        except (LogUnavailable, VerdictLate):
            self.release(workspace, caller, wanted.id)  # it may have been granted after all
            raise BUDGET_UNAVAILABLE.refused() from None
        except asyncio.CancelledError:
            self.release(workspace, caller, wanted.id)
            raise
        if verdict.outcome != DONE:
            raise OverBudget(_words(verdict))

    def release(self, workspace: str, caller: CallerContext, reservation: str) -> None:
        """The call was not made. If this does not reach the owner, the reservation lapses."""
        task = asyncio.create_task(self._release(workspace, caller, reservation))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, workspace: str, caller: CallerContext, reservation: str) -> None:
        try:
            await self._telemetry.submit(workspace, caller, Settle(id=reservation))
        except (LogBusy, LogUnavailable, VerdictLate):
            return

    def wanted(
        self, reservation: str, cost_nano: int, asked: Inspected, key_id: str, labels: dict[str, str]
    ) -> Reserve:
        return Reserve(
            id=reservation,
            cost_nano=cost_nano,
            ttl_seconds=self._hold_seconds,
            key_id=key_id,
            project=labels.get("project", ""),
            model=asked.model,
            user=labels.get("user", ""),
        )


def _words(verdict: Verdict) -> str:
    return decode_refusal(verdict.body).message if verdict.body else "The budget does not allow the call."
