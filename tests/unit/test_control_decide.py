"""Commands decided: each kind, idempotency keys, records read again, answers that come later."""

from typing import Any

import msgspec
import pytest

from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.callers import CallerContext
from operations.new_commands import new_command
from schemas.codec import Undecodable
from schemas.commands import decode_payload
from schemas.commands.keys import CreateKey, NewKey
from schemas.commands.payload import Payload
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow
from schemas.commands.workspaces import CreateWorkspace, WorkspaceCreated
from schemas.entities import Key, KeyKind, Workflow
from schemas.records import Command
from tests.support.commands_log import (
    MASTER_KEY,
    START_MS,
    WORKSPACE,
    CommandsLog,
    a_workspace,
    outcome,
    without_correlation,
)

HOUR_MS = 3_600_000
ORDERS = CreateStream(name="orders-prod")
ARCHIVE = CreateWorkflow(id="wf_archive", name="Archive", url="https://example.com/hook")


def a_secret_key(name: str = "server") -> NewKey:
    return NewKey(name=name, environment="live", key_kind=KeyKind.SECRET)


# Workspaces and keys


def test_a_workspace_is_made_with_its_first_keys() -> None:
    log = CommandsLog()
    verdict = log.ask(CreateWorkspace(name="Acme", keys=[a_secret_key("one"), a_secret_key("two")]))
    assert outcome(verdict) == 201
    body = msgspec.json.decode(verdict.body, type=WorkspaceCreated)  # type: ignore[union-attr]
    assert (body.workspace.id, body.workspace.name) == (WORKSPACE, "Acme")
    assert [key.name for key in body.keys] == ["one", "two"] and body.keys[0].id != body.keys[1].id
    assert sorted(log.entities(), key=repr) == sorted([body.workspace, *body.keys], key=repr)


@pytest.mark.requirement("A-008", "A-010", "A-012")
@pytest.mark.parametrize("environment", ["live", "test"])
@pytest.mark.parametrize("kind", [KeyKind.SECRET, KeyKind.PUBLISHABLE])
def test_only_the_hash_of_a_keys_token_is_kept(kind: KeyKind, environment: str) -> None:
    log = a_workspace()
    asked = CreateKey(name="app", environment=environment, key_kind=kind, streams=["orders-prod"])  # type: ignore[arg-type]
    key = msgspec.json.decode(log.ask(asked).body, type=Key)  # type: ignore[union-attr]
    token = mint_token(MASTER_KEY, kind, environment, key.id)
    assert token.startswith(f"atlas_{environment}_{kind}_")
    assert key.token_hash == TokenHasher(MASTER_KEY).hash(token)
    assert (key.environment, key.streams) == (environment, ["orders-prod"])
    assert not any(token[-32:].encode() in value for value in (*log.control.values(), *log.table.entries.values()))


@pytest.mark.parametrize(
    ("workspace", "expected"),
    [
        ("org_xyz", 201),
        ("ws_4F9KQ2C7Z1", 201),
        ("a.b", "invalid_request"),
        ("", "invalid_request"),
        ("x" * 65, "invalid_request"),
        ("a\0b", "invalid_request"),
    ],
)
def test_a_workspace_id_can_be_part_of_a_topics_name(workspace: str, expected: object) -> None:
    assert outcome(CommandsLog().ask(CreateWorkspace(name="Acme"), workspace=workspace)) == expected


@pytest.mark.parametrize("payload", [ORDERS, ARCHIVE, CreateKey(name="k", environment="live", key_kind=KeyKind.SECRET)])
def test_nothing_is_made_in_a_workspace_that_does_not_exist(payload: Payload) -> None:
    log = CommandsLog()
    assert outcome(log.ask(payload)) == "workspace_not_found"
    assert log.entities() == []


# Workflows


def test_a_workflow_is_made_and_deleted() -> None:
    log = a_workspace()
    made = msgspec.json.decode(log.ask(ARCHIVE).body, type=Workflow)  # type: ignore[union-attr]
    assert (made.id, made.url, made.environment, made.created_ms) == ("wf_archive", ARCHIVE.url, "live", START_MS)
    assert log.workflows() == [made]
    assert outcome(log.ask(ARCHIVE)) == "workflow_exists"
    assert outcome(log.ask(ARCHIVE, environment="test")) == 201
    assert outcome(log.ask(DeleteWorkflow(id="wf_archive"))) == 204
    assert [workflow.environment for workflow in log.workflows()] == ["test"]
    assert outcome(log.ask(DeleteWorkflow(id="wf_archive"))) == "workflow_not_found"
    assert outcome(log.ask(ARCHIVE)) == 201


