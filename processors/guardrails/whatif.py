"""What a changed policy would have done: the log's calls run over it and over the present one.

A trial is a fold of the same decisions over tables in memory. A call that was made while the trial's flag stood would
have been refused: it is counted as blocked and saved, and feeds no window. Flags by hand and resumes are as they were.
Spend before the span is counted first, from the month's beginning, so that caps know what had been spent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from domain.guardrails.counting import parts_of
from domain.guardrails.decide import decide
from domain.guardrails.state import GuardState, in_memory
from domain.guardrails.values import GuardRequest, Organization
from operations.kafka_clients import reader_config, reason_of
from schemas.codec import Undecodable
from schemas.entities import KillFlag
from schemas.guardrail_policy import DEFAULT_POLICY, FinancialLimits, GuardrailPolicy, Layer, Mode, Scope
from schemas.records import Telemetry
from schemas.telemetry import ModelCall, ModelCalls, SetPolicy, decode_payload
from schemas.topics import Topic

ANSWER_SECONDS = 30.0
Policies = Mapping[str, GuardrailPolicy]
"""By workspace; where there is none the default's."""


class LogUnreadable(Exception):
    """The message says why."""


@dataclass
class LayerResult:
    trips: int = 0
    warnings: int = 0
    blocked: int = 0
    saved_nano: int = 0


@dataclass
class Result:
    """Of one policy over a span: how many calls there were, and by layer what it would have done."""

    calls: int = 0
    cost_nano: int = 0
    layers: dict[str, LayerResult] = field(default_factory=dict)

    def layer(self, name: str) -> LayerResult:
        return self.layers.setdefault(name, LayerResult())

    @property
    def blocked(self) -> int:
        return sum(layer.blocked for layer in self.layers.values())

    @property
    def saved_nano(self) -> int:
        return sum(layer.saved_nano for layer in self.layers.values())


class Trial:
    """One policy's. Records come in each partition's order; those before `since_ms` only spend."""

    def __init__(self, policies: Policies, since_ms: int, new: GuardrailPolicy | None = None) -> None:
        self.result = Result()
        self._policies = policies
        self._new = new
        self._since_ms = since_ms
        self._state: GuardState = in_memory()

    def add(self, request: GuardRequest) -> None:
        workspace = request.record.workspace
        policy = self._new or self._policies.get(workspace, DEFAULT_POLICY)
        if isinstance(request.payload, SetPolicy):
            return
        if request.append_ms < self._since_ms:
            if isinstance(request.payload, ModelCalls):
                decide(self._state, request, _only_counting(policy))
            return
        if isinstance(request.payload, ModelCalls):
            kept = self._unblocked(request.payload.calls, self._state.organization(workspace), request.append_ms)
            request = replace(request, payload=ModelCalls(calls=kept))
        for trip in decide(self._state, request, policy).trips:
            layer = self.result.layer(trip.layer)
            layer.trips += trip.mode is Mode.ENFORCE
            layer.warnings += trip.mode is Mode.WARN

    def _unblocked(self, calls: Iterable[ModelCall], organization: Organization, append_ms: int) -> list[ModelCall]:
        kept = []
        for call in calls:
            self.result.calls += 1
            self.result.cost_nano += call.cost_nano
            flag = _flag_over(call, organization.flags, min(call.ts_ms, append_ms))
            if flag is None:
                kept.append(call)
            else:
                layer = self.result.layer(flag.layer)
                layer.blocked += 1
                layer.saved_nano += call.cost_nano
        return kept


def _flag_over(call: ModelCall, flags: Iterable[KillFlag], at_ms: int) -> KillFlag | None:
    for flag in flags:
        if flag.created_ms <= at_ms and flag.holds(at_ms):
            if flag.scope is Scope.ORG:
                return flag
            if (flag.scope, flag.scope_id) in parts_of(
                call.key_id, call.project, call.model, call.user, call.answered_model
            ):
                return flag
    return None


