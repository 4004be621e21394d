"""How providers report a call's usage: where (`USAGE`), and in which convention (`CONVENTIONS`).

Sources: the types of the SDKs openai 3.54, anthropic 2.12, google-genai 3.6, mistralai 3.7, groq 1.7, botocore 1.44
(bedrock-runtime) and langfuse 5.0, and the providers' API references.

Each member is read by itself: one that can't be read counts as absent and does not affect the others. All numbers are
tokens. `tokens_in` counts the whole input, including what was read from and written into the cache.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

TOKENS_MAX = 1 << 40
COST_USD_MAX = 1_000_000


class Cache(StrEnum):
    """Whether the input's count includes the tokens read from and written into the cache."""

    INSIDE = "inside"
    SEPARATE = "separate"


class Convention(NamedTuple):
    """Members by dotted paths; the first that can be read counts. `known_by`: an object is read by the first convention
    of which it has one of these members. `more_in`, `more_out`: not included in the input and output, so each is added;
    a name that ends in `*` is a prefix. `iterations`: the kinds of entries in the list of that name whose tokens the
    other members leave out.
    """

    name: str
    known_by: frozenset[str]
    tokens_in: tuple[str, ...] = ()
    tokens_out: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    written_long: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    more_in: tuple[str, ...] = ()
    more_out: tuple[str, ...] = ()
    cache: Cache = Cache.INSIDE
    cost: tuple[str, ...] = ()
    iterations: tuple[str, ...] = ()


_READ, _WRITTEN = "cache_read_input_tokens", "cache_creation_input_tokens"
_FOR_AN_HOUR = "cache_creation.ephemeral_1h_input_tokens"
_COSTS = ("cost", "cost.total_cost", "cost.total", "estimated_cost")  # the last is DeepInfra's

