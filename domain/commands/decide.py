"""Decides a command: done, refused, or taken with its answer to come. Values in, values out; no I/O and no clock.

Order of questions: was this very record decided before (then the same again); was the same request made under its
idempotency key (then the same answer); does the workspace exist; then the kind's own rules.
"""

import msgspec

from domain.control import (
    event_types,
    guardrails,
    keys,
    limits,
    reach,
    replays,
    reservations,
    route_topics,
    streams,
    subscriptions,
    tenants,
    webhooks,
)
from domain.control.values import (
    WAITING,
    Answer,
    Asked,
    Changes,
    Done,
    Effects,
    Facts,
    Refused,
    TokenHash,
    key_reused,
)
from domain.idempotency.commands import is_key_over, request_of
from domain.security.api_tokens import TokenHasher, mint_token
from domain.work import decide as work
from domain.work import webhooks as work_webhooks
from schemas.commands import (
    DONE,
    REFUSED,
    CancelReplay,
    ClearLimit,
    CreateKey,
    CreateStream,
    CreateSubscription,
    CreateWebhookEndpoint,
    CreateWorkflow,
    CreateWorkspace,
    DeleteStream,
    DeleteSubscription,
    DeleteWebhookEndpoint,
    DeleteWorkflow,
    DisableWorkflow,
    ReactivateWorkflow,
    RegisterEventType,
    ReplacePolicy,
    ReplayMoved,
    ResumeTopics,
    RevokeKey,
    RotateKey,
    RotateSecret,
    RouteTopicExpired,
    RouteTopicMade,
    SetLimit,
    StartReplay,
    StreamAltered,
    StreamCreated,
    StreamExpired,
    Suspend,
    TouchKeys,
    TryWebhookEndpoint,
    Unsuspend,
    UpdateStream,
    UpdateSubscription,
    Warn,
)
from schemas.ids import derived_id
from schemas.records import Audit, Verdict
from schemas.topics import ENVIRONMENTS
from schemas.work import SURFACE as WORK
from schemas.work_commands import (
    RESERVED,
    CompleteAnswer,
    CreateProject,
    CreateTask,
    DeleteTask,
    ReplayWebhook,
    ReserveAnswer,
    Reserved,
    TryWebhook,
    UpdateProject,
    UpdateTask,
)

Report = StreamCreated | StreamAltered | StreamExpired | RouteTopicMade | RouteTopicExpired | ResumeTopics
"""What the control process tells itself."""
AUDIT = "aud_"
REPLIES_MAX = 16  # a client that repeats a request while its stream is being created


def token_hash_by(master_key: bytes) -> TokenHash:
    hasher = TokenHasher(master_key)
    return lambda key_kind, environment, key_id: hasher.hash(mint_token(master_key, key_kind, environment, key_id))


def decide(facts: Facts, asked: Asked, token_hash: TokenHash) -> Effects:
    known = facts.answer(asked.command.id)
    if known is not None:
        return again(known, asked)
    if isinstance(asked.payload, Report):
        return reported(facts, asked, asked.payload)
    if isinstance(asked.payload, TouchKeys):
        return keys.touched(facts, asked, asked.payload)
    if isinstance(asked.payload, ReplayMoved):
        return replays.moved(facts, asked, asked.payload)
    if isinstance(asked.payload, CompleteAnswer):
        return reservations.completed(facts, asked, asked.payload)
    earlier = _answer_to_key(facts, asked)
    if earlier is None:
        return first(facts, asked, token_hash)
    try:  # an earlier answer may have a secret in it, and this may be another key's request
        reach.require(facts, asked)
        reach.require_own(facts, asked, earlier)
    except Refused as refused:
        return Effects(verdicts=_verdicts(_refusal(asked, refused), asked))
    return repeated(earlier, asked)


def again(known: Answer, asked: Asked) -> Effects:
    """The record was read before: the same effects."""
    replies = dict.fromkeys(known.replies if asked.reply is None else (*known.replies, asked.reply))
    verdicts = () if known.outcome == WAITING else tuple(known.verdict(reply) for reply in replies)
    return Effects((known,), known.changes, verdicts, known.audit)


