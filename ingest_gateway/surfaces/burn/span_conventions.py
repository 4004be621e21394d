"""Lists the span attributes that are read, by meaning, and decides which spans are model calls.

| convention | written by |
|---|---|
| `gen_ai.*` | OpenTelemetry's semantic conventions for generative AI, today's and earlier names; Anthropic's SDK |
| `gen_ai.*`, `llm.request.type`, `traceloop.*` | OpenLLMetry |
| `gen_ai.usage.details.*`, `operation.cost` | Pydantic AI, Logfire |
| `llm.*`, `openinference.*`, `embedding.*` | OpenInference |
| `ai.*` | Vercel's AI SDK |
| `langfuse.observation.*` | Langfuse |

Where several names have one meaning, the first one that a span has counts. docs/guardrails.md lists them for users.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider")
ASKED_MODEL = (
    *("gen_ai.request.model", "llm.request.model_name", "ai.model.id", "langfuse.observation.model.name"),
    *("llm.model_name", "embedding.model_name"),
)
ANSWERED_MODEL = ("gen_ai.response.model", "llm.response.model_name", "ai.response.model")
RESPONSE_ID = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
TOKENS_IN = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    *("llm.token_count.prompt", "ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
)
TOKENS_OUT = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    *("llm.token_count.completion", "ai.usage.outputTokens", "ai.usage.completionTokens"),
)
TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens")
CACHED = (
    *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cached_tokens"),
    *("llm.token_count.prompt_details.cache_read", "ai.usage.inputTokenDetails.cacheReadTokens"),
    *("ai.usage.cachedInputTokens", "gen_ai.usage.details.cache_read_tokens"),
)
WRITTEN = (
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
    *("gen_ai.usage.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write"),
    *("ai.usage.inputTokenDetails.cacheWriteTokens", "gen_ai.usage.details.cache_write_tokens"),
)
WRITTEN_LONG = ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",)
REASONING = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    *("llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens"),
)
USAGE_IN_JSON = ("langfuse.observation.usage_details",)
"""An object as text, in one of usage_conventions.py."""
PROVIDER_METADATA = "ai.response.providerMetadata"
ANTHROPICS_CACHE_BY_VERCEL = {
    "cache_read_input_tokens": "cacheReadInputTokens",
    "cache_creation_input_tokens": "cacheCreationInputTokens",
}
COST = ("gen_ai.usage.cost", "atlasburn.cost_usd", "llm.cost.total", "operation.cost")
COST_IN_JSON = ("langfuse.observation.cost_details",)
USAGE = (*TOKENS_IN, *TOKENS_OUT, *TOTAL, *USAGE_IN_JSON)

PROMPT = (
    *("gen_ai.input.messages", "gen_ai.prompt", "gen_ai.system_instructions", "gen_ai.tool.definitions"),
    *("llm.input_messages", "llm.prompts", "llm.tools", "embedding.embeddings", "ai.prompt", "ai.value", "ai.values"),
    *("langfuse.observation.input", "input.value"),
)
"""Each also as the beginning of flattened names: `gen_ai.prompt.0.content`, `llm.input_messages.0.message.content`."""
ANSWER = (
    *("gen_ai.output.messages", "gen_ai.completion", "llm.output_messages", "ai.response.text"),
    *("ai.response.toolCalls", "ai.response.object", "langfuse.observation.output", "output.value"),
)
SESSION = ("atlasburn.session_id", "gen_ai.conversation.id", "session.id", "ai.telemetry.metadata.sessionId")
USER = ("atlasburn.user", "enduser.id", "user.id", "ai.telemetry.metadata.userId")
PROJECT = ("atlasburn.project", "service.name")
HTTP_STATUS = ("http.response.status_code", "http.status_code")


class Role(Enum):
    """What a span is. `UNSAID`: the span doesn't say; it is a call if it states usage."""

    CALL = "call"
    OTHER = "other"
    UNSAID = "unsaid"


_OPERATIONS: Mapping[str, Mapping[str, Role]] = {
    "gen_ai.operation.name": {
        **dict.fromkeys(("chat", "text_completion", "completion", "generate_content", "embeddings"), Role.CALL),
        **dict.fromkeys(("invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "plan"), Role.OTHER),
        **dict.fromkeys(("retrieval", "create_memory", "search_memory", "update_memory", "delete_memory"), Role.OTHER),
        "agent_step": Role.OTHER,  # of Vercel's `ai` 7
    },
    "openinference.span.kind": {
        **dict.fromkeys(("llm", "embedding"), Role.CALL),
        **dict.fromkeys(("agent", "chain", "tool", "retriever", "reranker", "guardrail"), Role.OTHER),
        **dict.fromkeys(("evaluator", "prompt", "decision", "unknown"), Role.OTHER),
    },
    "langfuse.observation.type": {
        **dict.fromkeys(("generation", "embedding"), Role.CALL),
        **dict.fromkeys(("span", "event", "agent", "tool", "chain", "retriever"), Role.OTHER),
        **dict.fromkeys(("evaluator", "guardrail"), Role.OTHER),
    },
    # OpenLLMetry's instrumentation of LlamaIndex calls every span a task, those of calls too
    "llm.request.type": dict.fromkeys(("chat", "completion", "embedding"), Role.CALL),
    "traceloop.span.kind": dict.fromkeys(("workflow", "task", "agent", "tool"), Role.OTHER),
}
_VERCEL, _VERCEL_CALLS = "ai.operationId", (".doGenerate", ".doStream", ".doEmbed")


def role_of(attributes: Mapping[str, Any]) -> Role:
    """A span's role by its own name for its kind; wrappers of calls (agents, `ai.streamText`) are not calls."""
    operation = attributes.get(_VERCEL)
    if isinstance(operation, str):
        return Role.CALL if operation.endswith(_VERCEL_CALLS) else Role.OTHER
    for name, roles in _OPERATIONS.items():
        said = attributes.get(name)
        role = roles.get(said.lower()) if isinstance(said, str) else None
        if role is not None:
            return role
    return Role.UNSAID
