"""The four kinds of handlers that decide commands. Each module of rules ends with its `HANDLERS`: payload class to
handler. domain/commands/handlers.py joins them to the one registry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.control.values import CommandAnswer, CommandEffects, CommandRequest, Done, Facts, TokenHash
from schemas.commands.payload import Payload

Reported = tuple[Done, CommandAnswer | None] | None
"""A report's own decision and the answer that it completes; None: no request waits for this report any more."""


@dataclass(frozen=True)
class RequestHandler:
    """For a command that a caller or another process requests: it is answered, under its idempotency key where it has
    one, and recorded in the audit log. `decide` raises CommandRefused.
    """

    decide: Callable[[Facts, CommandRequest, Any], Done]
    needs_workspace: bool = True


@dataclass(frozen=True)
class MintingHandler:
    """A request whose decision makes keys, so that it needs the hashes of their tokens. `decide` raises
    CommandRefused.
    """

    decide: Callable[[Facts, CommandRequest, Any, TokenHash], Done]
    needs_workspace: bool = True


@dataclass(frozen=True)
class ReportHandler:
    """For the control process's report on its work on topics: it may complete the answer to an earlier request, and
    changes nothing when it comes too late.
    """

    decide: Callable[[Facts, CommandRequest, Any], Reported]


@dataclass(frozen=True)
class NoticeHandler:
    """For a notice of another process: no audit record, no idempotency key, all effects as given."""

    decide: Callable[[Facts, CommandRequest, Any], CommandEffects]


Handler = RequestHandler | MintingHandler | ReportHandler | NoticeHandler
Handlers = Mapping[type[Payload], Handler]
