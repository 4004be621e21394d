"""The rules of idempotency as tables: commands, AtlasWork, model calls. That of events: test_admission_decide.py."""

from dataclasses import dataclass

import pytest

from domain.guardrails.state import KEPT_SECONDS, WINDOWS
from domain.idempotency import KEY_KEPT_SECONDS, KEY_LIFE_MS
from domain.idempotency.commands import (
    RESERVED_MS,
    KeyUse,
    request_of,
    scope_of,
    scope_of_refusal,
    use_of_key,
)
from domain.idempotency.model_calls import counted_key, still_counts
from schemas.commands.payload import Payload
from schemas.commands.reservations import RESERVED
from schemas.commands.streams import CreateStream, DeleteStream
from schemas.commands.work import CreateTask, DeleteTask, UpdateTask
from schemas.records import Command

AT_MS = 1_779_114_131_482
FREE, REPEATED, REUSED, PAST = KeyUse


@dataclass(frozen=True)
class Kept:
    """The answer under the key: to the command of version 10."""

    version: int = 10
    at_ms: int = AT_MS
    outcome: str = "done"
    asked: str = "request"
    freed: int = 0


@pytest.mark.parametrize(
    ("kept", "request_now", "version", "after_ms", "use"),
    [
        pytest.param(None, "request", 11, 0, FREE, id="nothing is kept under the key"),
        pytest.param(Kept(), "request", 11, 0, REPEATED, id="the same request"),
        pytest.param(Kept(outcome="refused"), "request", 11, 0, REPEATED, id="the same request, which was refused"),
        pytest.param(Kept(outcome="waiting"), "request", 11, 0, REPEATED, id="the same request, not yet answered"),
        pytest.param(Kept(), "another", 11, 0, REUSED, id="another request"),
        pytest.param(Kept(), "another", 11, KEY_LIFE_MS - 1, REUSED, id="another request, in the last millisecond"),
        pytest.param(Kept(), "request", 11, KEY_LIFE_MS, FREE, id="the same request 24 hours later"),
        pytest.param(Kept(), "another", 11, KEY_LIFE_MS, FREE, id="another request 24 hours later"),
        pytest.param(Kept(), "request", 9, 0, PAST, id="an older record, read again"),
        pytest.param(Kept(), "another", 9, KEY_LIFE_MS, PAST, id="an older record never frees a key"),
        pytest.param(Kept(freed=12), "request", 13, 0, FREE, id="after our own failure freed the key"),
        pytest.param(Kept(freed=12), "request", 11, 0, PAST, id="a record from before the key was freed"),
        pytest.param(Kept(outcome=RESERVED), "request", 11, RESERVED_MS - 1, REPEATED, id="while it is reserved"),
        pytest.param(Kept(outcome=RESERVED), "another", 11, RESERVED_MS - 1, REUSED, id="reserved for another request"),
        pytest.param(Kept(outcome=RESERVED), "request", 11, RESERVED_MS, FREE, id="a reservation without an answer"),
    ],
)
def test_what_a_commands_key_means(
    kept: Kept | None, request_now: str, version: int, after_ms: int, use: KeyUse
) -> None:
    assert use_of_key(kept, request_now, version, AT_MS + after_ms) is use


@pytest.mark.requirement("W-042")
@pytest.mark.parametrize(
    ("surface", "one", "other", "is_same"),
    [
        ("events", CreateStream(name="orders"), CreateStream(name="orders"), True),
        ("events", CreateStream(name="orders"), CreateStream(name="orders", description="x"), False),
        ("events", DeleteStream(stream="orders"), CreateStream(name="orders"), False),
        ("spine", CreateStream(name="orders"), CreateStream(name="prices"), False),
        ("work", CreateTask(project_id="prj_1", title="a"), CreateTask(project_id="prj_2", title="b"), True),
        ("work", UpdateTask(id="tsk_1", title="a"), UpdateTask(id="tsk_1", title="b"), True),
        ("work", UpdateTask(id="tsk_1"), UpdateTask(id="tsk_2"), False),
        ("work", UpdateTask(id="tsk_1"), DeleteTask(id="tsk_1"), False),
    ],
)
def test_which_commands_are_the_same_request(surface: str, one: Payload, other: Payload, is_same: bool) -> None:
    assert (request_of(surface, one) == request_of(surface, other)) is is_same


def test_the_request_is_stored_as_it_always_was() -> None:
    """It stays in the table for a day, so that another form would take repeats for other requests after an upgrade."""
    assert request_of("events", CreateStream(name="orders-prod")) == "df279ba46f93308539461d6edc927655"
    assert request_of("work", UpdateTask(id="tsk_1", title="a")) == "task.update/tsk_1"
    assert request_of("work", CreateTask(project_id="prj_1", title="a")) == "task.create/"


@pytest.mark.requirement("W-041")
@pytest.mark.parametrize(
    ("surface", "key", "scope", "scope_when_refused"),
    [
        ("events", "k", "ws_1\0live\0events\0k", "ws_1\0live\0events\0k"),
        ("spine", "k", "ws_1\0live\0spine\0k", "ws_1\0live\0spine\0k"),
        ("work", "k", "ws_1\0live\0work\0k", None),
        ("events", None, None, None),
    ],
)
def test_under_which_scope_an_answer_is_kept(
    surface: str, key: str | None, scope: str | None, scope_when_refused: str | None
) -> None:
    command = Command(
        id="cmd_1",
        kind="stream.create",
        workspace="ws_1",
        environment="live",
        payload=b"{}",
        actor="key_1",
        idempotency_key=key,
        surface=surface,
    )
    assert (scope_of(command), scope_of_refusal(command)) == (scope, scope_when_refused)


def test_a_model_call_counts_once_in_24_hours_for_each_way_of_reporting_it() -> None:
    keys = {counted_key("ws_1", "a", source) for source in (0, 1, 2)} | {counted_key("ws_2", "a", 0)}
    assert len(keys) == 4 and {len(key) for key in keys} == {12}
    assert counted_key("ws_1", "a", 0).hex() == "ed16db8c9b3b40edea89b4fb"
    assert still_counts(AT_MS, AT_MS + KEY_LIFE_MS - 1) and not still_counts(AT_MS, AT_MS + KEY_LIFE_MS)


def test_tables_keep_entries_for_longer_than_a_key_counts() -> None:
    """What is stored under a key may expire by a worker's clock only after the key's life by the log's."""
    assert KEY_KEPT_SECONDS * 1_000 > KEY_LIFE_MS == 24 * 3_600_000
    assert KEPT_SECONDS[WINDOWS] == KEY_KEPT_SECONDS == 26 * 3_600
