"""Lists the providers' endpoints that are forwarded, and what each means for a budget (B-044; docs/edge-proxy.md).

`counted`: a model call, which the guardrails count and may stop. `free`: costs nothing by itself, so it is forwarded
without being counted, whatever flags are set (cancelling a response saves money). `unreadable`: the answer does not say
what the call costs (batches run for hours, images and audio have other units). Such calls are refused, unless
`ATLAS_EDGE_FORWARD_UNREADABLE` is on and the budget is not strict.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    COUNTED = "counted"
    FREE = "free"
    UNREADABLE = "unreadable"


class Dialect(StrEnum):
    """The form of a provider's requests, answers, streams and errors."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class Endpoint(NamedTuple):
    """`path`: the part after the version; `{}` is one variable segment."""

    method: str
    path: str
    kind: Kind


def _endpoints(kind: Kind, *written: str) -> list[Endpoint]:
    """Parses `POST /path` and `GET|DELETE /path/{}`."""
    return [
        Endpoint(method, path, kind)
        for methods, path in (one.split(" ") for one in written)
        for method in methods.split("|")
    ]


TABLE: Mapping[Dialect, list[Endpoint]] = {
    Dialect.OPENAI: [
        *_endpoints(
            Kind.COUNTED,
            *("POST /chat/completions", "POST /completions", "POST /embeddings", "POST /responses"),
            "POST /responses/compact",
        ),
        *_endpoints(
            Kind.FREE,
            *("GET /models", "GET /models/{}", "GET /models/{}/{}", "GET /models/{}/{}/endpoints", "POST /moderations"),
            *("GET|DELETE /responses/{}", "POST /responses/{}/cancel", "GET /responses/{}/input_items"),
            *("POST /responses/input_tokens", "GET /chat/completions", "GET|POST|DELETE /chat/completions/{}"),
            *("GET /chat/completions/{}/messages", "POST /conversations", "GET|POST|DELETE /conversations/{}"),
            *("GET|POST /conversations/{}/items", "GET|DELETE /conversations/{}/items/{}"),
            *("GET|POST /files", "GET|DELETE /files/{}", "GET /files/{}/content", "POST /uploads"),
            *("POST /uploads/{}/parts", "POST /uploads/{}/complete", "POST /uploads/{}/cancel"),
            *("GET /batches", "GET /batches/{}", "POST /batches/{}/cancel"),
            *("GET /generation", "GET /credits", "GET /key", "GET /auth/key", "GET /providers"),  # OpenRouter's
        ),
        *_endpoints(
            Kind.UNREADABLE,
            *("POST /batches", "POST /images/generations", "POST /images/edits", "POST /images/variations"),
            *("POST /audio/speech", "POST /audio/transcriptions", "POST /audio/translations"),
        ),
    ],
    Dialect.ANTHROPIC: [
        *_endpoints(Kind.COUNTED, "POST /messages"),
        *_endpoints(
            Kind.FREE,
            *("POST /messages/count_tokens", "GET /models", "GET /models/{}", "GET /messages/batches"),
            *("GET|DELETE /messages/batches/{}", "GET /messages/batches/{}/results"),
            *("POST /messages/batches/{}/cancel", "GET|POST /files", "GET|DELETE /files/{}", "GET /files/{}/content"),
        ),
        *_endpoints(Kind.UNREADABLE, "POST /messages/batches"),
    ],
    Dialect.GEMINI: [
        *_endpoints(
            Kind.FREE,
            *("GET /models", "GET /models/{}", "GET|DELETE /files/{}", "GET /files", "GET /cachedContents"),
            *("GET|PATCH|DELETE /cachedContents/{}", "GET /batches", "GET|DELETE /batches/{}"),
        ),
        *_endpoints(Kind.UNREADABLE, "POST /cachedContents"),
    ],
}
GEMINI_VERBS: Mapping[str, Kind] = {
    ":generateContent": Kind.COUNTED,
    ":streamGenerateContent": Kind.COUNTED,
    ":embedContent": Kind.COUNTED,
    ":batchEmbedContents": Kind.COUNTED,
    ":countTokens": Kind.FREE,
    ":batchGenerateContent": Kind.UNREADABLE,
    ":predict": Kind.UNREADABLE,
    ":predictLongRunning": Kind.UNREADABLE,
}
"""The methods on a model in Gemini's and Vertex's paths; always POST."""
SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._:@-]{0,255}"


class Endpoints:
    """The endpoints of one dialect."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Endpoint]]] = []
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        for path, methods in by_path.items():
            if "{}" in path:
                self._patterns.append((re.compile(re.escape(path).replace(r"\{\}", SEGMENT)), methods))
            else:
                self._exact[path] = methods

    def at(self, path: str) -> Mapping[str, Endpoint]:
        """The endpoints of a path, by method; may be empty. A literal path in the table wins over a pattern."""
        found = self._exact.get(path)
        if found is not None:
            return found
        return next((methods for pattern, methods in self._patterns if pattern.fullmatch(path)), {})


ENDPOINTS: Mapping[Dialect, Endpoints] = {dialect: Endpoints(some) for dialect, some in TABLE.items()}
