"""What the guardrails know of an organization, as their tables keep it, and what a record comes to.

Mutable: a batch changes them in place and saves each once. All times are the log's, in milliseconds.
"""

from dataclasses import dataclass, field

import msgspec

from domain.guardrails.layers.found import Found, Seen
from schemas.entities import KillFlag
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Layer, Mode
from schemas.records import Audit, Command, Verdict

LANE_CALLS_MAX = 32
DAYS_KEPT = 100


class Spent(msgspec.Struct, array_like=True, gc=False):
    """Billionths of a dollar by hour, day and month (numbered since the epoch, UTC); the newest few of each.

    `notices`: of a part that caps count beside the organization, as the organization's own.
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
    """`offset`: of the last record that is counted here; one at or below it is read again and changes nothing.

    `notices`: what was told of a cap, by its name, as its period's number and the percentage. `forgiven`: what a cap
    does not count after a resume, likewise. `cleared_ms`: up to when a layer counts nothing. `muted_ms`: until when a
    layer that only warns says no more of the organization. `warned`: the parts that caps warned of last.
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


class Lane(msgspec.Struct, array_like=True):
    """A session's calls, or a key's where calls name no session: the newest, in the order they were made.

    `muted_ms`: until when a layer that only warns says no more of it. `resumes`: how many the organization had had
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
    """A layer that tripped: what it found, on whose calls, in which mode; `warning`: of a cap that does not suspend."""

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
class Effects:
    """All that one record causes. `commands` are for the control agent, in this order; the last of them answers who
    waits, so the answer leaves when `control` has what it tells of.
    """

    commands: tuple[Command, ...] = ()
    audits: tuple[Audit, ...] = ()
    verdict: tuple[int, Verdict] | None = None
    """The partition of `verdicts` and the record."""
    trips: tuple[Trip, ...] = ()
    calls: int = 0
    duplicates: int = 0
    late: int = 0


@dataclass
class Counted:
    """What counting a record's calls has found."""

    trips: list[Trip] = field(default_factory=list)
    calls: int = 0
    duplicates: int = 0
    late: int = 0
    touched: set[Guarded] = field(default_factory=set)


class Refused(Exception):
    """A decision against what was asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


_encode_policy = msgspec.json.Encoder().encode
_decode_policy = msgspec.json.Decoder(GuardrailPolicy).decode


def policy_bytes(policy: GuardrailPolicy) -> bytes:
    return _encode_policy(policy)


def read_policy(text: bytes) -> GuardrailPolicy:
    return _decode_policy(text)
