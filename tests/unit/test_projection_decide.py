"""Records become rows (processors/projection/decide.py): what goes where, and what is named as unreadable, alone."""

from typing import Any

import pytest

from processors.projection.decide import project
from schemas.read_model import (
    ROWS,
    AttemptRow,
    EventRow,
    LogPosition,
    SourcePosition,
    attempts,
    event_conflicts,
    events,
    scope_of,
)
from schemas.records import Decision, Outcome
from tests.support.log_records import (
    RECEIVED_MS,
    TOPIC,
    WORKSPACE,
    a_decision,
    an_outcome,
    attempted,
    decided,
    event_id,
)


def test_an_admitted_event_is_one_row_with_all_that_is_shown() -> None:
    decision = a_decision(
        7,
        idempotency_key="key 7",
        actor=b'{"type": "user", "id": "usr_1"}',
        metadata=b'{"b": 1e400, "a": "\\u0000"}',
        routes=["wf_b", "wf_a"],
    )
    changes = project(decided(decision, first_offset=40))
    (event,) = changes.rows[events]
    assert [EventRow(*event)._asdict()] == [
        {
            "workspace": WORKSPACE,
            "environment": "live",
            "id": event_id(7),
            "stream": "orders",
            "type": "order.fulfilled",
            "received_ms": RECEIVED_MS,
            "occurred_at": "2026-05-18T16:22:11+02:00",
            "idempotency_key": "key 7",
            "actor": '{"type": "user", "id": "usr_1"}',
            "metadata": '{"b": 1e400, "a": "\\u0000"}',
            "routes": '["wf_b","wf_a"]',
            "data_bytes": 120,
            "source_topic": TOPIC,
            "source_topic_id": "topic-1",
            "source_partition": 3,
            "source_offset": 7,
            "status": "accepted",
            "scope": scope_of(WORKSPACE, "live"),
            "number": 0,
        }
    ]
    assert changes.position == LogPosition("decisions", 3, 41)


@pytest.mark.parametrize(
    ("decision", "shown", "conflicts"),
    [
        (a_decision(), 1, 0),
        (a_decision(outcome="replay", original_id=event_id(9)), 0, 0),
        (a_decision(outcome="conflict", original_id=event_id(9)), 0, 1),
        (a_decision(outcome="refused", event_id="", reason="invalid"), 0, 0),
    ],
    ids=lambda value: value.outcome if isinstance(value, Decision) else "",
)
def test_only_an_admitted_event_shows_and_a_conflict_is_kept_for_who_was_given_its_id(
    decision: Decision, shown: int, conflicts: int
) -> None:
    changes = project(decided(decision))
    assert (len(changes.rows[events]), len(changes.rows[event_conflicts]), changes.unreadable) == (shown, conflicts, [])
    assert changes.sources == {(TOPIC, 3): SourcePosition(TOPIC, 3, "topic-1", 2, 0)}


def test_an_attempt_is_one_row() -> None:
    outcome = an_outcome(status="retry_scheduled", http_status=None, error_code="upstream_timeout", next_attempt_ms=9)
    (row,) = map(AttemptRow._make, project(attempted(outcome, first_offset=12)).rows[attempts])
    assert (row.status, row.http_status, row.error_code, row.next_attempt_ms) == (
        "retry_scheduled",
        None,
        "upstream_timeout",
        9,
    )
    assert (row.received_ms, row.log_offset) == (RECEIVED_MS, 12)


