"""Checks that the requesting key is still valid and that its command is within the key's limits.

Gateways check too, but their view of keys and routes may be a moment old. The check here follows the log's order.
Sessions, the holder of the master key and other processes have no limits. A limited key's command is refused unless a
rule below allows it.
"""

from collections.abc import Iterable

from msgspec import structs

from domain.control.values import CommandAnswer, CommandRefused, CommandRequest, Facts, absent, key_reused
from domain.security.principals import Principal, beyond, principal_of
from domain.security.reach import concerned, may_change, may_see
from schemas.commands.keys import CreateKey, RevokeKey, RotateKey
from schemas.commands.replays import CancelReplay, StartReplay
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.webhooks import CreateWebhookEndpoint, DeleteWebhookEndpoint, RotateSecret, TryWebhookEndpoint
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow, ReactivateWorkflow
from schemas.entities import Key, State, Workflow
from schemas.errors import FieldError
from schemas.ids import WEBHOOK_ENDPOINT
from schemas.topics import SYSTEM_STREAMS

OTHER_STREAMS = "The key is limited to other streams."
SHARED = "The workflow also gets events of streams that the key is not limited to."
WHOLE_WORKSPACE = "The key is limited to some streams, and this concerns the whole workspace."
BEYOND = "A key can't make, rotate or revoke one that may do more than itself: see details.errors."
BEYOND_FIELD = "More than the key that asks may do."
NAME_STREAMS = "The key is limited to some streams: name those of them that the endpoint gets events of."


def require(facts: Facts, request: CommandRequest) -> None:
    """Raises CommandRefused: 401 for a key that is no longer valid, 404 for an object that a limited key can't see, 403
    for what the key may not do.
    """
    key = asking_key(facts, request)
    if key is None:
        return
    if not key.holds(request.append_ms):
        raise CommandRefused(401, "unauthorized", "The key was revoked or has expired.")
    maker = principal_of(key)
    _within_itself(facts, request, maker)
    if maker.is_limited:
        _within_its_streams(facts, request, maker)


def require_own(facts: Facts, request: CommandRequest, earlier: CommandAnswer) -> None:
    """Lets a limited key repeat its own requests only: another key's answer was not checked against its limits.
    Raises CommandRefused (409)."""
    key = asking_key(facts, request)
    is_own = earlier.audit is not None and earlier.audit.actor == request.command.actor
    if key is not None and principal_of(key).is_limited and not is_own:
        raise key_reused()


def asking_key(facts: Facts, request: CommandRequest) -> Key | None:
    key = facts.key(request.command.actor)
    return key if key is not None and key.workspace == request.command.workspace else None


def workflows_exist(facts: Facts, request: CommandRequest, field: str, workflows: list[str]) -> None:
    """A workflow that the requesting key can't see counts as one that does not exist. Raises CommandRefused (400)."""
    key = asking_key(facts, request)
    maker = None if key is None else principal_of(key)
    unknown = tuple(
        FieldError(f"{field}[{index}]", f"There is no workflow {workflow}.")
        for index, workflow in enumerate(workflows)
        if not _is_there(facts, request, maker, workflow)
    )
    if unknown:
        raise CommandRefused(400, "invalid_request", "The request names workflows that do not exist.", unknown)


def streams_of_maker(facts: Facts, request: CommandRequest) -> list[str]:
    """What a limited key creates is for that key's streams."""
    key = asking_key(facts, request)
    return [] if key is None else sorted(key.streams)


def _is_there(facts: Facts, request: CommandRequest, maker: Principal | None, workflow_id: str) -> bool:
    workflow = facts.workflow(request.command.workspace, request.command.environment, workflow_id)
    if workflow is None or maker is None or not maker.is_limited:
        return workflow is not None
    return may_see(maker, workflow, _routed_by(facts, workflow))


