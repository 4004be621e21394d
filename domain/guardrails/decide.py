"""Decides one record of `burn.telemetry`: which layers trip on its calls, and what is suspended, reserved or answered.
All times are the log's, so the same records lead to the same decisions whenever they are read.

A record at or below the organization's `offset` was counted before, and its effects were confirmed before that was
saved: it causes nothing. A record whose count was not saved is decided again, with the same ids, so that every reader
counts its effects once.

Mutable: `decide` changes the organization's state in place, and the agent saves it afterwards (state.py).
"""

from collections.abc import Iterable

import msgspec

from domain.guardrails.budgets import Budgets
from domain.guardrails.counting import MINUTES_KEPT, MUTE_MS, count
from domain.guardrails.effects import effects_of
from domain.guardrails.layers import burn_rate, premium_concentration
from domain.guardrails.money import MINUTE_MS, spent_in
from domain.guardrails.state import GuardState
from domain.guardrails.values import (
    GUARDRAILS,
    GuardDecision,
    GuardEffects,
    GuardRefused,
    GuardRequest,
    Organization,
    Trip,
    policy_bytes,
    read_policy,
)
from schemas.entities import KillFlag
from schemas.guardrail_policy import (
    DEFAULT_POLICY,
    ORGANIZATION,
    Guarded,
    GuardrailPolicy,
    Layer,
    Mode,
    Period,
    Scope,
)
from schemas.telemetry import (
    Account,
    Ask,
    Enforce,
    ModelCall,
    ModelCalls,
    Reserve,
    Resume,
    SetPolicy,
    Settle,
    Standing,
    TelemetryPayload,
)

LAYERS = tuple(Layer)
_policies: dict[bytes, GuardrailPolicy] = {}
POLICIES_REMEMBERED_MAX = 10_000


def decide(state: GuardState, request: GuardRequest, policy: GuardrailPolicy | None = None) -> GuardEffects:
    """`policy`: replaces the organization's own in a simulation."""
    organization = state.organization(request.record.workspace)
    if request.offset <= organization.offset:
        return GuardEffects()
    organization.offset = request.offset
    return Deciding(state, organization, request, policy or policy_of(organization)).decide()


def policy_of(organization: Organization) -> GuardrailPolicy:
    text = organization.policy
    if not text:
        return DEFAULT_POLICY
    known = _policies.get(text)
    if known is None:
        if len(_policies) >= POLICIES_REMEMBERED_MAX:
            _policies.clear()
        known = _policies[text] = read_policy(text)
    return known


