"""What an operation came to that began under a reserved idempotency key (schemas.work_commands.ReserveAnswer). Pure."""

import msgspec

from domain.control.values import Answer, Asked, Effects, Facts
from schemas.commands import DONE, REFUSED
from schemas.work_commands import RESERVED, CompleteAnswer


def completed(facts: Facts, asked: Asked, payload: CompleteAnswer) -> Effects:
    """Too late, or of another workspace, it changes nothing; who asks is told that it is settled either way."""
    own = Answer(command_id=asked.command.id, version=asked.version, at_ms=asked.append_ms, outcome=DONE, status=204)
    verdicts = () if asked.reply is None else (own.verdict(asked.reply),)
    origin = facts.answer(payload.reservation)
    if origin is None or origin.outcome != RESERVED or not _is_mine(origin, asked):
        return Effects((own,), verdicts=verdicts)
    if payload.body is None:
        origin = msgspec.structs.replace(origin, outcome=REFUSED, status=503, freed=asked.version)
    else:
        origin = msgspec.structs.replace(origin, outcome=DONE, status=200, body=payload.body.encode())
    return Effects((origin, own), verdicts=verdicts)


def _is_mine(origin: Answer, asked: Asked) -> bool:
    return origin.audit is not None and origin.audit.workspace == asked.command.workspace
