"""Decides a command: done, refused, or accepted with its answer to come.

Order of questions: was this very record decided before (then the same effects again); what does its idempotency key
mean (domain/idempotency/commands.py: a repeat gets the earlier answer); may its key have this decided; does the
workspace exist; then the command's own rule, which the registry names (handlers.py).
"""

import msgspec

from domain.commands.handlers import HANDLERS
from domain.control import reach
from domain.control.handlers import MintingHandler, NoticeHandler, Reported, ReportHandler, RequestHandler
from domain.control.values import (
    WAITING,
    CommandAnswer,
    CommandEffects,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    TokenHash,
    key_reused,
)
from domain.idempotency.commands import KeyUse, request_of, scope_of, scope_of_refusal, use_of_key
from domain.security.api_tokens import TokenHasher, mint_token
from schemas.commands.answers import DONE, REFUSED
from schemas.commands.payload import Payload
from schemas.ids import AUDIT, derived_id
from schemas.records import Audit, Verdict
from schemas.topics import ENVIRONMENTS

REPLIES_MAX = 16  # a client that repeats a request while its stream is being created


def token_hash_by(master_key: bytes) -> TokenHash:
    hasher = TokenHasher(master_key)
    return lambda key_kind, environment, key_id: hasher.hash(mint_token(master_key, key_kind, environment, key_id))


def is_request(payload: Payload) -> bool:
    """Whether it is answered and recorded in the audit log; reports and notices of our own processes are not."""
    return isinstance(HANDLERS[type(payload)], RequestHandler | MintingHandler)


def decide(facts: Facts, request: CommandRequest, token_hash: TokenHash) -> CommandEffects:
    known = facts.answer(request.command.id)
    if known is not None:
        return read_again(known, request)
    match HANDLERS[type(request.payload)]:
        case ReportHandler() as handler:
            return _completed(request, handler.decide(facts, request, request.payload))
        case NoticeHandler() as handler:
            return handler.decide(facts, request, request.payload)
        case handler:
            return _requested(facts, request, handler, token_hash)


def read_again(known: CommandAnswer, request: CommandRequest) -> CommandEffects:
    """The record was decided before: the same effects."""
    replies = dict.fromkeys(known.replies if request.reply is None else (*known.replies, request.reply))
    verdicts = () if known.outcome == WAITING else tuple(known.verdict(reply) for reply in replies)
    return CommandEffects((known,), known.changes, verdicts, known.audit)


def _requested(
    facts: Facts, request: CommandRequest, handler: RequestHandler | MintingHandler, token_hash: TokenHash
) -> CommandEffects:
    scope = scope_of(request.command)
    earlier = None if scope is None else facts.answer_under(scope)
    use = use_of_key(earlier, _asked(request), request.version, request.append_ms)
    if earlier is None or use is KeyUse.FREE:
        return _first(facts, request, handler, token_hash)
    try:  # the earlier answer may contain a secret, and this may be another key's request
        reach.require(facts, request)
        reach.require_own(facts, request, earlier)
    except CommandRefused as refused:
        return CommandEffects(verdicts=_verdicts(_refusal(request, refused), request))
    match use:
        case KeyUse.PAST:
            return CommandEffects()
        case KeyUse.REUSED:
            return CommandEffects(verdicts=_verdicts(_refusal(request, key_reused()), request))
        case _:
            return _repeated(earlier, request)


def _repeated(earlier: CommandAnswer, request: CommandRequest) -> CommandEffects:
    """The earlier answer, as soon as there is one."""
    if earlier.outcome != WAITING:
        return CommandEffects(verdicts=_verdicts(earlier, request))
    if request.reply is None or request.reply in earlier.replies:
        return CommandEffects()
    replies = (*earlier.replies, request.reply)[-REPLIES_MAX:]
    return CommandEffects(answers=(msgspec.structs.replace(earlier, replies=replies),))


def _first(
    facts: Facts, request: CommandRequest, handler: RequestHandler | MintingHandler, token_hash: TokenHash
) -> CommandEffects:
    try:
        _may_be_decided(facts, request, handler.needs_workspace)
        if isinstance(handler, MintingHandler):
            done = handler.decide(facts, request, request.payload, token_hash)
        else:
            done = handler.decide(facts, request, request.payload)
        answer = _answer(request, done)
    except CommandRefused as refused:
        answer = _refusal(request, refused)
    if answer.outcome == WAITING:
        kept = msgspec.structs.replace(answer, replies=() if request.reply is None else (request.reply,))
        return CommandEffects((kept,), answer.changes, (), answer.audit)
    return CommandEffects((answer,), answer.changes, _verdicts(answer, request), answer.audit)


def _may_be_decided(facts: Facts, request: CommandRequest, needs_workspace: bool) -> None:
    """Raises CommandRefused."""
    command = request.command
    if command.environment not in ENVIRONMENTS:
        raise CommandRefused(400, "invalid_request", "The environment is live or test.")
    if needs_workspace and facts.workspace(command.workspace) is None:
        raise CommandRefused(404, "workspace_not_found", f"There is no workspace {command.workspace}.")
    reach.require(facts, request)


def _completed(request: CommandRequest, decided: Reported) -> CommandEffects:
    """A report's own answer, and that of the request that waited for it."""
    if decided is None:
        return CommandEffects()
    done, origin = decided
    own = _answer(request, done)
    if origin is None:
        return CommandEffects((own,), own.changes, (), own.audit)
    own = msgspec.structs.replace(
        own, outcome=origin.outcome, status=origin.status, body=origin.body, replies=origin.replies
    )
    verdicts = tuple(origin.verdict(reply) for reply in origin.replies)
    return CommandEffects((origin, own), own.changes, verdicts, own.audit)


def _answer(request: CommandRequest, done: Done) -> CommandAnswer:
    return CommandAnswer(
        command_id=request.command.id,
        version=request.version,
        at_ms=request.append_ms,
        outcome=done.outcome if done.status else WAITING,
        status=done.status,
        body=done.body,
        scope=scope_of(request.command),
        asked=_asked(request),
        changes=done.changes,
        audit=_audit(request, done.resource, DONE if done.status else "accepted"),
    )


def _refusal(request: CommandRequest, refused: CommandRefused) -> CommandAnswer:
    return CommandAnswer(
        command_id=request.command.id,
        version=request.version,
        at_ms=request.append_ms,
        outcome=REFUSED,
        status=refused.status,
        body=refused.body,
        scope=scope_of_refusal(request.command),
        asked=_asked(request),
        audit=_audit(request, "", refused.refusal.code),
    )


def _asked(request: CommandRequest) -> str:
    return request_of(request.command.surface, request.payload)


def _audit(request: CommandRequest, resource: str, outcome: str) -> Audit:
    command = request.command
    return Audit(
        id=derived_id(AUDIT, request.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        actor=command.actor,
        action=command.kind,
        resource=resource,
        route=command.route,
        request_id=command.request_id,
        address=command.address,
        at_ms=request.append_ms,
        outcome=outcome,
    )


def _verdicts(answer: CommandAnswer, request: CommandRequest) -> tuple[tuple[int, Verdict], ...]:
    return () if request.reply is None else (answer.verdict(request.reply),)