class Deciding:
    """One record's decision, over its organization."""

    def __init__(
        self, state: GuardState, organization: Organization, request: GuardRequest, policy: GuardrailPolicy
    ) -> None:
        self._state = state
        self._organization = organization
        self._request = request
        self._policy = policy
        self._now_ms = request.append_ms
        self._workspace = request.record.workspace
        self._budgets = Budgets(state, self._workspace, policy, request.append_ms)

    def decide(self) -> GuardEffects:
        self._budgets.lapse()
        try:
            return effects_of(self._request, self._decision_on(self._request.payload))
        except GuardRefused as refused:
            return effects_of(self._request, GuardDecision(refused=refused))

    def _decision_on(self, payload: TelemetryPayload) -> GuardDecision:
        match payload:
            case ModelCalls():
                return self._count(payload.calls)
            case Settle():
                self._organization.reservations.pop(payload.id, None)
                return self._count([] if payload.call is None else [payload.call])
            case Reserve():
                return self._reserve(payload)
            case Enforce():
                return self._enforce(payload)
            case Resume():
                return self._resume(payload)
            case SetPolicy():
                return self._replace_policy(payload)
            case Ask():
                return GuardDecision(body=msgspec.json.encode(self._account(payload.days)))

    # Calls

    def _count(self, calls: list[ModelCall]) -> GuardDecision:
        counted = count(self._state, self._workspace, calls, self._now_ms, self._policy)
        trips = [*counted.trips]
        if counted.calls:
            trips += self._budgets.trips(counted.touched)
            trips += self._trips_of_the_organization()
            trips.sort(key=lambda trip: LAYERS.index(trip.layer))
        trips = [trip for trip in trips if trip.mode is Mode.WARN or self._flag_on(trip.found.guarded) is None]
        flags = self._suspended_by(trips)
        return GuardDecision(
            body=self._standing(trips, counted.duplicates),
            flags=flags,
            trips=tuple(trips),
            calls=counted.calls,
            duplicates=counted.duplicates,
            late=counted.late,
        )

    def _trips_of_the_organization(self) -> Iterable[Trip]:
        organization, policy, now_ms = self._organization, self._policy, self._now_ms
        premium, rate = policy.premium_concentration, policy.burn_rate
        if self._asks(Layer.PREMIUM_CONCENTRATION, premium.mode):
            since_ms = organization.cleared_ms.get(Layer.PREMIUM_CONCENTRATION, 0)
            found = premium_concentration.check(organization.minutes, now_ms, premium, since_ms)
            if found is not None:
                yield self._muted(Trip(found, premium.mode))
        cap_nano = self._budgets.daily_hard_nano() if self._asks(Layer.BURN_RATE, rate.mode) else None
        if cap_nano is not None:
            day_nano = spent_in(organization.spent, Period.DAY, now_ms)
            since_ms = organization.cleared_ms.get(Layer.BURN_RATE, 0)
            found = burn_rate.check(organization.minutes, day_nano, cap_nano, now_ms, rate, since_ms)
            if found is not None:
                yield self._muted(Trip(found, rate.mode))

    def _asks(self, layer: Layer, mode: Mode) -> bool:
        if mode is Mode.WARN:
            return self._organization.muted_ms.get(layer, 0) <= self._now_ms
        return mode is Mode.ENFORCE

    def _muted(self, trip: Trip) -> Trip:
        if trip.mode is Mode.WARN:
            self._organization.muted_ms[trip.layer] = self._now_ms + MUTE_MS
        return trip

    def _suspended_by(self, trips: Iterable[Trip]) -> tuple[KillFlag, ...]:
        """One flag for each scope that is to stop; where several layers tripped, it names the first (B-040)."""
        flags: dict[Guarded, KillFlag] = {}
        for trip in trips:
            if trip.mode is Mode.ENFORCE and trip.found.guarded not in flags:
                ttl_seconds, guarded = self._policy.ttl_seconds, trip.found.guarded
                flags[guarded] = self._flag(guarded, trip.layer, trip.found.reason, ttl_seconds, GUARDRAILS)
        for flag in flags.values():
            self._put_up(flag)
        return tuple(flags.values())

    # Flags

    def _flag(self, guarded: Guarded, layer: str, reason: str, ttl_seconds: int, set_by: str) -> KillFlag:
        return KillFlag(
            id=self._workspace,
            workspace=self._workspace,
            created_ms=self._now_ms,
            layer=layer,
            reason=reason,
            expires_ms=self._now_ms + ttl_seconds * 1_000 if ttl_seconds else None,
            scope=guarded.scope,
            scope_id=guarded.id,
            set_by=set_by,
        )

    def _put_up(self, flag: KillFlag) -> None:
        """Replaces the flag on the same scope. Expired flags stay: a resume still clears what they stopped."""
        others = [one for one in self._organization.flags if one.entity_id != flag.entity_id]
        self._organization.flags = [*others, flag]

    def _flag_on(self, guarded: Guarded) -> KillFlag | None:
        """The flag that stops this: its own or the organization's."""
        for flag in self._organization.flags:
            if flag.holds(self._now_ms) and (flag.scope is Scope.ORG or (flag.scope, flag.scope_id) == guarded):
                return flag
        return None

    def _enforce(self, asked: Enforce) -> GuardDecision:
        ttl_seconds = self._policy.ttl_seconds if asked.ttl_seconds is None else asked.ttl_seconds
        guarded = ORGANIZATION if asked.scope is Scope.ORG else Guarded(asked.scope, asked.scope_id)
        flag = self._flag(guarded, asked.layer, asked.reason, ttl_seconds, self._request.record.actor)
        self._put_up(flag)
        body = msgspec.json.encode(Standing(state="suspended", flag=flag))
        return GuardDecision(body=body, flags=(flag,))

    def _resume(self, asked: Resume) -> GuardDecision:
        wanted = None if asked.scope is None else Guarded(asked.scope, asked.scope_id)
        if asked.scope is Scope.ORG:
            wanted = ORGANIZATION
        gone = [flag for flag in self._organization.flags if wanted in (None, (flag.scope, flag.scope_id))]
        self._organization.flags = [flag for flag in self._organization.flags if flag not in gone]
        self._organization.resumes += 1
        for flag in gone:
            self._organization.cleared_ms[flag.layer] = self._now_ms
            if flag.layer == Layer.FINANCIAL_LIMITS:
                self._budgets.forgive(Guarded(flag.scope, flag.scope_id))
        guarded = {Guarded(flag.scope, flag.scope_id): None for flag in gone} | {wanted or ORGANIZATION: None}
        stood = tuple(Guarded(flag.scope, flag.scope_id) for flag in gone if flag.holds(self._now_ms))
        return GuardDecision(body=self._standing(()), resumed=tuple(guarded), stood=stood, reason=asked.reason)

    def _standing(self, trips: Iterable[Trip], duplicates: int = 0) -> bytes:
        trips = list(trips)
        flag = self._flag_on(ORGANIZATION)
        if flag is None and any(trip.mode is Mode.ENFORCE for trip in trips):
            flag = self._organization.flags[-1]
        tripped = list(dict.fromkeys(trip.layer for trip in trips))
        standing = Standing(
            state="ok" if flag is None else "suspended", flag=flag, tripped=tripped, duplicates=duplicates
        )
        return msgspec.json.encode(standing)

    # Policy, budgets and the account

    def _replace_policy(self, asked: SetPolicy) -> GuardDecision:
        self._organization.policy = policy_bytes(asked.policy)
        self._organization.policy_version += 1
        body = self._organization.policy
        return GuardDecision(body=body, policy=asked.policy, policy_version=self._organization.policy_version)

    def _reserve(self, asked: Reserve) -> GuardDecision:
        flag = self._flag_on(ORGANIZATION)
        if flag is not None:
            raise GuardRefused(429, "suspended", f"The organization is suspended by {flag.layer}: {flag.reason}.")
        return GuardDecision(body=msgspec.json.encode(self._budgets.reserve(asked)))

    def _account(self, days: int) -> Account:
        organization, now_ms = self._organization, self._now_ms
        spent, held = organization.spent, organization.reservations.values()
        flag = self._flag_on(ORGANIZATION)
        first_day, now_minute = now_ms // 86_400_000 - days + 1, now_ms // MINUTE_MS
        return Account(
            at_ms=now_ms,
            standing=Standing(state="ok" if flag is None else "suspended", flag=flag),
            flags=[one for one in organization.flags if one.holds(now_ms)],
            caps=self._budgets.uses(),
            hour_nano=spent_in(spent, Period.HOUR, now_ms),
            day_nano=spent_in(spent, Period.DAY, now_ms),
            month_nano=spent_in(spent, Period.MONTH, now_ms),
            reservations=len(held),
            reserved_nano=sum(one.cost_nano for one in held),
            days_nano={day: total for day, total in spent.days.items() if day >= first_day},
            minutes_nano=[
                organization.minutes.get(minute, (0, 0))[0]
                for minute in range(now_minute - MINUTES_KEPT + 1, now_minute + 1)
            ],
        )
