"""Caps: what each has left, who passes one, and what is set aside before a call. Mutable: it changes the state it is
given.

A resume after a hard cap restarts the cap's count: what was spent until then is forgiven for the rest of its period.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from domain.guardrails.counting import parts_of
from domain.guardrails.layers.found import Found
from domain.guardrails.money import number_of, spent_in
from domain.guardrails.state import GuardState
from domain.guardrails.values import GuardRefused, Organization, Reservation, Trip
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import (
    CAPS_MAX,
    NANO_PER_USD,
    ORGANIZATION,
    Cap,
    Guarded,
    GuardrailPolicy,
    Layer,
    Mode,
    Period,
    Scope,
    nano,
)
from schemas.telemetry import Budget, CapUse, Reserve

NOTICES_PERCENT = (50, 80, 100)  # B-033
HARD_TOLD = 1_000
RESERVATIONS_MAX = 10_000
PARTS_WARNED_MAX = 100
EACH = "*"


class CountedCap(NamedTuple):
    """A cap as it counts one part: the organization, or one project, key, model or user."""

    cap: Cap
    guarded: Guarded

    @property
    def name(self) -> str:
        cap = self.cap
        return f"{cap.period}/{self.guarded.scope}/{self.guarded.id}/{cap.soft_usd}/{cap.hard_usd}"

    @property
    def words(self) -> str:
        whose = "" if self.guarded.scope is Scope.ORG else f" for {self.guarded.scope} {self.guarded.id}"
        return f"this {self.cap.period}{whose}"


def counted_by(caps: Iterable[Cap], parts: Iterable[Guarded]) -> Iterator[CountedCap]:
    """Each cap as it counts the organization, or one of `parts`."""
    parts = list(parts)
    for cap in caps:
        if cap.scope is Scope.ORG:
            yield CountedCap(cap, ORGANIZATION)
        else:
            yield from (
                CountedCap(cap, part) for part in parts if part.scope is cap.scope and cap.id in (EACH, part.id)
            )


class Budgets:
    """One organization's, at one moment of the log."""

    def __init__(self, state: GuardState, workspace: str, policy: GuardrailPolicy, now_ms: int) -> None:
        self._state = state
        self._workspace = workspace
        self._organization: Organization = state.organization(workspace)
        self._caps = policy.financial_limits.caps
        self._mode = policy.financial_limits.mode
        self._now_ms = now_ms

    # After calls

    def trips(self, parts: Iterable[Guarded]) -> list[Trip]:
        """Caps that are passed now, and soft ones of which half, four fifths or all is spent; each said once."""
        if self._mode is Mode.OFF:
            return []
        return [trip for counted in counted_by(self._caps, parts) for trip in self._looked_at(counted)]

    def _looked_at(self, counted: CountedCap) -> Iterator[Trip]:
        spent, cap = self.spent(counted), counted.cap
        hard_nano = None if cap.hard_usd is None else nano(cap.hard_usd)
        if (
            hard_nano is not None
            and spent >= hard_nano
            and (self._mode is Mode.ENFORCE or self._is_new(counted, HARD_TOLD))
        ):
            reason = f"Budget Exceeded: {spent / NANO_PER_USD:.2f} of {cap.hard_usd:.2f} USD {counted.words}"
            yield self._trip(counted, reason, spent, hard_nano, self._mode, NOTICES_PERCENT[-1])
        elif cap.soft_usd is not None:
            soft_nano = nano(cap.soft_usd)
            percent = max((step for step in NOTICES_PERCENT if spent * 100 >= soft_nano * step), default=0)
            if percent and self._is_new(counted, percent):
                reason = f"{percent} % of {cap.soft_usd:.2f} USD {counted.words}"
                yield self._trip(counted, reason, spent, soft_nano, Mode.WARN, percent)

    @staticmethod
    def _trip(counted: CountedCap, reason: str, spent: int, threshold: int, mode: Mode, percent: int) -> Trip:
        observed, limit = spent / NANO_PER_USD, threshold / NANO_PER_USD
        warning = BudgetWarning(
            cap=counted.cap.name,
            period=counted.cap.period,
            scope=counted.guarded.scope,
            scope_id=counted.guarded.id,
            percent=percent,
            spent_usd=observed,
            limit_usd=limit,
            reason=reason,
        )
        found = Found(Layer.FINANCIAL_LIMITS, reason, observed, limit, guarded=counted.guarded)
        return Trip(found, mode, warning=warning if mode is Mode.WARN else None)

    def _is_new(self, counted: CountedCap, percent: int) -> bool:
        """Whether this, or more, was not said of the cap in its present period; it is now."""
        notices, number = self._notices_of(counted.guarded), number_of(counted.cap.period, self._now_ms)
        noted, last = notices.pop(counted.name, (0, 0))
        is_new = noted != number or last < percent
        notices[counted.name] = (number, percent) if is_new else (noted, last)
        if is_new:
            while len(notices) > CAPS_MAX:  # of caps that the policy has no more
                del notices[next(iter(notices))]
            self._remember(counted.guarded)
        return is_new

    def _notices_of(self, guarded: Guarded) -> dict[str, tuple[int, int]]:
        """Notices by cap. Those of a part are stored with its spend: there may be as many parts as users."""
        if guarded.scope is Scope.ORG:
            return self._organization.notices
        return self._state.spent(self._workspace, guarded).notices

    def _remember(self, guarded: Guarded) -> None:
        if guarded.scope is not Scope.ORG:
            others = [one for one in self._organization.warned if one != guarded]
            self._organization.warned = [*others, guarded][-PARTS_WARNED_MAX:]

    def _warned_percent(self, counted: CountedCap) -> int:
        number, percent = self._notices_of(counted.guarded).get(counted.name, (0, 0))
        return min(percent, NOTICES_PERCENT[-1]) if number == number_of(counted.cap.period, self._now_ms) else 0

    # Looking

    def spent(self, counted: CountedCap) -> int:
        """In the present period, less what was forgiven in it."""
        spent = self._spent_of(counted.guarded, counted.cap.period)
        number, forgiven = self._organization.forgiven.get(counted.name, (0, 0))
        return spent - forgiven if number == number_of(counted.cap.period, self._now_ms) else spent

    def reserved(self, guarded: Guarded) -> int:
        held = self._organization.reservations.values()
        return sum(one.cost_nano for one in held if guarded.scope is Scope.ORG or guarded in _parts(one))

    def uses(self) -> list[CapUse]:
        """Of caps that name what they count; of those for each, the parts that were warned of last."""
        named = [Guarded(cap.scope, cap.id) for cap in self._caps if cap.scope is not Scope.ORG and cap.id != EACH]
        parts = dict.fromkeys((*named, *self._organization.warned))
        return [
            CapUse(
                cap=counted.cap.name,
                scope=counted.guarded.scope,
                id=counted.guarded.id,
                spent_nano=self.spent(counted),
                reserved_nano=self.reserved(counted.guarded),
                soft_nano=None if counted.cap.soft_usd is None else nano(counted.cap.soft_usd),
                hard_nano=None if counted.cap.hard_usd is None else nano(counted.cap.hard_usd),
                warned_percent=self._warned_percent(counted),
            )
            for counted in counted_by(self._caps, parts)
            if counted.guarded in (ORGANIZATION, *named) or self._warned_percent(counted)
        ]

    def daily_hard_nano(self) -> int | None:
        """The organization's tightest hard cap a day."""
        hard = [cap.hard_usd for cap in self._caps if cap.scope is Scope.ORG and cap.period is Period.DAY]
        return min((nano(usd) for usd in hard if usd is not None), default=None)

    # Changing

    def forgive(self, guarded: Guarded) -> None:
        """Restarts every cap that counts this."""
        for counted in counted_by(self._caps, [guarded]):
            if counted.guarded == guarded:
                number = number_of(counted.cap.period, self._now_ms)
                self._organization.forgiven[counted.name] = number, self._spent_of(guarded, counted.cap.period)

    def lapse(self) -> None:
        """Amounts that were set aside and never settled."""
        held = self._organization.reservations
        for name in [name for name, one in held.items() if one.expires_ms <= self._now_ms]:
            del held[name]

    def reserve(self, asked: Reserve) -> Budget:
        """Raises GuardRefused."""
        held = self._organization.reservations
        wanted = Reservation(
            asked.cost_nano,
            self._now_ms + asked.ttl_seconds * 1_000,
            asked.key_id,
            asked.project,
            asked.model,
            asked.user,
        )
        known = held.pop(asked.id, None)  # asked again: the answer is what it was, as it was counted already
        left = [self._left(counted) for counted in self._hard_caps(known or wanted)]
        if known is None:
            self._refuse_unless_it_fits(wanted, left, len(held))
        kept = held[asked.id] = known or wanted
        tightest = min((nano_left for _, nano_left in left), default=None)
        return Budget(
            id=asked.id,
            left_nano=None if tightest is None else tightest - kept.cost_nano,
            expires_ms=kept.expires_ms,
        )

    def _refuse_unless_it_fits(self, wanted: Reservation, left: list[tuple[CountedCap, int]], held: int) -> None:
        for counted, nano_left in left:
            if nano_left < wanted.cost_nano:
                words = f"{max(0, nano_left) / NANO_PER_USD:.6f} USD are left {counted.words}"
                raise GuardRefused(429, "budget_exceeded", f"Budget Exceeded: {words}; the call may cost more.")
        if held >= RESERVATIONS_MAX:
            raise GuardRefused(429, "too_many_reservations", f"{RESERVATIONS_MAX:,} calls hold a reservation already.")

    def _hard_caps(self, reservation: Reservation) -> Iterator[CountedCap]:
        return (one for one in counted_by(self._caps, _parts(reservation)) if one.cap.hard_usd is not None)

    def _left(self, counted: CountedCap) -> tuple[CountedCap, int]:
        assert counted.cap.hard_usd is not None
        return counted, nano(counted.cap.hard_usd) - self.spent(counted) - self.reserved(counted.guarded)

    def _spent_of(self, guarded: Guarded, period: Period) -> int:
        whole = guarded.scope is Scope.ORG
        spent = self._organization.spent if whole else self._state.spent(self._workspace, guarded)
        return spent_in(spent, period, self._now_ms)


def _parts(reservation: Reservation) -> list[Guarded]:
    return parts_of(reservation.key_id, reservation.project, reservation.model, reservation.user)
