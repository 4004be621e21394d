"""Decides a command: done, refused, or taken with its answer to come. Values in, values out; no I/O and no clock.

Order of questions: was this very record decided before (then the same again); was the same request made under its
idempotency key (then the same answer); does the workspace exist; then the kind's own rules.
"""

import re
from collections.abc import Callable

import msgspec

from processors.control import streams
from processors.control.values import WAITING, Answer, Asked, Changes, Done, Effects, Facts, Refused, body_of
from schemas.commands import (
    DONE,
    IDEMPOTENCY_MS,
    REFUSED,
    CreateKey,
    CreateStream,
    CreateWorkflow,
    CreateWorkspace,
    DeleteStream,
    DeleteWorkflow,
    NewKey,
    ResumeTopics,
    StreamAltered,
    StreamCreated,
    StreamExpired,
    UpdateStream,
    WorkspaceCreated,
    payload_hash,
)
from schemas.entities import Key, Workflow, Workspace
from schemas.ids import KEY, WORKFLOW, derived_id
from schemas.records import Audit, Verdict
from schemas.tokens import TokenHasher, mint_token
from schemas.topics import ENVIRONMENTS

Report = StreamCreated | StreamAltered | StreamExpired | ResumeTopics
"""What the control process tells itself."""
WORKSPACE_ID = re.compile(r"[A-Za-z0-9_-]{3,64}")  # it is a part of topic names
AUDIT = "aud_"
REPLIES_MAX = 16  # a client that repeats a request while its stream is being created

TokenHash = Callable[[str, str, str], str]
"""Key kind, environment and key id to the hash under which the key's token is looked up."""


def token_hash_by(master_key: bytes) -> TokenHash:
    hasher = TokenHasher(master_key)
    return lambda key_kind, environment, key_id: hasher.hash(mint_token(master_key, key_kind, environment, key_id))


def decide(facts: Facts, asked: Asked, token_hash: TokenHash) -> Effects:
    known = facts.answer(asked.command.id)
    if known is not None:
        return again(known, asked)
    if isinstance(asked.payload, Report):
        return reported(facts, asked, asked.payload)
    earlier = _answer_to_key(facts, asked)
    return first(facts, asked, token_hash) if earlier is None else repeated(earlier, asked)


def again(known: Answer, asked: Asked) -> Effects:
    """The record was read before: the same effects."""
    replies = known.replies if asked.reply is None else (*known.replies, asked.reply)
    verdicts = () if known.outcome == WAITING else tuple(known.verdict(reply) for reply in replies)
    return Effects((known,), known.changes, verdicts, known.audit)


def repeated(earlier: Answer, asked: Asked) -> Effects:
    """Another record with a key seen before: the earlier answer, as soon as there is one.

    A later holder of the key means that this record is read again, and was a repeat of an answer forgotten since.
    """
    if earlier.version > asked.version:
        return Effects()
    if earlier.asked != payload_hash(asked.payload):
        message = "The idempotency key was used for another request in the last 24 hours."
        refused = _refusal(asked, Refused(409, "idempotency_key_reused", message))
        return Effects(verdicts=_verdicts(refused, asked))
    if earlier.outcome != WAITING:
        return Effects(verdicts=_verdicts(earlier, asked))
    if asked.reply is None or asked.reply in earlier.replies:
        return Effects()
    replies = (*earlier.replies, asked.reply)[-REPLIES_MAX:]
    return Effects(answers=(msgspec.structs.replace(earlier, replies=replies),))


def first(facts: Facts, asked: Asked, token_hash: TokenHash) -> Effects:
    try:
        answer = _answer(asked, _decided(facts, asked, token_hash))
    except Refused as refused:
        answer = _refusal(asked, refused)
    if answer.outcome == WAITING:
        kept = msgspec.structs.replace(answer, replies=() if asked.reply is None else (asked.reply,))
        return Effects((kept,), answer.changes, (), answer.audit)
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
    """What counts under the request's key: the answer of the last 24 hours, unless it was our own failure."""
    earlier = facts.answer_under(asked.scope) if asked.scope is not None else None
    if earlier is None or earlier.status >= 500 or asked.append_ms >= earlier.at_ms + IDEMPOTENCY_MS:
        return None
    return earlier