def repeated(earlier: Answer, asked: Asked) -> Effects:
    """Another record with a key seen before: the earlier answer, as soon as there is one.

    A later holder of the key, or freeing of it, means that this record is read again: it was answered by what the key
    meant then.
    """
    if asked.version < max(earlier.version, earlier.freed):
        return Effects()
    if earlier.asked != request_of(asked.command.surface, asked.payload):
        return Effects(verdicts=_verdicts(_refusal(asked, key_reused()), asked))
    if earlier.outcome != WAITING:
        return Effects(verdicts=_verdicts(earlier, asked))
    if asked.reply is None or asked.reply in earlier.replies:
        return Effects()
    replies = (*earlier.replies, asked.reply)[-REPLIES_MAX:]
    return Effects(answers=(msgspec.structs.replace(earlier, replies=replies),))


def first(facts: Facts, asked: Asked, token_hash: TokenHash) -> Effects:
    try:
        if isinstance(asked.payload, ReserveAnswer):
            return _reserved(facts, asked)
        answer = _answer(asked, _decided(facts, asked, token_hash))
    except Refused as refused:
        answer = _refusal(asked, refused)
    if answer.outcome == WAITING:
        kept = msgspec.structs.replace(answer, replies=() if asked.reply is None else (asked.reply,))
        return Effects((kept,), answer.changes, (), answer.audit)
    return Effects((answer,), answer.changes, _verdicts(answer, asked), answer.audit)


def _reserved(facts: Facts, asked: Asked) -> Effects:
    _has_workspace(facts, asked)
    reach.require(facts, asked)
    body = msgspec.json.encode(Reserved(asked.command.id))
    answer = msgspec.structs.replace(_answer(asked, Done(202, Changes(), "", body)), outcome=RESERVED)
    return Effects((answer,), answer.changes, _verdicts(answer, asked), answer.audit)


def reported(facts: Facts, asked: Asked, report: Report) -> Effects:
    """The control process to itself; what comes too late changes nothing. May complete the answer to a request."""
    match report:
        case StreamCreated():
            return _completed(asked, streams.created(facts, asked, report))
        case StreamAltered():
            return _completed(asked, streams.altered(facts, report))
        case StreamExpired():
            return _completed(asked, streams.expired(facts, asked, report))
        case RouteTopicMade():
            return _completed(asked, route_topics.made(facts, asked, report))
        case RouteTopicExpired():
            return _completed(asked, route_topics.expired(facts, asked, report))
        case ResumeTopics():
            return Effects()


def _completed(asked: Asked, decided: streams.Reported) -> Effects:
    if decided is None:
        return Effects()
    done, origin = decided
    own = _answer(asked, done)
    if origin is None:
        return Effects((own,), own.changes, (), own.audit)
    own = msgspec.structs.replace(
        own, outcome=origin.outcome, status=origin.status, body=origin.body, replies=origin.replies
    )
    verdicts = tuple(origin.verdict(reply) for reply in origin.replies)
    return Effects((origin, own), own.changes, verdicts, own.audit)


def _answer_to_key(facts: Facts, asked: Asked) -> Answer | None:
    """What counts under the request's key: the answer of the last 24 hours, unless our own failure freed the key."""
    earlier = facts.answer_under(asked.scope) if asked.scope is not None else None
    if earlier is None or asked.version < max(earlier.version, earlier.freed):
        return earlier
    return None if earlier.freed or is_key_over(earlier.outcome, earlier.at_ms, asked.append_ms) else earlier


