"""Which model providers the edge proxy forwards to, and which of their paths (B-043, B-044).

The table is fixed at the start: nothing in a request chooses a host (L3). `ATLAS_EDGE_PROVIDERS` adds
OpenAI-compatible ones by name and base URL, and moves the base URL of those here.

| provider | our path | goes to |
|---|---|---|
| openai | `/openai/v1/…` | `https://api.openai.com/v1/…` |
| anthropic | `/anthropic/v1/…` | `https://api.anthropic.com/v1/…` |
| gemini | `/gemini/v1beta/…`, `/gemini/v1/…` | `https://generativelanguage.googleapis.com/v1beta/…` |
| gemini (Vertex) | `/gemini/v1/projects/…/locations/<l>/…` | `https://<l>-aiplatform.googleapis.com/…` |
| openrouter | `/openrouter/v1/…`, `/openrouter/api/v1/…` | `https://openrouter.ai/api/v1/…` |
| any other | `/<name>/v1/…`, `/<name>` and the path of its base URL | its base URL |

Which paths they are is in endpoints.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import hdrs

from ingest_gateway.surfaces.burn.edge.endpoints import ENDPOINTS, GEMINI_VERBS, Dialect, Kind


class ProviderTarget(NamedTuple):
    """The target of one request. `endpoint` is its name in telemetry; `model` is set if the path names it."""

    url: str
    endpoint: str
    model: str = ""
    streams: bool = False
    kind: Kind = Kind.COUNTED


@dataclass(frozen=True, slots=True)
class Provider:
    """`base_url` has no slash at its end; `versions` are the first segments of its paths, longest first."""

    name: str
    base_url: str
    dialect: Dialect = Dialect.OPENAI
    versions: tuple[str, ...] = ("/v1",)

    def targets(self, path: str) -> Mapping[str, ProviderTarget]:
        """The targets, by method, of the path after `/<name>` (raw); empty if the path is not forwarded."""
        for version in self.versions:
            if path.startswith(version + "/"):
                return self._targets(version, path[len(version) :])
        return {}

    def _targets(self, version: str, rest: str) -> Mapping[str, ProviderTarget]:
        base_url = self.base_url
        if self.dialect is Dialect.GEMINI:
            base_url = base_url.removesuffix("/v1beta") + version
            called = self._model_called(base_url, version, rest)
            if called is not None:
                return {hdrs.METH_POST: called}
        endpoints = ENDPOINTS[self.dialect].at(rest)
        return {method: ProviderTarget(base_url + rest, one.path, kind=one.kind) for method, one in endpoints.items()}

    def _model_called(self, base_url: str, version: str, rest: str) -> ProviderTarget | None:
        """From Gemini's paths, which name the model and the method, or Vertex's."""
        if (found := GEMINI_MODEL.fullmatch(rest)) is not None:
            base = base_url
        elif (found := VERTEX_MODEL.fullmatch(rest)) is not None and version != "/v1beta":
            location = found["location"]
            base = f"https://{'' if location == 'global' else location + '-'}aiplatform.googleapis.com{version}"
        else:
            return None
        verb = found["verb"]
        return ProviderTarget(base + rest, verb, found["model"], verb == ":streamGenerateContent", GEMINI_VERBS[verb])


_CALL = rf"(?P<model>[A-Za-z0-9._@-]{{1,128}})(?P<verb>{'|'.join(GEMINI_VERBS)})"
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
    """By name: the known providers, at the configured base URL if there is one, and the configured others, which are
    OpenAI-compatible.
    """
    providers = {
        known.name: Provider(known.name, base_urls.get(known.name, known.base_url), known.dialect, known.versions)
        for known in KNOWN
    }
    for name, base_url in base_urls.items():
        providers.setdefault(name, Provider(name, base_url, versions=_versions_of(base_url)))
    return providers


def _versions_of(base_url: str) -> tuple[str, ...]:
    """A provider's own SDK (Groq's) adds the path of its base URL itself: `/openai/v1`."""
    path = urlsplit(base_url).path
    return tuple(dict.fromkeys((path, "/v1"))) if path else ("/v1",)
