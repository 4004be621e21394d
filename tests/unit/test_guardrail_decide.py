"""What becomes of an organization's records, in their order: trips, flags, resumes, budgets, and the same again."""

import json
import random

import msgspec
import pytest

from domain.guardrails.values import GuardEffects
from schemas.commands import decode_payload
from schemas.commands.guardrails import ReplacePolicy, ResumeGuarded, Suspend, Warn
from schemas.guardrail_breaches import decode_breach
from schemas.guardrail_policy import (
    DEFAULT_POLICY,
    Burst,
    Cap,
    DumbLoop,
    FinancialLimits,
    GuardrailPolicy,
    Layer,
    Mode,
    Period,
    PingPong,
    Scope,
    SmartLoop,
    nano,
)
from schemas.telemetry import CallSource, Enforce, ModelCalls, Reserve, Resume, SetPolicy, Settle
from tests.support.guarded import NOON_MS, REPLY, GuardedOrg, a_call, budget_of, layers_of, standing_of

LOOP = "sha256:" + "b9c1" * 16
HOUR, DAY = 3_600, 86_400


def loop(count: int = 4, start: float = 0.0, **changes: object) -> list[object]:
    return [a_call(start + second, fingerprint=LOOP, **changes) for second in range(count)]


def capped(*caps: Cap, **more: object) -> GuardrailPolicy:
    return GuardrailPolicy(financial_limits=FinancialLimits(caps=list(caps)), **more)


