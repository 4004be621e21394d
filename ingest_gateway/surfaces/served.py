"""Serves the surfaces of a gateway process: one listener each, all over the same log, view, read model and limits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from domain.security.api_tokens import TokenHasher
from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GatewaySigner
from ingest_gateway.http.limits import HttpLimits
from ingest_gateway.http.server import SurfaceRunner, serve
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.failures import FailedAttempts
from ingest_gateway.identity.setup import keys_in_use, sessions_of
from ingest_gateway.limits.enforcement import rate_limits
from ingest_gateway.log.clients import LogClients
from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.cursors import Cursors
from ingest_gateway.services import POSITION_TOKENS, Services
from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.spine.app import SPINE
from ingest_gateway.surfaces.surface import Surface
from ingest_gateway.surfaces.work.app import WORK
from operations import logs
from operations.settings import Settings

log = logging.getLogger("atlas.gateway")
FINISH_SECONDS = 4.0  # for requests under way; with sending what is queued, 10 s in all after the drain

ALL: tuple[Surface, ...] = (EVENTS, WORK, SPINE, BURN)


def goes_on_without_the_log(settings: Settings) -> bool:
    """Whether the process serves a surface that fails open."""
    return any(surface.fails_open for surface in ALL if surface.name in settings.surfaces)


@asynccontextmanager
async def serving(
    settings: Settings,
    clients: LogClients,
    surfaces: Iterable[Surface] = ALL,
    ready: Callable[[], Awaitable[bool]] | None = None,
) -> AsyncIterator["Listeners"]:
    """Those of `surfaces` that `settings.surfaces` names. Leaving it lets requests under way finish. `ready` is awaited
    before all but those that fail open; False: the others never listen.
    """
    async with AsyncExitStack() as stack:
        limits = await stack.enter_async_context(rate_limits(settings, clients.control.view))
        used = await stack.enter_async_context(keys_in_use(settings, clients))
        reads = ReadModel(settings.database_url)
        stack.push_async_callback(reads.close)
        services_for = partial(
            Services,
            settings=settings,
            events=clients.events,
            verdicts=clients.verdicts,
            commands=clients.commands,
            live=clients.live,
            control=clients.control,
            reads=reads,
            signer=GatewaySigner(settings.master_key),
            cursors=Cursors(settings.master_key),
            position_tokens=EncryptedTokens(settings.master_key, POSITION_TOKENS),
            limits=limits,
        )
        authenticator = partial(
            Authenticator,
            clients.control,
            TokenHasher(settings.master_key),
            sessions=sessions_of(settings),
            used=used,
            failures=FailedAttempts(),
        )
        chosen = [
            (surface, services_for(authenticate=authenticator(**surface.takes)))
            for surface in surfaces
            if surface.name in settings.surfaces
        ]
        listeners = Listeners()
        stack.push_async_callback(listeners.close)
        await listeners.open(one for one in chosen if one[0].fails_open)
        if ready is None or await ready():
            await listeners.open(one for one in chosen if not one[0].fails_open)
        yield listeners


class Listeners(Mapping[str, int]):
    """The open ones' ports by the names of their surfaces. Closed together: requests under way then finish, all
    surfaces' at once."""

    def __init__(self) -> None:
        self._runners: dict[str, SurfaceRunner] = {}

    def __getitem__(self, surface: str) -> int:
        return self._runners[surface].port

    def __iter__(self) -> Iterator[str]:
        return iter(self._runners)

    def __len__(self) -> int:
        return len(self._runners)

    async def open(self, chosen: Iterable[tuple[Surface, Services]]) -> None:
        for surface, services in chosen:
            settings = services.settings
            app, at = surface.make_app(services), (settings.host, settings.surface_port(surface.name))
            limits = HttpLimits(
                shutdown_seconds=FINISH_SECONDS,
                allowed_hosts=settings.allowed_hosts,
                trusted_proxies=settings.trusted_proxies,
            )
            runner = await serve(app, *at, surface=surface.name, render=surface.render, limits=limits, reuse_port=True)
            self._runners[surface.name] = runner
            logs.event(log, "gateway.serves", surface=surface.name, host=settings.host, port=runner.port)

    def end_connections(self) -> None:
        """Every answer is its connection's last from now on."""
        for runner in self._runners.values():
            runner.end_connections()

    async def close(self) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._runners.values()))