def _within_itself(facts: Facts, request: CommandRequest, maker: Principal) -> None:
    """Checks the keys that the command creates, rotates or revokes. The command's own rule reports a missing key."""
    match request.payload:
        case CreateKey() as payload:
            fields = structs.asdict(payload)
            key = Key(id="", workspace=maker.workspace, created_ms=request.append_ms, token_hash="", **fields)
        case RotateKey(id=key_id) | RevokeKey(id=key_id):
            found = facts.key(key_id)
            if found is None or (found.workspace, found.environment) != (maker.workspace, maker.environment):
                return
            if not may_see(maker, found):
                raise absent("key_not_found")
            key = found
        case _:
            return
    fields_beyond = beyond(maker, principal_of(key))
    if fields_beyond:
        errors = tuple(FieldError(field, BEYOND_FIELD) for field in fields_beyond)
        raise CommandRefused(403, "forbidden", BEYOND, errors)


def _within_its_streams(facts: Facts, request: CommandRequest, maker: Principal) -> None:
    if request.command.surface in SYSTEM_STREAMS:  # all that its surface has concerns that stream
        _require(maker, {request.command.surface}, WHOLE_WORKSPACE)
        return
    match request.payload:
        case CreateKey() | RotateKey() | RevokeKey() | CreateWorkflow():
            return  # keys were checked above; a workflow gets its creator's streams
        case CreateStream(name=name):
            _require(maker, {name}, OTHER_STREAMS)
        case CreateWebhookEndpoint(streams=[]):
            raise CommandRefused(403, "forbidden", WHOLE_WORKSPACE, (FieldError("streams", NAME_STREAMS),))
        case CreateWebhookEndpoint(streams=streams):
            _require(maker, streams, OTHER_STREAMS)
        case StartReplay(stream=stream, event_id=event_id):
            if not maker.may_use_stream(stream):
                raise absent("event_not_found" if event_id else "stream_not_found")
        case _:
            _found_within_its_streams(facts, request, maker)


def _found_within_its_streams(facts: Facts, request: CommandRequest, maker: Principal) -> None:
    """Checks the objects that the command names. The command's own rule reports a missing object."""
    command, payload = request.command, request.payload
    scope = command.workspace, command.environment
    state: State | None
    match payload:
        case UpdateStream(stream=name) | DeleteStream(stream=name):
            found = facts.stream_named(*scope, name) or facts.stream(name)
            state, code = found, "stream_not_found"
        case CancelReplay(id=replay_id):
            state, code = facts.replay(replay_id), "replay_not_found"
        case (
            DeleteWorkflow(id=target_id)
            | ReactivateWorkflow(id=target_id)
            | RotateSecret(id=target_id)
            | DeleteWebhookEndpoint(id=target_id)
            | TryWebhookEndpoint(id=target_id)
        ):
            state, code = _target(facts, scope, target_id)
        case _:
            raise CommandRefused(403, "forbidden", WHOLE_WORKSPACE)
    if state is None or state.workspace != command.workspace:
        return
    routed_by = _routed_by(facts, state) if isinstance(state, Workflow) else set()
    if not may_see(maker, state, routed_by):
        raise absent(code)
    _require(maker, concerned(state, routed_by), SHARED)


def _target(facts: Facts, scope: tuple[str, str], target_id: str) -> tuple[State | None, str]:
    """The object, found by the prefix of its id, and the error code for a missing one."""
    if target_id.startswith(WEBHOOK_ENDPOINT):
        return facts.endpoint(*scope, target_id), "webhook_endpoint_not_found"
    return facts.workflow(*scope, target_id), "workflow_not_found"


def _routed_by(facts: Facts, workflow: Workflow) -> set[str]:
    return facts.routed_by(workflow.workspace, workflow.environment, workflow.id)


def _require(maker: Principal, streams: Iterable[str], message: str) -> None:
    if not may_change(maker, frozenset(streams)):
        raise CommandRefused(403, "forbidden", message)
