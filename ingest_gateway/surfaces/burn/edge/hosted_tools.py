"""Bounds how many prompts one call may make.

A tool that the provider runs itself (web search, code, MCP) adds a prompt to the call for each use, with everything
found so far, and all of them are billed: a question of ten words may fill a model's context several times. Tools that
the caller runs add none.

| tools | most uses | prompts |
|---|---|---|
| OpenAI's responses | `max_tool_calls` | one more than uses; unstated: unknown |
| Anthropic's server tools | `max_uses` of each | one more than uses; unstated, `mcp_servers`: unknown |
| Gemini | – | two: what the tools read is reported apart from the prompt |
| compactions (`context_management`, `compaction`) | – | one more: for the summary of the context |
| searches: `web_search_options`, `plugins`, `search_parameters`, `:online`, … | – | one, with what was found |
"""

import re
from typing import Any

from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.prompt_media import Members

USES_MAX = 1_000
_RUN_BY_THE_CALLER = re.compile(
    r"function|custom|namespace|local_shell|apply_patch|browser_toolset_[0-9]+|(computer|bash|text_editor|memory)(_\w+)?"
)
_DECLARED = frozenset({"functionDeclarations", "function_declarations", "computerUse", "computer_use"})
_IN_THE_BODY = ("function", "custom", None)
_SEARCHES = ("web_search_options", "plugins", "search_parameters", "enable_search")


def prompts_of_tools(asked: Members, dialect: Dialect, endpoint: str) -> int | None:
    """0 if only the prompt is read, otherwise the number of prompts, each at most as long as the model's context.
    None: the number is unknown.
    """
    prompts = _of_tools(asked, dialect, endpoint)
    is_compacting = any(asked.get("compaction", ())) or _compacts(asked.get("context_management"))
    return max(1, prompts) + 1 if prompts is not None and is_compacting else prompts


def _compacts(value: Any) -> bool:
    """By the edit's type: other edits (`clear_tool_uses_…`) make no prompt."""
    if isinstance(value, dict):
        return any(map(_compacts, value.values()))
    return any(map(_compacts, value)) if isinstance(value, list) else isinstance(value, str) and "compact" in value


def _of_tools(asked: Members, dialect: Dialect, endpoint: str) -> int | None:
    hosted = [tool for tool in _tools(asked) if _is_hosted(tool, dialect)]
    if dialect is Dialect.GEMINI:
        return 2 if hosted else 0
    if any(asked.get("mcp_servers", ())):
        return None
    if hosted:
        uses: list[int | None] = [None]  # another endpoint's field limits nothing
        if dialect is Dialect.ANTHROPIC:
            uses = [_largest(tool.get("max_uses")) for tool in hosted]
        elif endpoint == "/responses":
            uses = [_largest(asked.get("max_tool_calls"))]
        return None if None in uses else 1 + sum(use for use in uses if use is not None)
    models = [model for model in asked.get("model", ()) if isinstance(model, str)]
    searches = any(any(asked.get(name, ())) for name in _SEARCHES) or any(":online" in model for model in models)
    return 1 if searches else 0


def typed_tools(asked: Members) -> int:
    """Tools that the provider describes: their descriptions are in the prompt but not in the body."""
    return sum(1 for tool in _tools(asked) if any(kind not in _IN_THE_BODY for kind in tool.get("type", ())))


def _tools(asked: Members) -> list[Members]:
    lists = [tools for tools in asked.get("tools", ()) if isinstance(tools, list)]
    return [tool for tools in lists for tool in tools if isinstance(tool, dict)]


def _is_hosted(tool: Members, dialect: Dialect) -> bool:
    if dialect is Dialect.GEMINI:
        return not tool.keys() <= _DECLARED
    kinds = [kind for kind in tool.get("type", ()) if kind is not None]
    return any(not (isinstance(kind, str) and _RUN_BY_THE_CALLER.fullmatch(kind)) for kind in kinds)


def _largest(stated: list[Any] | None) -> int | None:
    """None if no number is stated, or something else as well."""
    numbers = [value for value in stated or () if isinstance(value, int) and not isinstance(value, bool)]
    if not numbers or len(numbers) != len(stated or ()) or not 0 <= max(numbers) <= USES_MAX:
        return None
    return max(numbers)
