"""What the guardrails know about an organization, as their tables keep it, and what they decide about one record.

Mutable: a batch changes the tables' values in place and saves each once. All times are the log's, in milliseconds.
"""

from dataclasses import dataclass, field

import msgspec

from domain.guardrails.layers.found import Found, Seen
from schemas.entities import KillFlag
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Layer, Mode
from schemas.records import Audit, Command, Telemetry, Verdict
from schemas.replies import ReplyTo
from schemas.telemetry import TelemetryPayload

SESSION_CALLS_MAX = 32
DAYS_KEPT = 100
GUARDRAILS = "guardrails"
"""The actor of what the guardrails do by themselves."""


class Spent(msgspec.Struct, array_like=True, gc=False):
    """Billionths of a dollar by hour, day and month (numbered since the epoch, UTC); the newest few of each.

    `notices`: of a part that caps count besides the organization, in the form of the organization's own.
    """

    hours: dict[int, int] = {}
    days: dict[int, int] = {}
    months: dict[int, int] = {}
    notices: dict[str, tuple[int, int]] = {}


class Reservation(msgspec.Struct, array_like=True, frozen=True, gc=False):
    cost_nano: int
    expires_ms: int
    key_id: str = ""
    project: str = ""
    model: str = ""
    user: str = ""


class Organization(msgspec.Struct, array_like=True):
    """`offset`: of the last record that is counted here; a record at or below it changes nothing when it is read again.

    `notices`: by cap, the number of the period and the percentage of its last warning. `forgiven`: by cap, what it does
    not count after a resume. `cleared_ms`: by layer, up to when it ignores calls. `muted_ms`: by layer, until when it
    gives no further warning. `warned`: the projects, keys, models and users that caps warned about last.
    """

    offset: int = -1
    policy: bytes = b""
    policy_version: int = 0
    flags: list[KillFlag] = []
    spent: Spent = msgspec.field(default_factory=Spent)
    minutes: dict[int, tuple[int, int]] = {}
    notices: dict[str, tuple[int, int]] = {}
    forgiven: dict[str, tuple[int, int]] = {}
    cleared_ms: dict[str, int] = {}
    muted_ms: dict[str, int] = {}
    reservations: dict[str, Reservation] = {}
    resumes: int = 0
    warned: list[Guarded] = []


class SessionWindow(msgspec.Struct, array_like=True):
    """The newest calls of a session (of a key, where calls name no session), in the order in which they were made.

    `muted_ms`: by layer, until when it gives no further warning. `resumes`: how many resumes the organization had had
    when late calls were last cleared.
    """

    calls: list[Seen] = []
    muted_ms: dict[str, int] = {}
    resumes: int = 0


class KeyWindow(msgspec.Struct, array_like=True):
    """A key's calls by steps of time (layers/burst.py); with `consecutive: false` also by fingerprint."""

    steps: dict[int, int] = {}
    repeats: dict[int, list[Seen]] = {}
    muted_ms: int = 0
    resumes: int = 0


@dataclass(frozen=True)
class Trip:
    """A layer that tripped: what it found, in whose calls, in which mode. `warning`: of a cap that does not suspend."""

    found: Found
    mode: Mode
    key_id: str = ""
    session_id: str = ""
    fingerprint: str = ""
    warning: BudgetWarning | None = None

    @property
    def layer(self) -> Layer:
        return self.found.layer


@dataclass(frozen=True)
class GuardEffects:
    """All that one record causes. `commands` go to the control agent, in this order. The last one carries the answer
    for the waiting request, so that the answer leaves only after `control` has the change.
    """

    commands: tuple[Command, ...] = ()
    audits: tuple[Audit, ...] = ()
    verdict: tuple[int, Verdict] | None = None
    """The partition of `verdicts` and the record."""
    trips: tuple[Trip, ...] = ()
    calls: int = 0
    duplicates: int = 0
    late: int = 0


@dataclass(frozen=True)
class GuardRequest:
    """A record as it is on the log, and what it asks for."""

    record: Telemetry
    payload: TelemetryPayload
    append_ms: int
    offset: int
    reply: ReplyTo | None = None


@dataclass
class CountedCalls:
    """What counting a record's calls has found."""

    trips: list[Trip] = field(default_factory=list)
    calls: int = 0
    duplicates: int = 0
    late: int = 0
    touched: set[Guarded] = field(default_factory=set)


class GuardRefused(Exception):
    """The request is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class GuardDecision:
    """What was decided, before it takes the form of records. `stood`: those of `resumed` that had a flag."""

    body: bytes = b""
    refused: GuardRefused | None = None
    flags: tuple[KillFlag, ...] = ()
    resumed: tuple[Guarded, ...] = ()
    stood: tuple[Guarded, ...] = ()
    reason: str = ""
    policy: GuardrailPolicy | None = None
    policy_version: int = 0
    trips: tuple[Trip, ...] = ()
    calls: int = 0
    duplicates: int = 0
    late: int = 0


_encode_policy = msgspec.json.Encoder().encode
_decode_policy = msgspec.json.Decoder(GuardrailPolicy).decode


def policy_bytes(policy: GuardrailPolicy) -> bytes:
    return _encode_policy(policy)


def read_policy(text: bytes) -> GuardrailPolicy:
    return _decode_policy(text)