class TestALoop:
    @pytest.mark.requirement("B-016", "B-023")
    def test_the_fourth_identical_fingerprints_own_record_suspends(self) -> None:
        guarded = GuardedOrg()
        *before, fourth = guarded.one_by_one(loop())
        assert [standing_of(effects).state for effects in before] == ["ok"] * 3
        assert standing_of(fourth).state == "suspended"
        command = fourth.commands[0]
        payload = decode_payload(command)
        assert isinstance(payload, Suspend)
        assert (payload.layer, payload.reason) == (
            "dumb_loop_detector",
            "fingerprint sha256:b9c1... seen 4 times in 60s",
        )
        assert payload.expires_ms == NOON_MS + 3_000 + 7_200_000
        assert command.actor == "guardrails"
        assert fourth.verdict is None, "the command's verdict answers, when `control` has the flag"

    def test_in_one_record_too_and_once(self) -> None:
        effects = GuardedOrg().calls(loop(9))
        assert layers_of(effects) == ["dumb_loop_detector"]
        assert len(effects.commands) == len(effects.audits) == 1

    @pytest.mark.requirement("L2")
    def test_a_call_that_is_told_again_counts_once(self) -> None:
        guarded = GuardedOrg()
        call = a_call(0, fingerprint=LOOP, event_id="evt-1")
        for _ in range(6):
            effects = guarded.calls([call, call], at_seconds=5)
            assert layers_of(effects) == []
        assert effects.duplicates == 2
        assert guarded.account(6).day_nano == call.cost_nano

    @pytest.mark.parametrize("first", [CallSource.INGEST, CallSource.OTLP])
    def test_an_id_of_another_source_takes_no_spend_away(self, first: CallSource) -> None:
        """Whoever tells of a proxied call under its own request id, sooner than the edge itself, adds a call."""
        guarded = GuardedOrg()
        claimed = a_call(0, usd=0.0, event_id="req_1", source=first)
        made = a_call(0, usd=2.0, event_id="req_1", source=CallSource.EDGE)
        assert [guarded.calls([call]).duplicates for call in (claimed, made, made, claimed)] == [0, 0, 1, 1]
        assert guarded.account().day_nano == nano(2.0)

    def test_the_same_event_counts_again_after_24_hours(self) -> None:
        guarded = GuardedOrg()
        call = a_call(0, event_id="evt-1")
        guarded.calls([call])
        assert guarded.calls([call], at_seconds=DAY - 1).duplicates == 1
        assert guarded.calls([call], at_seconds=DAY).calls == 1

    @pytest.mark.requirement("B-053")
    def test_the_ledger_has_the_evidence(self) -> None:
        effects = GuardedOrg().calls(loop())
        audit = effects.audits[0]
        breach = decode_breach(audit.details)
        assert (audit.action, audit.outcome, audit.resource) == (
            "guardrail.trip",
            "suspended",
            "layer/dumb_loop_detector",
        )
        assert (breach.observed, breach.threshold, breach.fingerprint, breach.key_id) == (4, 4, LOOP, "key_1")
        assert [call.at_ms for call in breach.calls] == [NOON_MS + second * 1_000 for second in range(4)]

    def test_of_another_session_or_key_it_is_none(self) -> None:
        for name in ("session_id", "key_id"):
            calls = [a_call(n, fingerprint=LOOP, **{name: f"other-{n}"}) for n in range(6)]
            assert layers_of(GuardedOrg().calls(calls)) == []

    def test_not_consecutive_only_where_the_policy_says_so(self) -> None:
        mixed = [call for n in range(4) for call in (a_call(n, fingerprint=LOOP), a_call(n + 0.5))]
        assert layers_of(GuardedOrg().calls(mixed)) == []
        anywhere = GuardrailPolicy(dumb_loop=DumbLoop(consecutive=False))
        assert layers_of(GuardedOrg(anywhere).calls(mixed)) == ["dumb_loop_detector"]

    @pytest.mark.parametrize("seed", range(20))
    def test_calls_may_come_out_of_order(self, seed: int) -> None:
        calls = [*loop(), a_call(-5), a_call(9)]
        random.Random(seed).shuffle(calls)
        guarded = GuardedOrg()
        found = [layer for call in calls for layer in layers_of(guarded.calls([call], at_seconds=10))]
        assert found == ["dumb_loop_detector"]

    @pytest.mark.requirement("L2")
    def test_a_time_to_come_counts_as_now_and_what_is_late_is_among_itself(self) -> None:
        guarded = GuardedOrg()
        future = [a_call(10**6 + n, fingerprint=LOOP) for n in range(4)]
        assert layers_of(guarded.calls(future, at_seconds=5)) == ["dumb_loop_detector"]
        late = GuardedOrg().calls(loop(), at_seconds=HOUR)
        assert (layers_of(late), late.late, late.calls) == (["dumb_loop_detector"], 4, 4)
        both = GuardedOrg().calls([*loop(2), *loop(2, start=HOUR)])
        assert (layers_of(both), both.late) == ([], 2)

    def test_what_was_spooled_for_hours_is_no_burst(self) -> None:
        spooled = [a_call(n * 0.5) for n in range(5_000)]
        effects = GuardedOrg().calls(spooled, at_seconds=3 * HOUR)
        assert (layers_of(effects), effects.late) == ([], 5_000)
        dense = [a_call(n * 0.05) for n in range(5_000)]
        assert layers_of(GuardedOrg().calls(dense, at_seconds=3 * HOUR)) == ["burst_detector"]

    @pytest.mark.requirement("B-016")
    def test_the_documents_example_as_it_stands_sent_four_times_long_after_its_time(self) -> None:
        guarded = GuardedOrg()
        guarded.calls([a_call(-n) for n in range(40)], at_seconds=-3 * HOUR)
        guarded.calls([a_call(n) for n in range(40)])
        call = a_call(-187 * DAY, fingerprint="sha256:b9c1...")
        told = [standing_of(guarded.calls([call], at_seconds=n)).state for n in range(4)]
        assert told == ["ok", "ok", "ok", "suspended"]
        guarded.report(Resume(reason="manual_resume"), 10)
        told = [standing_of(guarded.calls([call], at_seconds=n)).state for n in range(11, 15)]
        assert told == ["ok", "ok", "ok", "suspended"]

    def test_a_layer_that_warns_stops_nothing_and_says_it_once_in_a_while(self) -> None:
        guarded = GuardedOrg(GuardrailPolicy(dumb_loop=DumbLoop(mode=Mode.WARN)))
        told = [layers_of(guarded.calls(loop(start=at))) for at in (0, 10, 20, 700)]
        assert told == [["dumb_loop_detector"], [], [], ["dumb_loop_detector"]]
        assert guarded.account(710).standing.state == "ok"

    def test_off_is_off(self) -> None:
        assert layers_of(GuardedOrg(GuardrailPolicy(dumb_loop=DumbLoop(mode=Mode.OFF))).calls(loop())) == []


