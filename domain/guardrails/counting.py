"""Counts a record's calls: what they cost and when, and what the layers find that look at single calls. It changes the
state that it is given.

A call's time is the caller's, at most the log's. One that is older than the watermark is late: its cost
counts in the period in which it was made, but it is not looked at together with the session's present calls. Late calls
are looked at among themselves, by their own times: calls that were spooled while the log was unreachable are no burst,
but a loop among them is a loop.

Every call takes this path, so everything that can be computed once a record, or once a session, is.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from domain.guardrails.layers import burst, dumb_loop, ping_pong, retry_cascade, smart_loop
from domain.guardrails.layers.found import AT, FINGERPRINT, TOKENS_IN, Found, Seen
from domain.guardrails.money import DAYS_KEPT_OF_PARTS, MINUTE_MS, add, keep_newest
from domain.guardrails.prices import is_premium
from domain.guardrails.state import GuardState
from domain.guardrails.values import SESSION_CALLS_MAX, CountedCalls, KeyWindow, Organization, SessionWindow, Trip
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Layer, Mode, Scope
from schemas.telemetry import LATENESS_MS, ModelCall

SESSION_MS = 600_000
"""A key's calls without a session are one session for so long (B-014)."""
MUTE_MS = 600_000
MINUTES_KEPT = 60
REPEATS_MAX = 10_000
STEPS_KEPT = LATENESS_MS // burst.STEP_MS + burst.SUSTAINED_STEPS + 1
LATE = "\0late"
"""Behind the name of a key whose late calls these are."""
_PREFIX, _FINGERPRINT_CHARACTERS = "sha256:", 71