def _only_counting(policy: GuardrailPolicy) -> GuardrailPolicy:
    """Nothing trips; the caps are kept, as they say whose spend is counted."""
    off: dict[str, Any] = {
        name: msgspec.structs.replace(value, mode=Mode.OFF)
        for name, value in msgspec.structs.asdict(policy).items()
        if hasattr(value, "mode")
    }
    limits = FinancialLimits(mode=Mode.OFF, caps=policy.financial_limits.caps)
    return msgspec.structs.replace(policy, **off | {"financial_limits": limits})


def warm_up_ms(since_ms: int) -> int:
    """From when on spend is counted: the beginning of the month that `since_ms` lies in."""
    since = datetime.fromtimestamp(since_ms / 1_000, UTC)
    return int(datetime(since.year, since.month, 1, tzinfo=UTC).timestamp() * 1_000)


def compare(
    records: Iterable[GuardRequest], policies: Policies, new: GuardrailPolicy, since_ms: int
) -> tuple[Result, Result]:
    """What the present policies and the new one would have done."""
    trials = Trial(policies, since_ms), Trial(policies, since_ms, new)
    for request in records:
        for trial in trials:
            trial.add(request)
    return trials[0].result, trials[1].result


# The log


class _Span(NamedTuple):
    partition: int
    start: int
    end: int


def telemetry(bootstrap: str, from_ms: int, workspace: str | None = None) -> Iterator[GuardRequest]:
    """What is on `burn.telemetry` since then, partition by partition. Raises LogUnreadable."""
    consumer = Consumer(reader_config(bootstrap, "guardrails-whatif"))
    try:
        for span in _spans(consumer, from_ms):
            consumer.assign([TopicPartition(Topic.BURN_TELEMETRY, span.partition, span.start)])
            yield from _read(consumer, span, workspace)
    except KafkaException as error:
        raise LogUnreadable(f"the log can't be read: {reason_of(error)}") from error
    finally:
        consumer.close()


def _spans(consumer: Consumer, from_ms: int) -> list[_Span]:
    topic = consumer.list_topics(Topic.BURN_TELEMETRY, timeout=ANSWER_SECONDS).topics[Topic.BURN_TELEMETRY]
    times = [TopicPartition(Topic.BURN_TELEMETRY, partition, from_ms) for partition in sorted(topic.partitions)]
    spans = []
    for found in consumer.offsets_for_times(times, timeout=ANSWER_SECONDS):
        _low, end = consumer.get_watermark_offsets(found, timeout=ANSWER_SECONDS)
        start = end if found.offset in (OFFSET_END, -1) else found.offset
        if start < end:
            spans.append(_Span(found.partition, start, end))
    return spans


def _read(consumer: Consumer, span: _Span, workspace: str | None) -> Iterator[GuardRequest]:
    while True:
        message = consumer.poll(ANSWER_SECONDS)
        if message is None:
            raise LogUnreadable(f"partition {span.partition} gave nothing for {ANSWER_SECONDS:.0f} s")
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if (
            error is None
            and (request := _request_of(message)) is not None
            and workspace in (None, request.record.workspace)
        ):
            yield request
        if (message.offset() or 0) + (error is None) >= span.end:
            return


def _request_of(message: Message) -> GuardRequest | None:
    """None for what the guardrails set aside."""
    try:
        record = Telemetry.decode(message.value())
        return GuardRequest(record, decode_payload(record), message.timestamp()[1], message.offset() or 0)
    except Undecodable:
        return None


def rows_of(before: Result, after: Result) -> Iterator[tuple[str, LayerResult, LayerResult]]:
    """Of each layer that did anything, and of flags by hand, what the two would have done."""
    done = Counter([*before.layers, *after.layers])
    order = [*(str(layer) for layer in Layer if layer in done), *(name for name in done if name not in tuple(Layer))]
    for name in order:
        yield name, before.layers.get(name, LayerResult()), after.layers.get(name, LayerResult())