class TestFlags:
    @pytest.mark.requirement("B-032")
    def test_five_layers_stop_by_themselves_in_the_documents_order(self) -> None:
        written = msgspec.to_builtins(DEFAULT_POLICY)
        modes = {name: layer["mode"] for name, layer in written.items() if isinstance(layer, dict)}
        assert [name for name, mode in modes.items() if mode == "enforce"] == [
            "financial_limits",
            "dumb_loop",
            "smart_loop",
            "burst",
            "premium_concentration",
        ]
        assert [layer.removesuffix("_detector") for layer in Layer] == list(modes)

    @pytest.mark.requirement("B-035")
    def test_where_fingerprints_drift_between_routes_the_burst_is_still_found(self) -> None:
        drifting = [a_call(n * 0.02, fingerprint=f"{LOOP}{n % 2}{n}") for n in range(700)]
        assert layers_of(GuardedOrg().calls(drifting)) == ["burst_detector"]

    @pytest.mark.requirement("B-040")
    def test_of_several_layers_the_first_is_named_and_all_are_in_the_ledger(self) -> None:
        policy = GuardrailPolicy(burst=Burst(per_minute=3), ping_pong=PingPong(mode=Mode.ENFORCE))
        effects = GuardedOrg(policy).calls(loop())
        assert layers_of(effects) == ["dumb_loop_detector", "burst_detector"]
        assert [decode_payload(command).layer for command in effects.commands] == ["dumb_loop_detector"]  # type: ignore[attr-defined]
        assert len(effects.audits) == 2

    @pytest.mark.requirement("B-048", "X-54")
    @pytest.mark.parametrize(
        ("ttl_seconds", "after_seconds", "state"), [(60, 59, "suspended"), (60, 61, "ok"), (0, 10**6, "suspended")]
    )
    def test_a_flag_ends_by_its_time_without_a_sweep(self, ttl_seconds: int, after_seconds: int, state: str) -> None:
        guarded = GuardedOrg()
        guarded.report(Enforce(layer="manual", reason="a look", ttl_seconds=ttl_seconds))
        assert guarded.account(after_seconds).standing.state == state

    def test_under_a_flag_nothing_trips_again_and_after_it_it_does(self) -> None:
        guarded = GuardedOrg(GuardrailPolicy(ttl_seconds=60))
        assert layers_of(guarded.calls(loop())) == ["dumb_loop_detector"]
        assert layers_of(guarded.calls(loop(start=10))) == []
        assert layers_of(guarded.calls(loop(start=100))) == ["dumb_loop_detector"]

    @pytest.mark.requirement("B-050")
    def test_a_resume_clears_the_layers_window(self) -> None:
        guarded = GuardedOrg()
        guarded.calls(loop())
        resumed = guarded.report(Resume(reason="manual_resume"), 5)
        assert isinstance(decode_payload(resumed.commands[0]), ResumeGuarded)
        assert standing_of(resumed).state == "ok"
        assert layers_of(guarded.calls(loop(3, start=6))) == []
        assert layers_of(guarded.calls(loop(1, start=9))) == ["dumb_loop_detector"]

    @pytest.mark.requirement("B-025", "B-050")
    def test_a_resume_where_no_flag_stands_is_done_all_the_same(self) -> None:
        effects = GuardedOrg().report(Resume(reason="manual_resume"))
        assert standing_of(effects).state == "ok"
        assert len(effects.commands) == 1

    def test_a_flag_of_a_project_stops_the_project_alone(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, scope=Scope.PROJECT, hard_usd=1)))
        effects = guarded.calls([a_call(0, usd=2, project="a"), a_call(1, usd=0.5, project="b")])
        assert [trip.found.guarded for trip in effects.trips] == [(Scope.PROJECT, "a")]
        assert guarded.account(2).standing.state == "ok"
        assert [(flag.scope, flag.scope_id) for flag in guarded.account(2).flags] == [(Scope.PROJECT, "a")]