def number_of(fingerprint: str) -> int:
    """Its first 64 bits, or 64 bits of a hash over what has not that form."""
    if len(fingerprint) == _FINGERPRINT_CHARACTERS and fingerprint.startswith(_PREFIX):
        try:
            return int(fingerprint[7:23], 16)
        except ValueError:
            pass
    return int.from_bytes(blake2b(fingerprint.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class SessionWatch:
    """One session's calls in one record: each is sorted in by its time, and four layers look at it."""

    __slots__ = ("_cleared", "_counted", "_now_ms", "_policy", "_said", "calls", "window")

    def __init__(
        self,
        window: SessionWindow,
        policy: GuardrailPolicy,
        cleared_ms: Mapping[str, int],
        counted: CountedCalls,
        now_ms: int,
    ) -> None:
        self.window = window
        self.calls = window.calls
        self._policy = policy
        self._cleared = cleared_ms
        self._counted = counted
        self._now_ms = now_ms
        self._said: set[Layer] = set()

    def see(self, call: ModelCall, at_ms: int) -> None:
        calls, number = self.calls, number_of(call.fingerprint)
        seen: Seen = (at_ms, number, call.tokens_in, call.retry_count)
        if not calls or at_ms >= calls[-1][AT]:
            calls.append(seen)
            at = len(calls) - 1
        else:
            at = bisect_right(calls, at_ms, key=_at)
            calls.insert(at, seen)
        if len(calls) > SESSION_CALLS_MAX or (not call.session_id and calls[0][AT] < at_ms - SESSION_MS):
            at -= self._drop(call, at, at_ms)
        if 0 <= at < len(calls) - 1 or (at > 0 and self._may_matter(seen, calls)):
            self._look(call, at)

    def _may_matter(self, seen: Seen, calls: list[Seen]) -> bool:
        """Of the newest call, cheaply: whether any layer could find anything."""
        before = calls[-2]
        return (
            before[FINGERPRINT] == seen[FINGERPRINT]
            or seen[3] > 0
            or (len(calls) > 2 and calls[-3][FINGERPRINT] == seen[FINGERPRINT])
            or (before[TOKENS_IN] < seen[TOKENS_IN] and len(calls) >= self._policy.smart_loop.calls)
        )

    def _drop(self, call: ModelCall, at: int, at_ms: int) -> int:
        """Too many calls: drops some at the end that is farther from the new one. Returns how many were before it."""
        calls = self.calls
        oldest_ms = 0 if call.session_id else at_ms - SESSION_MS
        if len(calls) > SESSION_CALLS_MAX and at < SESSION_CALLS_MAX // 2:
            calls.pop()
        drop = max(0, len(calls) - SESSION_CALLS_MAX)
        while drop < len(calls) and calls[drop][AT] < oldest_ms:
            drop += 1
        del calls[:drop]
        return drop

    def _look(self, call: ModelCall, at: int) -> None:
        policy, calls, since = self._policy, self.calls, self._cleared.get
        loop, line, alternation, retries = policy.dumb_loop, policy.smart_loop, policy.ping_pong, policy.retry_cascade
        if self._asks(Layer.DUMB_LOOP, loop.mode) and loop.consecutive:
            since_ms = since(Layer.DUMB_LOOP, 0)
            self._say(dumb_loop.check(calls, at, call.fingerprint, loop, since_ms), loop.mode, call)
        if self._asks(Layer.SMART_LOOP, line.mode):
            self._say(smart_loop.check(calls, at, line, since(Layer.SMART_LOOP, 0)), line.mode, call)
        if self._asks(Layer.PING_PONG, alternation.mode):
            self._say(ping_pong.check(calls, at, alternation, since(Layer.PING_PONG, 0)), alternation.mode, call)
        if self._asks(Layer.RETRY_CASCADE, retries.mode):
            self._say(retry_cascade.check(calls, at, retries, since(Layer.RETRY_CASCADE, 0)), retries.mode, call)

    def _asks(self, layer: Layer, mode: Mode) -> bool:
        """A layer trips once a session and record; after a warning it is muted for a while."""
        if mode is Mode.OFF or layer in self._said:
            return False
        return mode is Mode.ENFORCE or self.window.muted_ms.get(layer, 0) <= self._now_ms

    def _say(self, found: Found | None, mode: Mode, call: ModelCall) -> None:
        if found is None:
            return
        self._said.add(found.layer)
        if mode is Mode.WARN:
            self.window.muted_ms[found.layer] = self._now_ms + MUTE_MS
        self._counted.trips.append(Trip(found, mode, call.key_id, call.session_id, call.fingerprint))


def count(
    state: GuardState, workspace: str, calls: Sequence[ModelCall], now_ms: int, policy: GuardrailPolicy
) -> CountedCalls:
    """`now_ms`: the record's append time. Changes the state; money is in it, caps are not looked at yet."""
    organization = state.organization(workspace)
    counted = CountedCalls()
    watermark_ms = now_ms - LATENESS_MS
    minutes: dict[int, list[int]] = {}
    premium: dict[tuple[str, str], bool] = {}
    scopes = {cap.scope for cap in policy.financial_limits.caps} - {Scope.ORG}
    parts: dict[Guarded, dict[int, int]] = {}
    watches: dict[tuple[str, str], SessionWatch] = {}
    keys: dict[str, KeyWindow] = {}
    any_repeats = policy.dumb_loop.mode is not Mode.OFF and not policy.dumb_loop.consecutive
    for call in calls:
        if call.event_id and state.is_repeat(workspace, call.event_id, call.source, now_ms):
            counted.duplicates += 1
            continue
        at_ms = call.ts_ms
        if at_ms > now_ms:
            at_ms = now_ms
        minute, cost, model = at_ms // MINUTE_MS, call.cost_nano, (call.model, call.answered_model)
        is_dear = premium.get(model)
        if is_dear is None:
            is_dear = premium[model] = any(_is_premium(name, policy) for name in model)
        of_minute = minutes.get(minute)
        if of_minute is None:
            of_minute = minutes[minute] = [0, 0]
        of_minute[0] += cost
        if is_dear:
            of_minute[1] += cost
        if scopes:
            _add_parts(parts, scopes, call, minute)
        counted.calls += 1
        key_id = call.key_id
        if at_ms < watermark_ms:
            counted.late += 1
            key_id += LATE
        window = keys.get(key_id)
        if window is None:
            window = keys[key_id] = state.key_window(workspace, key_id)
            if key_id is not call.key_id:
                _cleared_of_late(window, organization)
        step = at_ms // burst.STEP_MS
        window.steps[step] = window.steps.get(step, 0) + 1
        key = key_id, call.session_id
        watch = watches.get(key)
        if watch is None:
            session = state.session_window(workspace, *key)
            cleared_ms = organization.cleared_ms if key_id is call.key_id else _cleared_of_late(session, organization)
            watch = watches[key] = SessionWatch(session, policy, cleared_ms, counted, now_ms)
        watch.see(call, at_ms)
        if any_repeats:
            _see_repeats(window, call, at_ms, policy, organization, counted)
    _spend(state, workspace, organization, minutes, parts, now_ms)
    counted.touched.update(parts)
    for key_id, window in keys.items():
        cleared_ms = {} if key_id.endswith(LATE) else organization.cleared_ms
        _look_at_key(window, key_id.removesuffix(LATE), policy, cleared_ms, counted, now_ms)
    return counted


def _cleared_of_late(window: SessionWindow | KeyWindow, organization: Organization) -> Mapping[str, int]:
    """A resume forgives the late calls that were reported before it. Those reported later count, however old."""
    if window.resumes != organization.resumes:
        window.resumes = organization.resumes
        if isinstance(window, SessionWindow):
            window.calls.clear()
        else:
            window.steps.clear()
    return {}


def _at(seen: Seen) -> int:
    return seen[AT]


def _is_premium(model: str, policy: GuardrailPolicy) -> bool:
    named = policy.premium_concentration.models
    return model in named if named else is_premium(model)


def _add_parts(parts: dict[Guarded, dict[int, int]], scopes: set[Scope], call: ModelCall, minute: int) -> None:
    for guarded in parts_of(call.key_id, call.project, call.model, call.user, call.answered_model):
        if guarded.scope in scopes:
            by_minute = parts.setdefault(guarded, {})
            by_minute[minute] = by_minute.get(minute, 0) + call.cost_nano


def parts_of(key_id: str, project: str, model: str, user: str, answered_model: str = "") -> list[Guarded]:
    """What a cap or a flag may name of a call, apart from its organization: a model by either of its names."""
    named = ((Scope.KEY, key_id), (Scope.PROJECT, project), (Scope.MODEL, model), (Scope.USER, user))
    parts = [Guarded(scope, part) for scope, part in named if part]
    if answered_model and answered_model != model:
        parts.append(Guarded(Scope.MODEL, answered_model))
    return parts


def _spend(
    state: GuardState,
    workspace: str,
    organization: Organization,
    minutes: dict[int, list[int]],
    parts: dict[Guarded, dict[int, int]],
    now_ms: int,
) -> None:
    add(organization.spent, {minute: total for minute, (total, _) in minutes.items()})
    kept, oldest = organization.minutes, now_ms // MINUTE_MS - MINUTES_KEPT
    for minute, (total, premium_part) in minutes.items():
        if minute > oldest:
            before = kept.get(minute, (0, 0))
            kept[minute] = before[0] + total, before[1] + premium_part
    if len(kept) > MINUTES_KEPT:
        for minute in [minute for minute in kept if minute <= oldest]:
            del kept[minute]
    for guarded, by_minute in parts.items():
        add(state.spent(workspace, guarded), by_minute, DAYS_KEPT_OF_PARTS)


def _look_at_key(
    window: KeyWindow,
    key_id: str,
    policy: GuardrailPolicy,
    cleared_ms: Mapping[str, int],
    counted: CountedCalls,
    now_ms: int,
) -> None:
    settings = policy.burst
    if settings.mode is Mode.OFF or (settings.mode is Mode.WARN and window.muted_ms > now_ms):
        found = None
    else:
        found = burst.check(window.steps, settings, cleared_ms.get(Layer.BURST, 0))
    keep_newest(window.steps, STEPS_KEPT)
    if found is not None:
        window.muted_ms = now_ms + MUTE_MS
        counted.trips.append(Trip(found, settings.mode, key_id))


def _see_repeats(
    window: KeyWindow,
    call: ModelCall,
    at_ms: int,
    policy: GuardrailPolicy,
    organization: Organization,
    counted: CountedCalls,
) -> None:
    """Fingerprints of a key, consecutive or not: the last REPEATS_MAX of them, 16 calls of each."""
    settings, number = policy.dumb_loop, number_of(call.fingerprint)
    calls = window.repeats.pop(number, [])  # and back at the end: the order is that of their last use
    at = bisect_right(calls, at_ms, key=_at)
    calls.insert(at, (at_ms, number, call.tokens_in, call.retry_count))
    found = dumb_loop.check_any(calls, at, call.fingerprint, settings, organization.cleared_ms.get(Layer.DUMB_LOOP, 0))
    window.repeats[number] = calls[-16:] if found is None else []
    if len(window.repeats) > REPEATS_MAX:
        del window.repeats[next(iter(window.repeats))]
    if found is not None:
        counted.trips.append(Trip(found, settings.mode, call.key_id, call.session_id, call.fingerprint))
