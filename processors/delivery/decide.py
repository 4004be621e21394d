"""What a delivery says to its endpoint, and what the endpoint's answer means. Pure.

The body is the same bytes over all attempts and re-reads: it derives from the delivery record alone, and what the
producer sent as JSON (data, actor, metadata) goes out byte-equal, never parsed and written anew (seeds/000; DESIGN).
A 2xx head is an acknowledgement, whatever becomes of the answer's body (RELIABILITY W11); anything else is a failure.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

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
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint's head arrived. `excerpt`: the first bytes of the body, as many as came in time."""

    http_status: int
    excerpt: bytes = b""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No head within the attempt's time."""

    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No HTTP answer. `detail` completes "<workflow> …" and names no address (the console shows it)."""

    code: ErrorCode
    detail: str


Result = Answered | TimedOut | Failed
WORKFLOW_DELETED = Failed(ErrorCode.ENDPOINT_DISABLED, "was deleted")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that has ended. `workflow_name` is how errors call the route."""

    number: int
    workflow_name: str
    started_ms: int
    completed_ms: int
    result: Result


def outcome_of(delivery: Delivery, attempt: Attempt) -> Outcome:
    """The record of one attempt. A failed one is the last: its delivery is exhausted."""
    error = _error_of(attempt)
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
        attempt=attempt.number,
        status=Status.DELIVERED if error is None else Status.EXHAUSTED,
        started_ms=attempt.started_ms,
        completed_ms=attempt.completed_ms,
        http_status=None if answered is None else answered.http_status,
        error_code=None if error is None else error[0],
        error_message=None if error is None else error[1],
        response_excerpt=(answered.excerpt or None) if answered is not None else None,
    )


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


def _error_of(attempt: Attempt) -> tuple[ErrorCode, str] | None:
    """Code and message; None where the endpoint acknowledged. The time-out's words are the document's (seeds/000)."""
    name = attempt.workflow_name
    match attempt.result:
        case Answered(http_status=status) if 200 <= status <= 299:
            return None
        case Answered(http_status=status) if 300 <= status <= 399:
            return ErrorCode.UPSTREAM_STATUS, f"{name} answered {status}; redirects are not followed"
        case Answered(http_status=status):
            return ErrorCode.UPSTREAM_STATUS, f"{name} answered {status}"
        case TimedOut(timeout_seconds=seconds):
            return ErrorCode.UPSTREAM_TIMEOUT, f"{name} did not respond within {seconds:g}s"
        case Failed(code=code, detail=detail):
            return code, f"{name} {detail}"


def _text(value: str) -> bytes:
    return orjson.dumps(value)