class TestMoney:
    @pytest.mark.requirement("B-033", "X-53")
    @pytest.mark.parametrize(
        ("period", "next_period_seconds"), [(Period.HOUR, HOUR), (Period.DAY, DAY), (Period.MONTH, 20 * DAY)]
    )
    def test_a_hard_cap_suspends_in_its_period(self, period: Period, next_period_seconds: int) -> None:
        guarded = GuardedOrg(capped(Cap(period=period, hard_usd=10), ttl_seconds=1))
        assert layers_of(guarded.calls([a_call(0, usd=9.99)])) == []
        passed = guarded.calls([a_call(1, usd=0.01)])
        assert layers_of(passed) == ["financial_limits"]
        assert passed.trips[0].found.reason.startswith("Budget Exceeded: 10.00 of 10.00 USD")
        assert layers_of(guarded.calls([a_call(10, usd=0.01)])) == ["financial_limits"]
        assert layers_of(guarded.calls([a_call(next_period_seconds, usd=9)])) == []

    @pytest.mark.requirement("B-033")
    def test_a_soft_cap_warns_at_half_at_four_fifths_and_at_all_of_it(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, soft_usd=10)))
        told = [guarded.calls([a_call(n, usd=1)]).trips for n in range(12)]
        reasons = [trip.found.reason.partition(" of")[0] for trips in told for trip in trips]
        assert reasons == ["50 %", "80 %", "100 %"]
        assert guarded.account(20).standing.state == "ok"

    @pytest.mark.requirement("B-033")
    def test_a_warning_is_told_where_somebody_notices(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, soft_usd=10, hard_usd=11)))
        effects = guarded.calls([a_call(0, usd=8.5)])
        told = decode_payload(effects.commands[0])
        assert isinstance(told, Warn)
        assert [(one.cap, one.percent, one.spent_usd, one.limit_usd) for one in told.warnings] == [
            ("day org", 80, 8.5, 10)
        ]
        assert standing_of(effects).state == "ok", "who waits is answered by that command"
        assert [cap.warned_percent for cap in guarded.account(1).caps] == [80]
        assert not guarded.calls([a_call(2, usd=1)]).commands
        both = guarded.calls([a_call(3, usd=2)]).commands
        assert [decode_payload(command).kind for command in both] == ["guardrail.suspend"]
        assert [cap.warned_percent for cap in guarded.account(DAY).caps] == [0]

    def test_a_hard_cap_that_only_warns_does_so_once(self) -> None:
        limits = FinancialLimits(mode=Mode.WARN, caps=[Cap(period=Period.DAY, hard_usd=1)])
        guarded = GuardedOrg(GuardrailPolicy(financial_limits=limits))
        told = [guarded.calls([a_call(n, usd=1)]).trips for n in range(3)]
        assert [[trip.warning.percent for trip in trips if trip.warning] for trips in told] == [[100], [], []]

    def test_of_a_cap_for_each_user_the_status_shows_who_was_warned(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, scope=Scope.USER, soft_usd=1)))
        for n in range(300):
            guarded.calls([a_call(n, usd=0.6 if n % 2 else 0.1, user=f"user/{n}")])
        caps = guarded.account(400).caps
        assert [(cap.id, cap.warned_percent) for cap in caps] == [(f"user/{n}", 50) for n in range(101, 300, 2)]
        assert not guarded.calls([a_call(401, usd=0.1, user="user/1")]).trips, "what was told is kept beside its spend"
        assert guarded.calls([a_call(402, usd=0.2, user="user/1")]).trips

    @pytest.mark.parametrize("named", ["gpt-4o", "gpt-4o-2024-08-06"])
    def test_a_cap_on_a_model_sees_what_was_asked_and_what_answered(self, named: str) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, scope=Scope.MODEL, id=named, hard_usd=1.0)))
        asked_at_the_edge = a_call(
            0, usd=0.5, model="gpt-4o", answered_model="gpt-4o-2024-08-06", source=CallSource.EDGE
        )
        told_by_otlp = a_call(1, usd=0.5, model="gpt-4o", answered_model="gpt-4o-2024-08-06", source=CallSource.OTLP)
        first, second = guarded.one_by_one([asked_at_the_edge, told_by_otlp])
        assert (layers_of(first), layers_of(second)) == ([], ["financial_limits"])
        [trip] = second.trips
        assert trip.found.guarded == (Scope.MODEL, named)

    def test_a_cap_that_was_passed_begins_anew_after_a_resume(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=10)))
        guarded.calls([a_call(0, usd=12)])
        guarded.report(Resume(reason="manual_resume"), 1)
        assert layers_of(guarded.calls([a_call(2, usd=9)])) == []
        assert layers_of(guarded.calls([a_call(3, usd=1)])) == ["financial_limits"]

    def test_late_spend_counts_in_its_own_day(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=10)))
        assert layers_of(guarded.calls([a_call(-DAY, usd=50)], at_seconds=0)) == []
        account = guarded.account(1)
        assert (account.day_nano, account.month_nano) == (0, nano(50))

    def test_sums_are_exact(self) -> None:
        guarded = GuardedOrg()
        for second in range(1_000):
            guarded.calls([a_call(second, usd=0.1)])
        assert guarded.account(1_001).day_nano == 100 * nano(1)


