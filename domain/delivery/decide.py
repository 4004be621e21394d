"""What the result of an attempt means for its delivery: delivered, another attempt and when, disabled, or given up.

A 2xx status line is an acknowledgement, even if the rest of the answer can't be read (W11). A 410 disables the
endpoint: the delivery waits until the endpoint is reactivated, and is attempted then. Any other result is a failure:
another attempt is due as the endpoint's schedule says (retry_schedule.py), or this attempt was the last.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.delivery.retry_schedule import RetrySchedule, asked_pause_ms
from domain.events.status import RouteState
from schemas.commands.workflows import DisableWorkflow
from schemas.entities import Target
from schemas.ids import COMMAND, derived_id
from schemas.records import Command, Delivery, Outcome
from schemas.topics import DAY_MS


class ErrorCode(StrEnum):
    """`last_error.code` of an attempt."""

    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_STATUS = "upstream_status"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    ENDPOINT_DISABLED = "endpoint_disabled"
    TARGET_FORBIDDEN = "target_forbidden"


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint's status line arrived. `excerpt`: the first bytes of the body, as many as came in time. `unread`:
    why the rest could not be read; it completes "<workflow> answered 200, but …".
    """

    http_status: int
    excerpt: bytes = b""
    retry_after: str | None = None
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No status line arrived within the time of the attempt."""

    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No HTTP answer. `detail` completes "<workflow> …" and names no address, since the console shows it."""

    code: ErrorCode
    detail: str


@dataclass(frozen=True, slots=True)
class TopicWritten:
    """The broker has the record of a route to a topic."""


AttemptResult = Answered | TopicWritten | TimedOut | Failed
GONE = 410
DELIVERY_LIFE_MS = 30 * DAY_MS  # the retention of the topic `deliveries`
WORKFLOW_DELETED = Failed(ErrorCode.ENDPOINT_DISABLED, "was deleted")
DISABLED_TOO_LONG = Failed(ErrorCode.ENDPOINT_DISABLED, "was disabled for longer than deliveries are kept")
FINAL = (WORKFLOW_DELETED, DISABLED_TOO_LONG)
DISABLING_ACTOR = "delivery"
_ENDPOINT_FAILURES = frozenset({ErrorCode.CONNECTION_FAILED, ErrorCode.TLS_FAILED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that has ended. `workflow_name` is the route's name in error messages; `first_ms`: when the first
    attempt of this delivery began.
    """

    number: int
    workflow_name: str
    first_ms: int
    started_ms: int
    completed_ms: int
    result: AttemptResult


def is_given_up(delivery: Delivery, now_ms: int) -> bool:
    """Whether the delivery is too old for another attempt: its endpoint was disabled for longer than deliveries are
    kept. A replay is as old as its event, and is attempted all the same.
    """
    return now_ms - delivery.received_ms > DELIVERY_LIFE_MS and not delivery.replay


def outcome_of(delivery: Delivery, attempt: Attempt, schedule: RetrySchedule) -> Outcome:
    """The record of one attempt. It also says what comes next: nothing, or another attempt and when."""
    error = _error_of(attempt)
    status, next_attempt_ms = _what_next(delivery, attempt, schedule)
    answered = attempt.result if isinstance(attempt.result, Answered) else None
    return Outcome(
        delivery_id=delivery.delivery_id,
        event_id=delivery.event_id,
        workspace=delivery.workspace,
        environment=delivery.environment,
        stream=delivery.stream,
        workflow_id=delivery.workflow_id,
        received_ms=delivery.received_ms,
        replay=delivery.replay,
        kind=delivery.kind,
        routes=delivery.routes,
        attempt=attempt.number,
        status=status,
        started_ms=attempt.started_ms,
        completed_ms=attempt.completed_ms,
        http_status=None if answered is None else answered.http_status,
        error_code=None if error is None else error[0],
        error_message=None if error is None else error[1],
        next_attempt_ms=next_attempt_ms,
        response_excerpt=(answered.excerpt or None) if answered is not None else None,
    )


def is_acknowledged(result: AttemptResult) -> bool:
    return isinstance(result, TopicWritten) or (isinstance(result, Answered) and 200 <= result.http_status <= 299)


def speaks_against_endpoint(result: AttemptResult) -> bool:
    """Whether the endpoint's circuit breaker counts this as a failure: no answer, a 5xx or a 429. A 404 shows that the
    endpoint works.
    """
    match result:
        case Answered(http_status=status):
            return status >= 500 or status == 429
        case TopicWritten():
            return False
        case TimedOut():
            return True
        case Failed(code=code):
            return code in _ENDPOINT_FAILURES


def disable_command(delivery: Delivery, workflow: Target, outcome: Outcome) -> Command:
    """The command that asks the control process to disable an endpoint which answered 410. Its id is derived from the
    attempt, so that writing it twice asks once.
    """
    payload = DisableWorkflow(id=workflow.id, reactivations=workflow.reactivations)
    return Command(
        id=derived_id(COMMAND, outcome.completed_ms, f"{delivery.delivery_id}/{outcome.attempt}/410".encode()),
        kind=payload.kind,
        workspace=workflow.workspace,
        environment=workflow.environment,
        payload=payload.encode(),
        actor=DISABLING_ACTOR,
    )


def _what_next(delivery: Delivery, attempt: Attempt, schedule: RetrySchedule) -> tuple[RouteState, int | None]:
    result = attempt.result
    if is_acknowledged(result):
        return RouteState.DELIVERED, None
    if result in FINAL:
        return RouteState.EXHAUSTED, None
    asked_ms = None
    if isinstance(result, Answered):
        if result.http_status == GONE:
            return RouteState.DISABLED, None
        asked_ms = asked_pause_ms(result.http_status, result.retry_after, attempt.completed_ms)
    due_ms = schedule.due_ms(
        delivery.delivery_id,
        attempt.number,
        first_ms=attempt.first_ms,
        failed_ms=attempt.completed_ms,
        asked_ms=asked_ms,
    )
    return (RouteState.EXHAUSTED, None) if due_ms is None else (RouteState.RETRY_SCHEDULED, due_ms)


def _error_of(attempt: Attempt) -> tuple[ErrorCode | None, str] | None:
    """Code and message. None: there is nothing to report. Without a code: the endpoint acknowledged, but part of its
    answer could not be read. The API's document prescribes the message of a time-out.
    """
    name = attempt.workflow_name
    match attempt.result:
        case TopicWritten():
            return None
        case Answered() as answered:
            return _error_of_answer(name, answered)
        case TimedOut(timeout_seconds=seconds):
            return ErrorCode.UPSTREAM_TIMEOUT, f"{name} did not respond within {seconds:g}s"
        case Failed(code=code, detail=detail):
            return code, f"{name} {detail}"


def _error_of_answer(name: str, answered: Answered) -> tuple[ErrorCode | None, str] | None:
    status = answered.http_status
    unread = "" if answered.unread is None else f", but {answered.unread}"
    if 200 <= status <= 299:
        return (None, f"{name} answered {status}{unread}") if unread else None
    if status == GONE:
        return ErrorCode.ENDPOINT_DISABLED, f"{name} answered 410 and is disabled until it is reactivated"
    if 300 <= status <= 399:
        return ErrorCode.UPSTREAM_STATUS, f"{name} answered {status}; redirects are not followed"
    return ErrorCode.UPSTREAM_STATUS, f"{name} answered {status}{unread}"
