"""A new command, as gateways and processes write it."""

from domain.security.callers import CallerContext
from operations.random_ids import random_id
from schemas.commands.payload import Payload
from schemas.ids import COMMAND
from schemas.records import Command


def new_command(
    payload: Payload,
    *,
    workspace: str,
    environment: str,
    caller: CallerContext,
    now_ms: int,
    idempotency_key: str | None = None,
    surface: str = "events",
) -> Command:
    """A command with a new random id. Its record's key is `command_key(command)`."""
    return Command(
        id=random_id(COMMAND, now_ms),
        kind=payload.kind,
        workspace=workspace,
        environment=environment,
        payload=payload.encode(),
        actor=caller.actor,
        idempotency_key=idempotency_key,
        surface=surface,
        route=caller.route,
        request_id=caller.request_id,
        address=caller.address,
    )