class TestStrictBudgets:
    @pytest.mark.requirement("F54")
    def test_of_256_that_ask_at_once_as_many_go_as_fit(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=1)))
        answers = [guarded.report(Reserve(id=f"r{n}", cost_nano=nano(0.01))) for n in range(256)]
        granted = [n for n, effects in enumerate(answers) if effects.verdict and effects.verdict[1].outcome == "done"]
        assert granted == list(range(100))
        refused = answers[100].verdict
        assert refused is not None
        assert (refused[1].status, json.loads(refused[1].body)["code"]) == (429, "budget_exceeded")
        assert budget_of(answers[99]).left_nano == 0

    @pytest.mark.requirement("F54")
    def test_what_is_not_used_returns_when_it_is_settled(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=1)))
        guarded.report(Reserve(id="a", cost_nano=nano(1)))
        assert not granted(guarded.report(Reserve(id="b", cost_nano=nano(0.5))))
        guarded.report(Settle(id="a", call=a_call(0, usd=0.25)), 1)
        assert granted(guarded.report(Reserve(id="b", cost_nano=nano(0.75)), 2))
        account = guarded.account(3)
        assert (account.day_nano, account.reserved_nano) == (nano(0.25), nano(0.75))

    def test_one_that_is_never_settled_lapses(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=1)))
        guarded.report(Reserve(id="a", cost_nano=nano(1), ttl_seconds=60))
        assert not granted(guarded.report(Reserve(id="b", cost_nano=1), 59))
        assert granted(guarded.report(Reserve(id="b", cost_nano=1), 60))

    def test_asked_again_it_is_the_same_one(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=1)))
        first, again = (budget_of(guarded.report(Reserve(id="a", cost_nano=nano(1)))) for _ in range(2))
        assert first == again
        assert guarded.account().reservations == 1

    def test_of_a_call_that_was_not_made_nothing_is_left(self) -> None:
        guarded = GuardedOrg(capped(Cap(period=Period.DAY, hard_usd=1)))
        guarded.report(Reserve(id="a", cost_nano=nano(1)))
        guarded.report(Settle(id="a"))
        account = guarded.account()
        assert (account.day_nano, account.reservations) == (0, 0)

    def test_every_cap_that_counts_the_call_must_have_room(self) -> None:
        caps = (Cap(period=Period.DAY, hard_usd=10), Cap(period=Period.MONTH, scope=Scope.USER, hard_usd=1))
        guarded = GuardedOrg(capped(*caps))
        assert granted(guarded.report(Reserve(id="a", cost_nano=nano(1), user="ann")))
        assert not granted(guarded.report(Reserve(id="b", cost_nano=1, user="ann")))
        assert granted(guarded.report(Reserve(id="c", cost_nano=nano(1), user="bob")))

    def test_under_a_flag_nothing_is_granted(self) -> None:
        guarded = GuardedOrg()
        guarded.report(Enforce(layer="manual", reason="a look"))
        assert not granted(guarded.report(Reserve(id="a", cost_nano=1), 1))


