"""Writes what the Cloudflare Worker forwards, from the gateway's table of providers and endpoints. `make docs` runs it.

Patterns are written for JavaScript. tests/contract/edge/test_worker.py fails while the file differs from what would be
written, and holds the Worker to the gateway path by path.
"""

import json
from typing import Any

from ingest_gateway.surfaces.burn.edge.endpoints import GEMINI_VERBS, SEGMENT, TABLE
from ingest_gateway.surfaces.burn.edge.providers import GEMINI_MODEL, KNOWN, VERTEX_MODEL
from tests.traceability.catalogue import ROOT

FILE = ROOT / "deploy" / "edge-worker" / "src" / "forwarded.json"


def content() -> str:
    forwarded: dict[str, Any] = {
        "": "Written by `make docs` from ingest_gateway/surfaces/burn/edge/endpoints.py and providers.py: edit those.",
        "segment": SEGMENT,
        "geminiModel": _of_javascript(GEMINI_MODEL.pattern),
        "vertexModel": _of_javascript(VERTEX_MODEL.pattern),
        "geminiVerbs": dict(GEMINI_VERBS),
        "providers": [
            {"name": one.name, "baseUrl": one.base_url, "dialect": one.dialect, "versions": list(one.versions)}
            for one in KNOWN
        ],
        "endpoints": {dialect: _by_path(dialect) for dialect in TABLE},
    }
    return json.dumps(forwarded, indent=2) + "\n"


def _by_path(dialect: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for endpoint in TABLE[dialect]:
        found.setdefault(endpoint.path, {})[endpoint.method] = endpoint.kind
    return found


def _of_javascript(pattern: str) -> str:
    return f"^{pattern.replace('(?P<', '(?<')}$"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
