"""Commands: what can be requested of the control agent. One payload class per kind, in the file of its subject.

A command is a record `Command` (schemas/avro) on the topic `commands`; its payload is the JSON of one of the classes.
The record's key is the workspace, so a workspace's commands have one order. A header `atlas-reply` names the waiting
request. The gateway checks a payload's fields and explains what is wrong; the limits here only keep a faulty writer
from breaking anything (such a record becomes a dead letter). Rules that need shared state are in domain/commands.

The answer is a `Verdict`: outcome `done` with the entity's state as JSON in `body` (status 201, 200; 204: no body),
or `refused` with a `RefusalBody` (answers.py).

To add a command: its class in a file here, its rule and one line of `HANDLERS` in a file of domain/control or
domain/work (a new file is listed in `SUBJECTS` below or in domain/commands/handlers.py). A test holds this. If keys
that are limited to streams may use it, domain/control/reach.py has to say what they reach.
"""

import msgspec

from schemas.codec import Undecodable
from schemas.commands import (
    event_types,
    guardrails,
    keys,
    limits,
    replays,
    reservations,
    streams,
    subscriptions,
    webhooks,
    work,
    workflows,
    workspaces,
)
from schemas.commands.payload import PAYLOADS, Payload
from schemas.records import Command

SUBJECTS = (
    *(event_types, guardrails, keys, limits, replays, reservations),
    *(streams, subscriptions, webhooks, work, workflows, workspaces),
)
"""The modules that define payloads: importing them fills `PAYLOADS`."""


def command_key(command: Command) -> bytes:
    """The record's key: partition = murmur2 of it."""
    return workspace_key(command.workspace)


def workspace_key(workspace: str) -> bytes:
    """All commands of a workspace are on one partition, in one order."""
    return workspace.encode()


def decode_payload(command: Command) -> Payload:
    """Raises Undecodable for an unknown kind and for a payload that does not fit its kind."""
    form = PAYLOADS.get(command.kind)
    if form is None:
        raise Undecodable(f"unknown kind of command: {command.kind[:64]!r}")
    try:
        return msgspec.json.decode(command.payload, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the payload is not a {command.kind}: {error}") from error
