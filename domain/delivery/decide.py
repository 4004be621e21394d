"""What a delivery says to its endpoint, and what the endpoint's answer means. Pure.

The body is the same bytes over all attempts and re-reads: it derives from the delivery record alone, and what the
producer sent as JSON (data, actor, metadata) goes out byte-equal, never parsed and written anew.
A 2xx status line is an acknowledgement, whatever becomes of the rest of the answer (W11); anything else is
a failure: another attempt is due as the endpoint's schedule says (retry_schedule.py), or it was the last.
A 410 disables the endpoint: the delivery waits until it is reactivated, and is made then.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from domain.delivery.retry_after import asked_pause_ms
from domain.delivery.retry_schedule import RetrySchedule
from schemas.records import Delivery, Outcome
from schemas.times import rfc3339


class ErrorCode(StrEnum):
    """`last_error.code` of an attempt."""

    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_STATUS = "upstream_status"
    CONNECTION_FAILED = "connection_failed"
    TLS_FAILED = "tls_failed"
    ENDPOINT_DISABLED = "endpoint_disabled"
    TARGET_FORBIDDEN = "target_forbidden"


class Status(StrEnum):
    """`Outcome.status`: what the attempt made of its delivery."""

    DELIVERED = "delivered"
    RETRY_SCHEDULED = "retry_scheduled"
    EXHAUSTED = "exhausted"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint's status line arrived. `excerpt`: the first bytes of the body, as many as came in time. `unread`:
    what could not be read of the rest; it completes "<workflow> answered 200, but …".
    """

    http_status: int
    excerpt: bytes = b""
    retry_after: str | None = None
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No head within the attempt's time."""

    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No HTTP answer. `detail` completes "<workflow> …" and names no address (the console shows it)."""

    code: ErrorCode
    detail: str


@dataclass(frozen=True, slots=True)
class Written:
    """Of a route to a topic: the broker has the record."""


Result = Answered | Written | TimedOut | Failed
GONE = 410
ORDERING_KEY = "ordering_key"
WORKFLOW_DELETED = Failed(ErrorCode.ENDPOINT_DISABLED, "was deleted")
DISABLED_TOO_LONG = Failed(ErrorCode.ENDPOINT_DISABLED, "was disabled for longer than deliveries are kept")
FINAL = (WORKFLOW_DELETED, DISABLED_TOO_LONG)
_ENDPOINT_FAILURES = frozenset({ErrorCode.CONNECTION_FAILED, ErrorCode.TLS_FAILED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that has ended. `workflow_name` is how errors call the route; `first_ms`: when the first began."""

    number: int
    workflow_name: str
    first_ms: int
    started_ms: int
    completed_ms: int
    result: Result


def outcome_of(delivery: Delivery, attempt: Attempt, schedule: RetrySchedule) -> Outcome:
    """The record of one attempt, and in it what comes next: nothing, or another attempt and when."""
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


def is_acknowledged(result: Result) -> bool:
    return isinstance(result, Written) or (isinstance(result, Answered) and 200 <= result.http_status <= 299)


def speaks_against_endpoint(result: Result) -> bool:
    """Whether its circuit breaker counts this: no answer, or one that says "not now"; a 404 says that it works."""
    match result:
        case Answered(http_status=status):
            return status >= 500 or status == 429
        case Written():
            return False
        case TimedOut():
            return True
        case Failed(code=code):
            return code in _ENDPOINT_FAILURES


def ordering_key_of(event: dict[str, Any]) -> str | None:
    """Within which an ordered workflow gets events one after the other; None: this one stands for itself.

    `event`: the delivery's Avro `Event`, decoded. What the producer named comes before the idempotency key.
    """
    metadata = orjson.loads(event["metadata"]) if event["metadata"] else {}
    named = metadata.get(ORDERING_KEY)
    if named is None:
        key: str | None = event["idempotency_key"]
        return None if key is None else f"key:{key}"
    return f"named:{named}"


def _what_next(delivery: Delivery, attempt: Attempt, schedule: RetrySchedule) -> tuple[Status, int | None]:
    result = attempt.result
    if is_acknowledged(result):
        return Status.DELIVERED, None
    if result in FINAL:
        return Status.EXHAUSTED, None
    asked_ms = None
    if isinstance(result, Answered):
        if result.http_status == GONE:
            return Status.DISABLED, None
        asked_ms = asked_pause_ms(result.http_status, result.retry_after, attempt.completed_ms)
    due_ms = schedule.due_ms(
        delivery.delivery_id,
        attempt.number,
        first_ms=attempt.first_ms,
        failed_ms=attempt.completed_ms,
        asked_ms=asked_ms,
    )
    return (Status.EXHAUSTED, None) if due_ms is None else (Status.RETRY_SCHEDULED, due_ms)


def body_of(delivery: Delivery, event: dict[str, Any]) -> bytes:
    """The POST's body. `event` is the delivery's Avro `Event`, decoded; data, actor and metadata are JSON as sent."""
    return b"".join(
        (
            b'{"id":',
            _text(delivery.event_id),
            b',"object":"event","stream":',
            _text(delivery.stream),
            b',"type":',
            _text(event["type"]),
            b',"occurred_at":',
            _text(event["occurred_at"]),
            b',"received_at":',
            _text(rfc3339(delivery.received_ms)),
            b',"data":',
            event["data"],
            b',"actor":',
            event["actor"] or b"null",
            b',"metadata":',
            event["metadata"] or b"null",
            b',"workflow_id":',
            _text(delivery.workflow_id),
            b"}",
        )
    )


def _error_of(attempt: Attempt) -> tuple[ErrorCode | None, str] | None:
    """Code and message; None where there is nothing to say, no code where the endpoint acknowledged and part of its
    answer could not be read. The time-out's words are the document's.
    """
    name = attempt.workflow_name
    match attempt.result:
        case Written():
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


def _text(value: str) -> bytes:
    return orjson.dumps(value)