def _decided(facts: Facts, asked: Asked, token_hash: TokenHash) -> Done:
    payload = asked.payload
    if asked.command.environment not in ENVIRONMENTS:
        raise Refused(400, "invalid_request", "The environment is live or test.")
    if not isinstance(payload, CreateWorkspace):
        _has_workspace(facts, asked)
    reach.require(facts, asked)
    match payload:
        case CreateWorkspace():
            return tenants.create_workspace(facts, asked, payload, token_hash)
        case CreateKey():
            return keys.create(facts, asked, payload, token_hash)
        case RotateKey():
            return keys.rotate(facts, asked, payload, token_hash)
        case RevokeKey():
            return keys.revoke(facts, asked, payload)
        case CreateStream():
            return streams.create(facts, asked, payload)
        case UpdateStream():
            return streams.update(facts, asked, payload)
        case DeleteStream():
            return streams.delete(facts, asked, payload)
        case CreateWorkflow():
            return tenants.create_workflow(facts, asked, payload)
        case DeleteWorkflow():
            return tenants.delete_workflow(facts, asked, payload)
        case DisableWorkflow():
            return tenants.disable_workflow(facts, asked, payload)
        case ReactivateWorkflow():
            return tenants.reactivate_workflow(facts, asked, payload)
        case RotateSecret():
            return webhooks.rotate_secret(facts, asked, payload)
        case CreateWebhookEndpoint():
            return webhooks.create(facts, asked, payload)
        case DeleteWebhookEndpoint():
            return webhooks.delete(facts, asked, payload)
        case TryWebhookEndpoint():
            return webhooks.send_trial(facts, asked, payload)
        case CreateSubscription():
            return subscriptions.create(facts, asked, payload)
        case UpdateSubscription():
            return subscriptions.update(facts, asked, payload)
        case DeleteSubscription():
            return subscriptions.delete(facts, asked, payload)
        case RegisterEventType():
            return event_types.register(facts, asked, payload)
        case StartReplay():
            return replays.start(facts, asked, payload)
        case CancelReplay():
            return replays.cancel(facts, asked, payload)
        case SetLimit():
            return limits.set_limit(asked, payload)
        case ClearLimit():
            return limits.clear_limit(asked, payload)
        case TryWebhook():
            return work_webhooks.send_test(facts, asked, payload)
        case ReplayWebhook():
            return work_webhooks.replay(facts, asked, payload)
        case CreateProject() | UpdateProject() | CreateTask() | UpdateTask() | DeleteTask():
            return work.decide(facts, asked, payload)
        case Suspend():
            return guardrails.suspend(facts, asked, payload)
        case Unsuspend():
            return guardrails.resume(facts, asked, payload)
        case Warn():
            return guardrails.warn(facts, asked, payload)
        case ReplacePolicy():
            return guardrails.replace_policy(asked, payload)
        case _:
            raise Refused(400, "invalid_request", f"{asked.command.kind} is not a request.")


def _has_workspace(facts: Facts, asked: Asked) -> None:
    if facts.workspace(asked.command.workspace) is None:
        raise Refused(404, "workspace_not_found", f"There is no workspace {asked.command.workspace}.")


def _answer(asked: Asked, done: Done) -> Answer:
    return Answer(
        command_id=asked.command.id,
        version=asked.version,
        at_ms=asked.append_ms,
        outcome=DONE if done.status else WAITING,
        status=done.status,
        body=done.body,
        scope=asked.scope,
        asked=request_of(asked.command.surface, asked.payload),
        changes=done.changes,
        audit=_audit(asked, done.resource, DONE if done.status else "accepted"),
    )


def _refusal(asked: Asked, refused: Refused) -> Answer:
    return Answer(
        command_id=asked.command.id,
        version=asked.version,
        at_ms=asked.append_ms,
        outcome=REFUSED,
        status=refused.status,
        body=refused.body,
        scope=None if asked.command.surface == WORK else asked.scope,  # a refusal leaves the key free there (W-041)
        asked=request_of(asked.command.surface, asked.payload),
        audit=_audit(asked, "", refused.fault.code),
    )


def _audit(asked: Asked, resource: str, outcome: str) -> Audit:
    command = asked.command
    return Audit(
        id=derived_id(AUDIT, asked.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        actor=command.actor,
        action=command.kind,
        resource=resource,
        route=command.route,
        request_id=command.request_id,
        address=command.address,
        at_ms=asked.append_ms,
        outcome=outcome,
    )


def _verdicts(answer: Answer, asked: Asked) -> tuple[tuple[int, Verdict], ...]:
    return () if asked.reply is None else (answer.verdict(asked.reply),)
