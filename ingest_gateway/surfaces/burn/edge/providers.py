"""Which model providers the edge proxy forwards to, and which of their paths (B-043, B-044). Pure.

The table is fixed at the start: nothing in a request chooses a host (RELIABILITY L3). `ATLAS_EDGE_PROVIDERS` adds
OpenAI-compatible ones by name and base URL, and moves the base URL of those here.

| provider | our path | goes to |
|---|---|---|
| openai | `/openai/v1/…` | `https://api.openai.com/v1/…` |
| anthropic | `/anthropic/v1/…` | `https://api.anthropic.com/v1/…` |
| gemini | `/gemini/v1beta/…`, `/gemini/v1/…` | `https://generativelanguage.googleapis.com/v1beta/…` |
| gemini (Vertex) | `/gemini/v1/projects/…/locations/<l>/…` | `https://<l>-aiplatform.googleapis.com/…` |
| openrouter | `/openrouter/v1/…`, `/openrouter/api/v1/…` | `https://openrouter.ai/api/v1/…` |
| any other | `/<name>/v1/…` | its base URL |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Dialect(StrEnum):
    """Whose forms of requests, answers, streams and errors a provider uses."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class Target(NamedTuple):
    """Where one request goes. `endpoint` is what telemetry calls it, `model` is given where the path names it."""

    url: str
    endpoint: str
    model: str = ""
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """`base_url` has no slash at its end; `versions` are the first segments of its paths, longest first."""

    name: str
    base_url: str
    dialect: Dialect = Dialect.OPENAI
    versions: tuple[str, ...] = ("/v1",)

    def target(self, path: str) -> Target | None:
        """Of what follows `/<name>` in the request's raw path; None for what is not forwarded."""
        for version in self.versions:
            if path.startswith(version + "/"):
                return self._target(version, path[len(version) :])
        return None

    def _target(self, version: str, rest: str) -> Target | None:
        if self.dialect is Dialect.GEMINI:
            return self._gemini(version, rest)
        return Target(self.base_url + rest, rest) if rest in ENDPOINTS[self.dialect] else None

    def _gemini(self, version: str, rest: str) -> Target | None:
        if (found := GEMINI_MODEL.fullmatch(rest)) is not None:
            base = self.base_url.removesuffix("/v1beta") + version
        elif (found := VERTEX_MODEL.fullmatch(rest)) is not None and version != "/v1beta":
            location = found["location"]
            base = f"https://{'' if location == 'global' else location + '-'}aiplatform.googleapis.com{version}"
        else:
            return None
        verb = found["verb"]
        return Target(base + rest, verb, found["model"], verb == ":streamGenerateContent")


ENDPOINTS: Mapping[Dialect, frozenset[str]] = {
    Dialect.OPENAI: frozenset({"/chat/completions", "/completions", "/embeddings", "/responses"}),
    Dialect.ANTHROPIC: frozenset({"/messages"}),
}
_CALL = r"(?P<model>[A-Za-z0-9._@-]{1,128})(?P<verb>:generateContent|:streamGenerateContent)"
GEMINI_MODEL = re.compile(rf"/(?:models|tunedModels)/{_CALL}")
VERTEX_MODEL = re.compile(
    r"/projects/[a-z0-9:.-]{1,64}/locations/(?P<location>global|[a-z]{2,16}-[a-z]{2,16}[0-9]{1,2})"
    rf"/publishers/google/models/{_CALL}"
)

KNOWN: tuple[Provider, ...] = (
    Provider("openai", "https://api.openai.com/v1"),
    Provider("anthropic", "https://api.anthropic.com/v1", Dialect.ANTHROPIC),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        Dialect.GEMINI,
        ("/v1beta1", "/v1beta", "/v1"),
    ),
    Provider("openrouter", "https://openrouter.ai/api/v1", versions=("/api/v1", "/v1")),
)


def providers_of(base_urls: Mapping[str, str]) -> dict[str, Provider]:
    """By name: those known, at the base URL set for them if any, and the others set, which are OpenAI-compatible."""
    providers = {
        known.name: Provider(known.name, base_urls.get(known.name, known.base_url), known.dialect, known.versions)
        for known in KNOWN
    }
    for name, base_url in base_urls.items():
        providers.setdefault(name, Provider(name, base_url))
    return providers
