"""The rules of limits: a workspace's own quota of a rate class can be set and cleared at any time."""

from domain.control.handlers import Handlers, RequestHandler
from domain.control.values import CommandChanges, CommandRefused, CommandRequest, Done, Facts, body_of
from domain.limits.quotas import RATE_CLASSES, Quota
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.entities import Limit


def set_limit(facts: Facts, request: CommandRequest, payload: SetLimit) -> Done:
    """Sets the workspace's quota of a rate class, or replaces the previous one."""
    limit = _limit(request, payload.rate_class, Quota(payload.burst, payload.per_minute))
    return Done(
        200, CommandChanges(put=(limit.to_entity(request.version),)), f"limit/{limit.entity_id}", body_of(limit)
    )


def clear_limit(facts: Facts, request: CommandRequest, payload: ClearLimit) -> Done:
    limit = _limit(request, payload.rate_class, None)
    return Done(204, CommandChanges(gone=(limit.to_entity(request.version),)), f"limit/{limit.entity_id}")


def _limit(request: CommandRequest, name: str, quota: Quota | None) -> Limit:
    """The limit; a number that the command leaves out is the class's own."""
    rate_class = RATE_CLASSES.get(name)
    if rate_class is None:
        raise CommandRefused(
            400, "invalid_request", f"There is no rate class {name}; there are {', '.join(RATE_CLASSES)}."
        )
    command = request.command
    environment = command.environment if rate_class.by_environment else ""
    burst, per_minute = quota or rate_class.quota
    return Limit(
        id=rate_class.bucket(command.workspace, command.environment),
        workspace=command.workspace,
        environment=environment,
        created_ms=request.append_ms,
        rate_class=name,
        burst=burst,
        per_minute=per_minute,
    )


HANDLERS: Handlers = {
    SetLimit: RequestHandler(set_limit),
    ClearLimit: RequestHandler(clear_limit),
}
