"""A workspace's own quotas, for the operator of the installation: `atlas limits set`, `clear`, `show`.

A change goes through the log as a command like any other; every gateway has it as soon as it reads `control` on.
"""

import asyncio

from domain.security.callers import CallerContext
from ingest_gateway.log.clients import KafkaAway, LogClients, log_clients, ready_or_away
from ingest_gateway.log.event_log import LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import VerdictLate
from operations import clock
from operations.new_commands import new_command
from operations.settings import Settings
from schemas.commands.answers import DONE, decode_refusal
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.entities import Limit

TIMEOUT_SECONDS = 30.0
ACTOR = "master-key"


class TierRefused(Exception):
    """The quota can't be changed, or there was no answer; the message says why."""


async def change_limit(clients: LogClients, workspace: str, environment: str, payload: SetLimit | ClearLimit) -> None:
    """Over clients that are `ready`. Doing it again changes nothing. Raises TierRefused."""
    command = new_command(
        payload,
        workspace=workspace,
        environment=environment,
        caller=CallerContext(ACTOR),
        now_ms=clock.now_ms(),
    )
    try:
        verdict = await clients.commands.submit(command, timeout_seconds=TIMEOUT_SECONDS)
    except (VerdictLate, LogBusy, LogUnavailable) as error:
        raise TierRefused(f"{error}: does the control process run?") from error
    if verdict.outcome != DONE:
        raise TierRefused(decode_refusal(verdict.body).message)


def limits_of(clients: LogClients, workspace: str) -> list[Limit]:
    """Those that are set, over clients that are `ready`."""
    mine = [limit for limit in clients.control.view.limits.values() if limit.workspace == workspace]
    return sorted(mine, key=lambda limit: limit.id)


def change_and_show(
    settings: Settings, workspace: str, environment: str = "live", payload: SetLimit | ClearLimit | None = None
) -> list[Limit]:
    """The workspace's own quotas, after the change where there is one. Runs a loop of its own. Raises TierRefused."""
    return asyncio.run(_change_and_show(settings, workspace, environment, payload))


async def _change_and_show(
    settings: Settings, workspace: str, environment: str, payload: SetLimit | ClearLimit | None
) -> list[Limit]:
    async with log_clients(settings) as clients:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await ready_or_away(clients, settings.kafka)
        except KafkaAway as away:
            raise TierRefused(str(away)) from away
        except TimeoutError as error:
            raise TierRefused(f"the log did not answer within {TIMEOUT_SECONDS:g} s") from error
        if payload is not None:
            await change_limit(clients, workspace, environment, payload)
        await clients.control.catch_up(TIMEOUT_SECONDS)
        return limits_of(clients, workspace)
