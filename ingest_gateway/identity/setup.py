"""What a gateway process authenticates with, put together from its settings; its surfaces share it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ingest_gateway.identity.last_used import LastUsed
from ingest_gateway.identity.session_keys import Jwks, SessionKeys, SharedSecret, reader_of
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.log.clients import LogClients
from operations.settings import Settings


@contextlib.asynccontextmanager
async def keys_in_use(settings: Settings, clients: LogClients) -> AsyncIterator[LastUsed]:
    """While inside, the control process gets the times at which keys were used."""
    used = LastUsed()
    reporting = asyncio.create_task(used.keep_reporting(clients.events))
    try:
        yield used
    finally:
        reporting.cancel()
        await asyncio.wait([reporting])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.append_timeout_seconds):
                await used.report(clients.events)


def sessions_of(settings: Settings) -> Sessions | None:
    """None where no identity provider is set. Raises JwksInvalid."""
    keys: SessionKeys
    if settings.jwt_secret is not None:
        keys = SharedSecret(settings.jwt_secret)
    elif settings.jwt_jwks is not None:
        keys = Jwks(reader_of(settings.jwt_jwks))
    else:
        return None
    return Sessions(keys, issuer=settings.jwt_issuer or "", audience=settings.jwt_audience or "")
