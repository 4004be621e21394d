"""What the gateway must know of a surface to serve it. Each surface's package describes itself in one `Surface`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ingest_gateway.http.errors import Renderer
from ingest_gateway.identity.credentials import BEARER, Presentation
from ingest_gateway.services import Services
from schemas.topics import ENVIRONMENTS


@dataclass(frozen=True)
class Surface:
    """`make_app`: its routes, held to schemas/openapi/<name>.yaml; its own clients and tasks are in the
    application's `cleanup_ctx`. `render`: its error format. `kinds`: the credentials that it takes (KeyKind, SESSION),
    `presentation`: in which header, `environments`: of which environments. `fails_open`: it listens before `control`
    was read, and decides itself what it answers before.
    """

    name: str
    make_app: Callable[[Services], web.Application]
    render: Renderer
    kinds: frozenset[str]
    presentation: Presentation = BEARER
    environments: frozenset[str] = frozenset(ENVIRONMENTS)
    fails_open: bool = False

    @property
    def takes(self) -> dict[str, Any]:
        """What its Authenticator is made with."""
        return {"kinds": self.kinds, "presentation": self.presentation, "environments": self.environments}