@pytest.mark.requirement("F18")
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{}", "not Avro"),
        (a_decision().encode()[:-1], "Decision"),
        (a_decision().encode() + b"\x00", "follow"),
        (an_outcome().encode(), "fingerprint"),
        (a_decision(outcome="maybe").encode(), "outcome"),
        (a_decision(topic="commands").encode(), "stream"),
        (a_decision(topic="events.ws.live.o\x00").encode(), "stream"),
        (a_decision(event_id="").encode(), "0 characters"),
        (a_decision(event_id="e" * 256).encode(), "256 characters"),
        (a_decision(outcome="conflict", original_id="").encode(), "0 characters"),
    ],
)
def test_what_can_not_be_read_is_named_alone_and_its_neighbours_go_on(value: bytes | None, why: str) -> None:
    before, bad, after = decided(a_decision(1), a_decision(2), a_decision(3))
    changes = project([before, bad._replace(value=value), after])
    assert [row[2] for row in changes.rows[events]] == [event_id(1), event_id(3)]
    assert [unreadable.record.offset for unreadable in changes.unreadable] == [bad.offset]
    assert why in changes.unreadable[0].why
    assert changes.position == LogPosition("decisions", 3, after.offset + 1)


@pytest.mark.parametrize(
    "outcome", [an_outcome(status="lost"), an_outcome(delivery_id=""), an_outcome(workflow_id="w" * 300)]
)
def test_an_outcome_that_makes_no_sense_is_named_alone(outcome: Outcome) -> None:
    changes = project(attempted(an_outcome(1), outcome))
    assert (len(changes.rows[attempts]), [unreadable.record.offset for unreadable in changes.unreadable]) == (1, [1])


@pytest.mark.requirement("F51")
def test_a_NUL_which_PostgreSQL_can_not_hold_is_shown_as_the_replacement_character() -> None:
    decision = a_decision(type="a.\x00b", idempotency_key="k\x00", metadata=b'{"a": "\x00"}', topic_id="\x00")
    outcome = an_outcome(status="exhausted", error_message="said \x00", response_excerpt=b"\x00\xff")
    (event,) = map(EventRow._make, project(decided(decision)).rows[events])
    (attempt,) = map(AttemptRow._make, project(attempted(outcome)).rows[attempts])
    assert (event.type, event.idempotency_key, event.metadata) == ("a.\ufffdb", "k\ufffd", '{"a": "\ufffd"}')
    assert (attempt.error_message, attempt.response_excerpt) == ("said \ufffd", b"\x00\xff")


@pytest.mark.parametrize(
    ("story", "decisions", "next_offset", "topic_id"),
    [
        ("the last one counts", [a_decision(4), a_decision(5)], 6, "topic-1"),
        ("records decided once more take nothing back", [a_decision(4), a_decision(5), a_decision(4)], 6, "topic-1"),
        ("a topic made anew starts anew", [a_decision(9), a_decision(0, topic_id="topic-2")], 1, "topic-2"),
        ("a direct producer's record does not count", [a_decision(4), a_decision(8, direct=True)], 5, "topic-1"),
        ("nor does one out of its partition's order", [a_decision(4), a_decision(8, partition=9)], 5, "topic-1"),
    ],
)
def test_how_far_a_source_was_passed(story: str, decisions: list[Decision], next_offset: int, topic_id: str) -> None:
    (position,) = project(decided(*decisions)).sources.values()
    assert (position.next_offset, position.topic_id, position.log_offset) == (
        next_offset,
        topic_id,
        0 if "does" in story else len(decisions) - 1,
    )


def test_a_refusal_may_name_a_topic_that_is_no_stream_s() -> None:
    changes = project(decided(a_decision(outcome="refused", topic="admission", event_id="")))
    assert (changes.unreadable, changes.sources) == ([], {})


def test_records_can_be_left_out_by_offset() -> None:
    changes = project(decided(a_decision(1), a_decision(2), first_offset=10), without={11})
    assert [row[2] for row in changes.rows[events]] == [event_id(1)]
    assert changes.position == LogPosition("decisions", 3, 12)


@pytest.mark.parametrize("table", ROWS, ids=lambda table: str(table.name))
def test_a_row_has_the_fields_of_its_table_in_their_order(table: Any) -> None:
    assert ROWS[table]._fields == tuple(table.columns.keys())