def _decided(facts: Facts, asked: Asked, token_hash: TokenHash) -> Done:
    payload = asked.payload
    if asked.command.environment not in ENVIRONMENTS:
        raise Refused(400, "invalid_request", "The environment is live or test.")
    if not isinstance(payload, CreateWorkspace) and facts.workspace(asked.command.workspace) is None:
        raise Refused(404, "workspace_not_found", f"There is no workspace {asked.command.workspace}.")
    match payload:
        case CreateWorkspace():
            return create_workspace(facts, asked, payload, token_hash)
        case CreateKey():
            return create_key(asked, payload, token_hash)
        case CreateStream():
            return streams.create(facts, asked, payload)
        case UpdateStream():
            return streams.update(facts, asked, payload)
        case DeleteStream():
            return streams.delete(facts, asked, payload)
        case CreateWorkflow():
            return create_workflow(facts, asked, payload)
        case DeleteWorkflow():
            return delete_workflow(facts, asked, payload)
        case _:
            raise Refused(400, "invalid_request", f"{asked.command.kind} is not a request.")


def create_workspace(facts: Facts, asked: Asked, payload: CreateWorkspace, token_hash: TokenHash) -> Done:
    workspace_id = asked.command.workspace
    if WORKSPACE_ID.fullmatch(workspace_id) is None:
        raise Refused(400, "invalid_request", "A workspace id is 3 to 64 letters, digits, - and _.")
    if facts.workspace(workspace_id) is not None:
        raise Refused(409, "workspace_exists", f"The workspace {workspace_id} exists.")
    workspace = Workspace(id=workspace_id, workspace=workspace_id, created_ms=asked.append_ms, name=payload.name)
    keys = [_new_key(asked, new, index, token_hash) for index, new in enumerate(payload.keys)]
    put = tuple(state.to_entity(asked.version) for state in (workspace, *keys))
    body = msgspec.json.encode(WorkspaceCreated(workspace=workspace, keys=keys))
    return Done(201, Changes(put=put), f"workspace/{workspace_id}", body)


def create_key(asked: Asked, payload: CreateKey, token_hash: TokenHash) -> Done:
    new = NewKey(**{name: getattr(payload, name) for name in NewKey.__struct_fields__})
    key = _new_key(asked, new, 0, token_hash)
    return Done(201, Changes(put=(key.to_entity(asked.version),)), f"key/{key.id}", body_of(key))


def create_workflow(facts: Facts, asked: Asked, payload: CreateWorkflow) -> Done:
    command = asked.command
    workflow = Workflow(
        id=payload.id or derived_id(WORKFLOW, asked.append_ms, command.id.encode()),
        workspace=command.workspace,
        environment=command.environment,
        created_ms=asked.append_ms,
        name=payload.name,
        url=payload.url,
    )
    if facts.workflow(command.workspace, command.environment, workflow.id) is not None:
        raise Refused(409, "workflow_exists", f"The workflow {workflow.id} exists.")
    return Done(201, Changes(put=(workflow.to_entity(asked.version),)), f"workflow/{workflow.id}", body_of(workflow))


def delete_workflow(facts: Facts, asked: Asked, payload: DeleteWorkflow) -> Done:
    workflow = facts.workflow(asked.command.workspace, asked.command.environment, payload.id)
    if workflow is None:
        raise Refused(404, "workflow_not_found", f"There is no workflow {payload.id}.")
    return Done(204, Changes(gone=(workflow.to_entity(asked.version),)), f"workflow/{workflow.id}")


def _new_key(asked: Asked, new: NewKey, index: int, token_hash: TokenHash) -> Key:
    key_id = derived_id(KEY, asked.append_ms, asked.command.id.encode(), index.to_bytes(2, "big"))
    return Key(
        id=key_id,
        workspace=asked.command.workspace,
        environment=new.environment,
        created_ms=asked.append_ms,
        key_kind=new.key_kind,
        name=new.name,
        token_hash=token_hash(new.key_kind, new.environment, key_id),
        scopes=new.scopes,
        streams=new.streams,
    )


def _answer(asked: Asked, done: Done) -> Answer:
    return Answer(
        command_id=asked.command.id,
        version=asked.version,
        at_ms=asked.append_ms,
        outcome=DONE if done.status else WAITING,
        status=done.status,
        body=done.body,
        scope=asked.scope,
        asked=payload_hash(asked.payload),
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
        scope=asked.scope,
        asked=payload_hash(asked.payload),
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
        request_id=command.request_id,
        address=command.address,
        at_ms=asked.append_ms,
        outcome=outcome,
    )


def _verdicts(answer: Answer, asked: Asked) -> tuple[tuple[int, Verdict], ...]:
    return () if asked.reply is None else (answer.verdict(asked.reply),)
