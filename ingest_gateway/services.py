"""What the handlers of every surface work with, created once and reached by `request.app[SERVICES]`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.gateway_signatures import GatewaySigner
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.limits.enforcement import RateLimits
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import EventLog
from ingest_gateway.log.live import LiveLog
from ingest_gateway.log.verdicts import VerdictWaiter
from operations.control_reader import ControlReader
from operations.settings import Settings

if TYPE_CHECKING:
    from ingest_gateway.read_model import ReadModel
    from ingest_gateway.read_model.cursors import Cursors


@dataclass
class Services:
    settings: Settings
    events: EventLog
    verdicts: VerdictWaiter
    commands: CommandClient
    live: LiveLog
    control: ControlReader
    authenticate: Authenticator
    """Who calls; the surface's own."""
    reads: "ReadModel"
    signer: GatewaySigner
    cursors: "Cursors"
    position_tokens: EncryptedTokens
    """Of the positions on `commands` that callers get."""
    limits: RateLimits | None = None
    """None: switched off."""


POSITION_TOKENS = "position"
"""The purpose of `Services.position_tokens`."""
SERVICES = web.AppKey("services", Services)
