"""One proxied call, from its request to its telemetry (`ModelCall`) with usage and cost."""

import time
from dataclasses import dataclass, field
from functools import cache

from multidict import CIMultiDict

from domain.guardrails.prices import Cost, cost_of, rates_of
from ingest_gateway import metrics
from ingest_gateway.surfaces.burn.edge.endpoints import Kind
from ingest_gateway.surfaces.burn.edge.errors_inside import ErrorWatch
from ingest_gateway.surfaces.burn.edge.inspection import MODEL_CHARACTERS_MAX, Inspected, estimate_tokens
from ingest_gateway.surfaces.burn.edge.providers import Provider, ProviderTarget
from ingest_gateway.surfaces.burn.edge.telemetry import Caller
from ingest_gateway.surfaces.burn.edge.usage import BodyReader, CallUsage, StreamReader
from operations import clock
from schemas.guardrail_policy import NANO_PER_USD, Guarded, Scope
from schemas.telemetry import CallSource, ModelCall, Price, UsageFrom

_first_byte = cache(metrics.EDGE_FIRST_BYTE_SECONDS.labels)
_NO_USAGE = metrics.EDGE_USAGE.labels("none")
_USAGE = {came: metrics.EDGE_USAGE.labels(came.name.lower()) for came in (UsageFrom.REPORTED, UsageFrom.ESTIMATED)}
EVENT_STREAM = "text/event-stream"
_SAY_NOTHING = frozenset({"text/plain", "application/octet-stream"})  # the latter is aiohttp's word for none, too
CLIENT_LEFT = 499
BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504


class LengthReader:
    """Estimates the usage of an answer that can't be inspected, by its length."""

    def __init__(self) -> None:
        self._bytes = 0

    def feed(self, piece: bytes) -> None:
        self._bytes += len(piece)

    def usage(self, prompt_characters: int) -> CallUsage:
        return CallUsage(estimate_tokens(prompt_characters), estimate_tokens(self._bytes), estimated=True)


UsageReader = StreamReader | BodyReader | LengthReader


@dataclass(slots=True)
class ProxiedCall:
    """`headers`: the request headers passed on. `status`: the provider's, or ours where the provider gave none (not
    `answered`). `reader`, `errors`: set once a good answer has begun; an answer with an error inside gets that error's
    status at its end (errors_inside.py)."""

    id: str
    provider: Provider
    target: ProviderTarget
    caller: Caller
    asked: Inspected
    labels: dict[str, str]
    retries: int | None
    headers: CIMultiDict[str]
    started_ns: int = field(default_factory=time.monotonic_ns)
    ts_ms: int = field(default_factory=lambda: clock.now_ms())
    status: int = CLIENT_LEFT
    reader: UsageReader | None = None
    errors: ErrorWatch | None = None
    reservation: str = ""
    answered: bool = False

    @property
    def guarded(self) -> list[Guarded]:
        """What a flag may stop besides the organization."""
        named = (
            (Scope.PROJECT, self.labels.get("project")),
            (Scope.KEY, self.caller.key_id),
            (Scope.MODEL, self.asked.model),
            (Scope.USER, self.labels.get("user")),
        )
        return [Guarded(scope, name) for scope, name in named if name]

    def begin_answer(self, status: int, content_type: str, coded: bool) -> None:
        """An error's answer costs nothing, nor does one of a free endpoint."""
        self.status, self.answered = status, True
        _first_byte(self.provider.name).observe((time.monotonic_ns() - self.started_ns) / 1_000_000_000)
        if status >= 400 or self.target.kind is Kind.FREE:
            return
        if coded:
            self.reader = LengthReader()
            return
        is_stream = self.is_stream(content_type)
        self.errors = ErrorWatch(streams=is_stream)
        if is_stream:
            self.reader = StreamReader()
        else:
            self.reader = BodyReader() if content_type.endswith("json") else LengthReader()

    def is_stream(self, content_type: str) -> bool:
        """Whether the answer is an event stream. Some servers and proxies send one with a type that says nothing."""
        return content_type == EVENT_STREAM or (self.asked.streams and content_type in _SAY_NOTHING)

    def feed(self, piece: bytes) -> None:
        """A piece of the answer, as the provider sent it."""
        if self.reader is not None:
            self.reader.feed(piece)
        if self.errors is not None:
            self.errors.feed(piece)

    def told(self) -> ModelCall:
        failed = None if self.errors is None else self.errors.status
        if failed is not None:
            self.status = failed
            self.reader = self.reader if self._wrote_something() else None
        usage, usage_from = self._usage()
        answered = usage.model[:MODEL_CHARACTERS_MAX]
        model = self.asked.model or answered
        cost = self._cost(answered if rates_of(answered) is not None else model, usage)
        return ModelCall(
            ts_ms=self.ts_ms,
            provider=self.provider.name,
            model=model,
            status=self.status,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            cost_nano=cost.nano,
            fingerprint=self.asked.fingerprint,
            key_id=self.caller.key_id,
            endpoint=self.target.endpoint,
            latency_ms=(time.monotonic_ns() - self.started_ns) // 1_000_000,
            stream=self.asked.streams,
            cached_tokens=usage.cached_tokens,
            event_id=self.id,
            retry_count=self.retries or 0,
            price=cost.price,
            usage=usage_from,
            source=CallSource.EDGE,
            answered_model="" if answered == model else answered,
            **self.labels,
        )

    def _usage(self) -> tuple[CallUsage, UsageFrom]:
        """What was sent but not answered may have cost its prompt; what was refused has not."""
        if self.reader is not None:
            usage = self.reader.usage(self.asked.prompt_characters)
            if isinstance(self.reader, StreamReader) and self.reader.frames_unread:
                metrics.EDGE_FRAMES_UNREAD.inc(self.reader.frames_unread)
            came = UsageFrom.ESTIMATED if usage.estimated else UsageFrom.REPORTED
        elif not self.answered and self.status != BAD_GATEWAY:
            usage, came = (
                CallUsage(estimate_tokens(self.asked.prompt_characters), 0, estimated=True),
                UsageFrom.ESTIMATED,
            )
        else:
            _NO_USAGE.inc()
            return CallUsage(0, 0), UsageFrom.REPORTED
        _USAGE[came].inc()
        return usage, came

    def _wrote_something(self) -> bool:
        """Whether an answer with an error inside has usage or text."""
        if self.reader is None or isinstance(self.reader, LengthReader):
            return False
        usage = self.reader.usage(0)
        return bool(usage.tokens_in or usage.tokens_out or usage.cost_usd)

    @staticmethod
    def _cost(model: str, usage: CallUsage) -> Cost:
        if usage.cost_usd is not None:
            return Cost(round(usage.cost_usd * NANO_PER_USD), Price.GIVEN)
        return cost_of(
            model,
            usage.tokens_in,
            usage.tokens_out,
            usage.cached_tokens,
            written_tokens=usage.written_tokens,
            written_long_tokens=usage.written_long_tokens,
        )