def test_a_workflow_without_an_id_gets_one() -> None:
    log = a_workspace()
    first, second = (log.ask(CreateWorkflow(name="A", url="https://example.com")) for _ in range(2))
    ids = {msgspec.json.decode(verdict.body, type=Workflow).id for verdict in (first, second)}  # type: ignore[union-attr]
    assert len(ids) == 2 and all(one.startswith("wf_") for one in ids)


# Idempotency keys

CASES: dict[str, tuple[Payload, dict[str, Any], Payload, dict[str, Any], object]] = {
    "same again": (ARCHIVE, {}, ARCHIVE, {}, 201),
    "another payload": (
        ARCHIVE,
        {},
        CreateWorkflow(id="wf_archive", name="B", url=ARCHIVE.url),
        {},
        "idempotency_key_reused",
    ),
    "another kind": (ARCHIVE, {}, DeleteWorkflow(id="wf_archive"), {}, "idempotency_key_reused"),
    "another environment": (ARCHIVE, {}, ARCHIVE, {"environment": "test"}, 201),
    "another surface": (ARCHIVE, {}, ARCHIVE, {"surface": "work"}, "workflow_exists"),
    "a refusal again": (DeleteWorkflow(id="wf_none"), {}, DeleteWorkflow(id="wf_none"), {}, "workflow_not_found"),
    "a default written out": (ARCHIVE, {}, CreateWorkflow(id="wf_archive", name="Archive", url=ARCHIVE.url), {}, 201),
}


@pytest.mark.requirement("A-004", "A-029", "S7")
@pytest.mark.parametrize("case", CASES)
def test_a_key_means_one_request(case: str) -> None:
    first, how_first, second, how_second, expected = CASES[case]
    log = a_workspace()
    log.ask(first, key="k 1/2", **how_first)
    assert outcome(log.ask(second, key="k 1/2", **how_second)) == expected


@pytest.mark.requirement("A-029", "F33")
def test_a_repeat_within_24_hours_of_log_time_gets_the_first_answer() -> None:
    log = a_workspace()
    first = log.ask(ARCHIVE, key="k")
    log.ask(DeleteWorkflow(id="wf_archive"))
    log.now_ms += 24 * HOUR_MS - 1
    assert without_correlation(log.ask(ARCHIVE, key="k")) == without_correlation(first)
    assert log.workflows() == []
    log.now_ms += 1
    assert without_correlation(log.ask(ARCHIVE, key="k")) != without_correlation(first)
    assert len(log.workflows()) == 1


def test_a_repeat_is_not_audited_and_a_decision_is_once() -> None:
    log = a_workspace()
    for _ in range(3):
        log.ask(ARCHIVE, key="k")
    log.ask(ARCHIVE)
    log.read_again(0)
    assert [(a.action, a.resource, a.outcome) for a in log.audits.values()] == [
        ("workspace.create", f"workspace/{WORKSPACE}", "done"),
        ("workflow.create", "workflow/wf_archive", "done"),
        ("workflow.create", "", "workflow_exists"),
    ]


@pytest.mark.requirement("F35")
def test_a_repeat_while_the_topic_is_being_made_gets_the_answer_too() -> None:
    log = a_workspace()
    first, second = log.send(ORDERS, key="k"), log.send(ORDERS, key="k")
    assert log.verdicts == {log.log[0].reply.correlation: log.verdicts[log.log[0].reply.correlation]}  # type: ignore[union-attr]
    assert log.topics_done() == 1
    (answer,), (same,) = log.verdicts[first.correlation], log.verdicts[second.correlation]
    assert outcome(answer) == 201 and without_correlation(answer) == without_correlation(same)
    assert without_correlation(log.ask(ORDERS, key="k")) == without_correlation(answer)
    assert len(log.streams()) == 1