class TestTheSameAgain:
    """A record that is read again: before it was saved the same is decided, after it nothing."""

    def test_after_it_was_saved(self) -> None:
        guarded = GuardedOrg()
        guarded.calls(loop(3))
        fourth = guarded.calls(loop(1, start=3))
        assert fourth.commands
        assert guarded.decide(guarded.log[-1]) == GuardEffects()
        assert guarded.account(10).day_nano == 4 * nano(0.001)

    def test_before_it_was_saved(self) -> None:
        one, other = GuardedOrg(), GuardedOrg()
        for guarded in (one, other):
            guarded.calls(loop(3))
        assert one.calls(loop(1, start=3)) == other.calls(loop(1, start=3))

    @pytest.mark.parametrize("seed", range(5))
    def test_a_replay_of_the_whole_log_decides_the_same(self, seed: int) -> None:
        chance = random.Random(seed)
        guarded = GuardedOrg(capped(Cap(period=Period.HOUR, hard_usd=1, soft_usd=0.5), burst=Burst(per_minute=40)))
        effects = []
        for second in range(300):
            match chance.randrange(12):
                case 0:
                    effects.append(guarded.report(Resume(reason="r"), second))
                case 1:
                    effects.append(guarded.report(Reserve(id=f"r{second}", cost_nano=nano(0.1)), second))
                case 2:
                    effects.append(guarded.report(Settle(id=f"r{second - 5}", call=a_call(second)), second))
                case _:
                    ids = [LOOP, f"sha256:{second}"]
                    calls = [
                        a_call(second - chance.randrange(30), usd=0.01, fingerprint=chance.choice(ids))
                        for _ in range(chance.randrange(1, 6))
                    ]
                    effects.append(guarded.report(ModelCalls(calls=calls), second))
        again = GuardedOrg()
        assert [again.decide(asked) for asked in guarded.log][1:] == effects
        assert any(layers_of(one) for one in effects)


class TestPolicy:
    @pytest.mark.requirement("B-039")
    def test_it_goes_to_control_and_counts_from_then_on(self) -> None:
        guarded = GuardedOrg()
        policy = GuardrailPolicy(dumb_loop=DumbLoop(repeats=2), smart_loop=SmartLoop(mode=Mode.OFF))
        effects = guarded.report(SetPolicy(policy=policy))
        payload = decode_payload(effects.commands[0])
        assert isinstance(payload, ReplacePolicy)
        assert (payload.policy, payload.version) == (policy, 1)
        assert msgspec.json.decode(payload.answer, type=GuardrailPolicy) == policy
        assert layers_of(guarded.calls(loop(2))) == ["dumb_loop_detector"]


def granted(effects: GuardEffects) -> bool:
    assert effects.verdict is not None
    assert effects.verdict[0] == REPLY.partition
    return effects.verdict[1].outcome == "done"
