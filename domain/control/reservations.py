"""The rules of reservations: an operation whose answer takes a while keeps its idempotency key while it runs."""

import msgspec

from domain.control.handlers import Handlers, NoticeHandler, RequestHandler
from domain.control.values import NO_CHANGES, CommandAnswer, CommandEffects, CommandRequest, Done, Facts
from schemas.commands.answers import DONE, REFUSED
from schemas.commands.reservations import RESERVED, CompleteAnswer, ReserveAnswer, Reserved


def reserve(facts: Facts, request: CommandRequest, payload: ReserveAnswer) -> Done:
    """The first request holds the key, for the time that domain/idempotency/commands.py gives."""
    return Done(202, NO_CHANGES, "", msgspec.json.encode(Reserved(request.command.id)), RESERVED)


def completed(facts: Facts, request: CommandRequest, payload: CompleteAnswer) -> CommandEffects:
    """Stores the operation's answer under the key. A completion that is too late, or of another workspace, changes
    nothing; it is answered 204 all the same, since the reservation is over either way.
    """
    own = CommandAnswer(
        command_id=request.command.id, version=request.version, at_ms=request.append_ms, outcome=DONE, status=204
    )
    verdicts = () if request.reply is None else (own.verdict(request.reply),)
    origin = facts.answer(payload.reservation)
    if origin is None or origin.outcome != RESERVED or not _is_own(origin, request):
        return CommandEffects((own,), verdicts=verdicts)
    if payload.body is None:
        origin = msgspec.structs.replace(origin, outcome=REFUSED, status=503, freed=request.version)
    else:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=200, body=payload.body.encode())
    return CommandEffects((origin, own), verdicts=verdicts)


def _is_own(origin: CommandAnswer, request: CommandRequest) -> bool:
    return origin.audit is not None and origin.audit.workspace == request.command.workspace


HANDLERS: Handlers = {
    ReserveAnswer: RequestHandler(reserve),
    CompleteAnswer: NoticeHandler(completed),
}