CHAT = Convention(
    "chat",
    frozenset({"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}),
    ("prompt_tokens",),
    ("completion_tokens",),
    ("total_tokens",),
    cached=("prompt_tokens_details.cached_tokens", "prompt_cache_hit_tokens", "cached_tokens", _READ),
    written=("prompt_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_creation_tokens", _WRITTEN),
    written_long=(
        "prompt_tokens_details.cache_write_tokens_details.ttl_12h_tokens",
        *("prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens", _FOR_AN_HOUR),
    ),
    reasoning=("completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
    cost=_COSTS,
)
ANTHROPIC = Convention(
    "anthropic",
    frozenset({_READ, _WRITTEN, "cache_creation", "iterations"}),
    ("input_tokens",),
    ("output_tokens",),
    cached=(_READ,),
    written=(_WRITTEN, "cache_creation.ephemeral_5m_input_tokens"),
    written_long=(_FOR_AN_HOUR,),
    reasoning=("output_tokens_details.thinking_tokens",),
    cache=Cache.SEPARATE,
    cost=_COSTS,
    iterations=("compaction", "advisor_message"),
)
RESPONSES = Convention(
    "responses",
    frozenset({"input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"}),
    ("input_tokens",),
    ("output_tokens",),
    ("total_tokens",),
    cached=("input_tokens_details.cached_tokens",),
    written=("input_tokens_details.cache_write_tokens",),
    written_long=("input_tokens_details.cache_write_tokens_details.ttl_12h_tokens",),
    reasoning=("output_tokens_details.reasoning_tokens",),
    cost=_COSTS,
)
GEMINI = Convention(
    "gemini",
    frozenset({"promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"}),
    ("promptTokenCount",),
    ("candidatesTokenCount", "responseTokenCount"),
    ("totalTokenCount",),
    cached=("cachedContentTokenCount",),
    more_in=("toolUsePromptTokenCount",),
    more_out=("thoughtsTokenCount",),
)
CONVERSE = Convention(
    "converse",
    frozenset({"inputTokens", "outputTokens", "totalTokens"}),
    ("inputTokens",),
    ("outputTokens",),
    ("totalTokens",),
    cached=("cacheReadInputTokens", "cacheReadInputTokenCount"),
    written=("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    written_long=("cacheDetails",),
    cache=Cache.SEPARATE,
)
INVOCATION_METRICS = Convention(
    "invocation metrics",
    frozenset({"inputTokenCount", "outputTokenCount"}),
    ("inputTokenCount",),
    ("outputTokenCount",),
    cached=("cacheReadInputTokenCount",),
    written=("cacheWriteInputTokenCount",),
    cache=Cache.SEPARATE,
)
COHERE = Convention(
    "cohere",
    frozenset({"tokens", "billed_units"}),
    ("tokens.input_tokens", "billed_units.input_tokens"),
    ("tokens.output_tokens", "billed_units.output_tokens"),
)
LANGFUSE = Convention(
    "langfuse",
    frozenset({"input", "output"}),
    ("input",),
    ("output",),
    ("total",),
    cached=("input_cached_tokens", "cache_read_input_tokens", "input_cache_read"),
    written=("input_cache_creation", "cache_creation_input_tokens"),
    written_long=("input_ephemeral_1h_input_tokens",),
    more_in=("input_*", "cache_*", "cached_*"),
    more_out=("output_*",),
)
"""Each token in one member: what has a name of its own is taken out of `input` and `output`."""
TOTAL_ONLY = Convention(
    "total only",
    frozenset({"total_tokens", "total", *_COSTS[:1]}),
    total=("total_tokens", "total"),
    cost=_COSTS,
)
CONVENTIONS = (
    *(LANGFUSE, CHAT, ANTHROPIC, RESPONSES, GEMINI, CONVERSE, INVOCATION_METRICS, COHERE),
    TOTAL_ONLY,
)


class When(StrEnum):
    """`SO_FAR`: frames tell the state so far, the last is whole; `BEGUN`: of the output, only what is there already."""

    BODY = "in the body"
    LAST = "in the last frame"
    SO_FAR = "so far, in every frame"
    BEGUN = "of the beginning, in the first frame"


class UsageLocation(NamedTuple):
    """Where usage is in a frame or body. `path` is dotted; `[]` is each item of a list."""

    provider: str
    endpoint: str
    when: When
    path: str
    convention: Convention


USAGE = (
    UsageLocation("openai", "/chat/completions", When.BODY, "usage", CHAT),
    UsageLocation("openai", "/chat/completions", When.LAST, "usage", CHAT),
    UsageLocation("openai", "/completions", When.BODY, "usage", CHAT),
    UsageLocation("openai", "/embeddings", When.BODY, "usage", CHAT),
    UsageLocation("openai", "/responses", When.BODY, "usage", RESPONSES),
    UsageLocation("openai", "/responses", When.LAST, "response.usage", RESPONSES),
    UsageLocation("openai", "/images/generations", When.BODY, "usage", RESPONSES),
    UsageLocation("anthropic", "/messages", When.BODY, "usage", ANTHROPIC),
    UsageLocation("anthropic", "/messages", When.BEGUN, "message.usage", ANTHROPIC),
    UsageLocation("anthropic", "/messages", When.SO_FAR, "usage", ANTHROPIC),
    UsageLocation("gemini", ":generateContent", When.BODY, "usageMetadata", GEMINI),
    UsageLocation("gemini", ":streamGenerateContent", When.SO_FAR, "usageMetadata", GEMINI),
    UsageLocation("gemini", "/chat/completions", When.BODY, "usage", CHAT),
    UsageLocation("openrouter", "/chat/completions", When.BODY, "usage", CHAT),
    UsageLocation("openrouter", "/chat/completions", When.LAST, "usage", CHAT),
    UsageLocation("mistral", "/chat/completions", When.LAST, "usage", CHAT),
    UsageLocation("deepseek", "/chat/completions", When.LAST, "usage", CHAT),
    UsageLocation("xai", "/chat/completions", When.BODY, "usage", CHAT),
    UsageLocation("perplexity", "/chat/completions", When.SO_FAR, "usage", CHAT),
    UsageLocation("vllm", "/chat/completions", When.SO_FAR, "usage", CHAT),
    UsageLocation("groq", "/chat/completions", When.LAST, "x_groq.usage", CHAT),
    UsageLocation("moonshot", "/chat/completions", When.LAST, "choices[].usage", CHAT),
    UsageLocation("voyage", "/embeddings", When.BODY, "usage", TOTAL_ONLY),
    UsageLocation("bedrock", "/converse", When.BODY, "usage", CONVERSE),
    UsageLocation("bedrock", "/converse-stream", When.LAST, "metadata.usage", CONVERSE),
    UsageLocation("bedrock", "/invoke", When.LAST, "amazon-bedrock-invocationMetrics", INVOCATION_METRICS),
    UsageLocation("cohere", "/v2/chat", When.BODY, "usage", COHERE),
    UsageLocation("cohere", "/v2/chat", When.LAST, "delta.usage", COHERE),
)


class Counts(NamedTuple):
    """The counts that one object reports; None and 0: none. `written_long` is a part of `written`. `cost_usd`: if the
    provider reports it.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    total: int | None = None
    cached: int = 0
    written: int = 0
    written_long: int = 0
    cost_usd: float | None = None

    def bounded(self) -> "Counts":
        """Each count is at most TOKENS_MAX, sums too."""
        numbers = {name: getattr(self, name) for name in self._fields if name != "cost_usd"}
        return self._replace(**{name: min(number, TOKENS_MAX) for name, number in numbers.items() if number})

    def merged(self, other: "Counts") -> "Counts":
        """The counts of one call from two reports: counts grow during a stream, so the larger one is the later one."""
        return Counts(*(_larger(ours, theirs) for ours, theirs in zip(self, other, strict=True)))

    def completed(self) -> "Counts":
        """With the counts that follow from the total. What exceeds input and output is output: some providers count
        reasoning only in the total.
        """
        tokens_in, tokens_out, total = self.tokens_in, self.tokens_out, self.total
        if total is None:
            return self
        if tokens_in is not None:
            return self._replace(tokens_out=max(tokens_out or 0, total - tokens_in))
        if tokens_out is not None and total >= tokens_out:
            return self._replace(tokens_in=total - tokens_out)
        return self


def read_counts(usage: Any) -> Counts | None:
    """None if the object has no known convention, or no member of it can be read."""
    if not isinstance(usage, dict):
        return None
    known = (one for one in CONVENTIONS if any(usage.get(name) is not None for name in one.known_by))
    found = [counts.bounded() for convention in known if (counts := _read(usage, convention)) != Counts()]
    # gateways that speak several conventions write them all, those of which they know nothing as zeros
    return next((counts for counts in found if counts.tokens_in or counts.tokens_out), found[0] if found else None)


def _read(usage: dict[str, Any], convention: Convention) -> Counts:
    tokens_in = _plus(_first(usage, convention.tokens_in), usage, convention.more_in)
    tokens_out = _plus(_first(usage, convention.tokens_out), usage, convention.more_out)
    total = _first(usage, convention.total)
    cached = _first(usage, convention.cached) or 0
    written = _first(usage, convention.written) or 0
    written_long = _first(usage, convention.written_long) or 0
    written = max(written, written_long)  # all writes, reported apart from the long ones
    cache = cached + written
    is_separate = convention.cache is Cache.SEPARATE or _is_separate(tokens_in, tokens_out, total, cache)
    if is_separate and (cache or tokens_in is not None):
        tokens_in = (tokens_in or 0) + cache
    reasoning = _first(usage, convention.reasoning) or 0
    if reasoning > (tokens_out or 0):  # else it is a part of the output, as everybody but a few counts it
        tokens_out = (tokens_out or 0) + reasoning
    counts = Counts(tokens_in, tokens_out, total, cached, written, written_long, _cost(usage, convention))
    return _with_iterations(counts, usage, convention) if convention.iterations else counts


def _with_iterations(counts: Counts, usage: dict[str, Any], convention: Convention) -> Counts:
    iterations = usage.get("iterations")
    for entry in iterations if isinstance(iterations, list) else ():
        if isinstance(entry, dict) and entry.get("type") in convention.iterations:
            more = read_counts(entry) or Counts()
            counts = counts._replace(
                tokens_in=(counts.tokens_in or 0) + (more.tokens_in or 0),
                tokens_out=(counts.tokens_out or 0) + (more.tokens_out or 0),
                cached=counts.cached + more.cached,
                written=counts.written + more.written,
                written_long=counts.written_long + more.written_long,
            )
    return counts


def _is_separate(tokens_in: int | None, tokens_out: int | None, total: int | None, cache: int) -> bool:
    """Whether a provider leaves the cache out of the input, although its convention includes it."""
    if not cache or tokens_in is None:
        return False
    return cache > tokens_in or total == tokens_in + (tokens_out or 0) + cache


def _plus(tokens: int | None, usage: dict[str, Any], names: Iterable[str]) -> int | None:
    starts = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    for name in (*names, *(name for name in usage if starts and name.startswith(starts))):
        more = whole(_at(usage, name))
        if more is not None:
            tokens = (tokens or 0) + more
    return tokens


def _first(usage: dict[str, Any], names: Iterable[str]) -> int | None:
    return next((found for name in names if (found := whole(_at(usage, name))) is not None), None)


def _at(usage: Any, path: str) -> Any:
    for name in path.split("."):
        usage = usage.get(name) if isinstance(usage, dict) else None
    return _for_an_hour(usage) if path == "cacheDetails" else usage


def _for_an_hour(details: Any) -> int | None:
    """Of Bedrock's `[{"ttl": "1h", "inputTokens": 7}]`."""
    if not isinstance(details, list):
        return None
    return sum(
        whole(one.get("inputTokens")) or 0 for one in details if isinstance(one, dict) and one.get("ttl") == "1h"
    )


def whole(value: Any) -> int | None:
    """A number of tokens, also written as text or with a fraction (rounded up); None for what is none."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= 40 else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return math.ceil(min(value, TOKENS_MAX))


def dollars(value: Any) -> float | None:
    """A cost, also written as text; None for what is none, and for one that no call has."""
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= 40 else None
        except ValueError:
            return None
    is_cost = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= COST_USD_MAX
    return value if is_cost else None


def _cost(usage: dict[str, Any], convention: Convention) -> float | None:
    """OpenRouter reports its fee and, for a call with the caller's own key, the provider's cost apart from it."""
    cost = next((cost for name in convention.cost if (cost := dollars(_at(usage, name))) is not None), None)
    upstream = dollars(_at(usage, "cost_details.upstream_inference_cost")) if usage.get("is_byok") is True else None
    return cost + upstream if cost is not None and upstream is not None else cost


def _larger(ours: Any, theirs: Any) -> Any:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return max(ours, theirs)