def test_a_client_that_repeats_without_end_fills_no_table() -> None:
    log = a_workspace()
    replies = [log.send(ORDERS, key="k") for _ in range(100)]
    log.topics_done()
    assert [reply.correlation in log.verdicts for reply in replies] == [False] * 84 + [True] * 16


# Records read again


@pytest.mark.requirement("F20")
def test_a_record_read_again_does_the_same_again() -> None:
    log = a_workspace()
    log.ask(ARCHIVE)
    log.send(CreateStream(name="orders-prod", default_routes=["wf_archive"]))
    log.topics_done()
    log.ask(UpdateStream(stream="orders-prod", retention_days=3))
    log.ask(DeleteWorkflow(id="wf_archive"))
    log.ask(DeleteStream(stream="orders-prod"))
    entries, control, verdicts = dict(log.table.entries), dict(log.control), dict(log.verdicts)
    for offset in range(len(log.log)):
        log.read_again(offset)
        assert (log.table.entries, log.control) == (entries, control)
    for correlation, answers in log.verdicts.items():
        assert all(answer == verdicts[correlation][0] for answer in answers)


@pytest.mark.requirement("F20", "A-029")
def test_what_a_key_meant_when_its_record_was_first_read_is_not_asked_again() -> None:
    """A repeat of an answer that a later request replaced; a misuse of a key that a failure freed."""
    log = a_workspace()
    log.ask(ARCHIVE, key="k")
    repeat = log.send(ARCHIVE, key="k")
    log.now_ms += 24 * HOUR_MS
    log.ask(DeleteWorkflow(id="wf_archive"), key="k")
    log.send(ORDERS, key="freed")
    misuse = log.send(ARCHIVE, key="freed")
    log.topics_done(failed="never")
    first = {reply: list(log.verdicts[reply.correlation]) for reply in (repeat, misuse)}
    control = dict(log.control)
    log.read_again(0)
    assert {reply: log.verdicts[reply.correlation] for reply in first} == first
    assert [outcome(answers[0]) for answers in first.values()] == [201, "idempotency_key_reused"]
    assert log.control == control and log.workflows() == []


def test_answers_are_forgotten_when_nobody_may_ask_for_them_any_more() -> None:
    log = a_workspace()
    log.state.sweep(log.now_ms)
    before = len(log.table.entries)
    for number in range(20):
        log.ask(DeleteWorkflow(id=f"wf_{number}"), key=f"k{number}")
    log.now_ms += 24 * HOUR_MS
    assert log.state.sweep(log.now_ms) == 0
    log.now_ms += 2 * HOUR_MS
    assert log.state.sweep(log.now_ms) == 21
    assert len(log.table.entries) < before
    assert log.state.sweep(log.now_ms) == 0


# What is not a command


@pytest.mark.requirement("F18")
@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("stream.explode", b"{}"),
        ("stream.create", b""),
        ("stream.create", b"{"),
        ("stream.create", b"[]"),
        ("stream.create", b'{"name":"Orders"}'),
        ("stream.create", b'{"name":"orders\\n"}'),
        ("stream.create", b'{"name":"orders","retention_days":91}'),
        ("stream.create", b'{"name":"orders","retention_days":true}'),
        ("stream.create", b'{"name":"orders","topic":"control"}'),
        ("stream.create", b'{"name":"\xff\xfe\xfd"}'),
        ("stream.create", b"[" * 100_000),
        ("workflow.create", b'{"id":"wf_a/b","name":"a","url":"b"}'),
        ("workspace.create", b'{"name":"a","keys":[{"name":"a","environment":"prod","key_kind":"sk"}]}'),
    ],
)
def test_a_payload_out_of_its_form_is_unreadable(kind: str, payload: bytes) -> None:
    command = Command(id="cmd_1", kind=kind, workspace="ws_1", environment="live", payload=payload, actor="")
    with pytest.raises(Undecodable):
        decode_payload(command)


def test_a_payload_comes_back_as_it_was_sent() -> None:
    for payload in (ORDERS, ARCHIVE, UpdateStream(stream="a", description=None), UpdateStream(stream="a")):
        command = new_command(payload, workspace="ws_1", environment="live", caller=CallerContext(""), now_ms=1)
        assert decode_payload(command) == payload
