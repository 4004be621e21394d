"""What the control agent decides for keys with limits, whatever a gateway's view said: in the order of the log."""

from typing import Any

import msgspec
import pytest

from schemas.commands.keys import CreateKey, RevokeKey, RotateKey
from schemas.commands.limits import ClearLimit
from schemas.commands.replays import CancelReplay, StartReplay
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.webhooks import CreateWebhookEndpoint, DeleteWebhookEndpoint, RotateSecret, TryWebhookEndpoint
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow, ReactivateWorkflow
from schemas.entities import Key, KeyKind, Replay, WebhookEndpoint
from schemas.records import Verdict
from tests.support.commands_log import START_MS, CommandsLog, a_workspace, outcome

DAY_MS = 86_400_000
AT = "https://a.example.com/in"
URL = "https://hooks.example.com/in"


def made_key(log: CommandsLog, **limits: Any) -> str:
    fields = {"name": "k", "environment": "live", "key_kind": KeyKind.SECRET, **limits}
    return decoded(log.ask(CreateKey(**fields)), Key).id


def decoded(verdict: Verdict | None, kind: Any) -> Any:
    assert verdict is not None and verdict.outcome == "done", verdict
    return msgspec.json.decode(verdict.body, type=kind)


def a_stream(log: CommandsLog, name: str, routes: list[str] | None = None, **how: Any) -> None:
    log.send(CreateStream(name=name, default_routes=routes or []), **how)
    log.topics_done()


def two_teams() -> tuple[CommandsLog, str]:
    """Streams `mine` and `theirs`, a workflow of each and one of both; the key is for `mine`."""
    log = a_workspace()
    for name in ("wf_mine", "wf_theirs", "wf_shared", "wf_nobodys"):
        assert outcome(log.ask(CreateWorkflow(id=name, name=name, url=AT))) == 201
    a_stream(log, "mine", ["wf_mine", "wf_shared"])
    a_stream(log, "theirs", ["wf_theirs", "wf_shared"])
    return log, made_key(log, streams=["mine"])


@pytest.mark.requirement("A3", "A8")
@pytest.mark.parametrize("command", [DeleteWorkflow, ReactivateWorkflow, RotateSecret])
def test_a_workflow_is_changed_by_keys_of_all_its_streams(command: Any) -> None:
    log, limited = two_teams()
    absent = log.ask(command(id="wf_nowhere"), actor=limited)
    for name in ("wf_theirs", "wf_nobodys"):
        refused = log.ask(command(id=name), actor=limited)
        assert refused is not None and absent is not None
        assert (refused.status, refused.body) == (absent.status, absent.body) == (404, absent.body)
    assert outcome(log.ask(command(id="wf_shared"), actor=limited)) == "forbidden"
    assert outcome(log.ask(command(id="wf_mine"), actor=limited)) in (200, 204)
    both = made_key(log, streams=["mine", "theirs"])
    assert outcome(log.ask(command(id="wf_shared"), actor=both)) in (200, 204)


@pytest.mark.requirement("A3", "A8")
def test_a_route_made_a_moment_ago_counts() -> None:
    """A gateway may not have seen it yet."""
    log, limited = two_teams()
    assert outcome(log.ask(UpdateStream(stream="theirs", default_routes=["wf_mine"]))) == 200
    assert outcome(log.ask(RotateSecret(id="wf_mine"), actor=limited)) == "forbidden"
    assert outcome(log.ask(DeleteStream(stream="theirs"))) == 204
    assert outcome(log.ask(RotateSecret(id="wf_mine"), actor=limited)) == "forbidden", "its deliveries may still wait"


@pytest.mark.requirement("A3", "A8")
def test_a_limited_keys_workflow_is_for_its_streams() -> None:
    log, limited = two_teams()
    assert outcome(log.ask(CreateWorkflow(id="wf_new", name="new", url=AT), actor=limited)) == 201
    assert outcome(log.ask(RotateSecret(id="wf_new"), actor=limited)) == 200
    assert outcome(log.ask(UpdateStream(stream="mine", default_routes=["wf_new"]), actor=limited)) == 200
    other = made_key(log, streams=["theirs"])
    assert outcome(log.ask(RotateSecret(id="wf_new"), actor=other)) == "workflow_not_found"


@pytest.mark.requirement("A3", "A7")
@pytest.mark.parametrize("name", ["wf_theirs", "wf_nobodys"])
def test_events_are_not_sent_to_others_workflows(name: str) -> None:
    """They would be signed with a secret that others trust. It is said in the words for what is not there."""
    log, limited = two_teams()
    for command in (
        lambda route: UpdateStream(stream="mine", default_routes=["wf_mine", route]),
        lambda route: StartReplay(stream="mine", from_ms=1, to_ms=2, workflows=[route]),
    ):
        refused, absent = log.ask(command(name), actor=limited), log.ask(command("wf_gone"), actor=limited)
        assert refused is not None and absent is not None and refused.status == 400
        assert refused.body.replace(name.encode(), b"wf_gone") == absent.body
    routes = ["wf_mine", "wf_shared"]
    assert outcome(log.ask(UpdateStream(stream="mine", default_routes=routes), actor=limited)) == 200


@pytest.mark.requirement("A3", "A8")
def test_a_limited_keys_endpoint_is_told_of_its_streams() -> None:
    log, limited = two_teams()
    ids = {}
    for streams, expected in (
        ([], "forbidden"),
        (["mine", "theirs"], "forbidden"),
        (["theirs"], "forbidden"),
        (["mine"], 201),
    ):
        payload = CreateWebhookEndpoint(url=URL, events=["event.failed"], streams=streams)
        assert outcome(log.ask(payload, actor=limited)) == expected
        ids[tuple(streams)] = decoded(log.ask(payload), WebhookEndpoint).id
    for command in (RotateSecret, ReactivateWorkflow, TryWebhookEndpoint, DeleteWebhookEndpoint):
        for streams_of, endpoint in ids.items():
            found = outcome(log.ask(command(id=endpoint), actor=limited))
            assert (found == "webhook_endpoint_not_found") is (streams_of != ("mine",)), (command, streams_of)


@pytest.mark.requirement("A3")
def test_replays_are_of_ones_own_streams() -> None:
    log, limited = two_teams()
    for payload, code in (
        (StartReplay(stream="theirs", from_ms=1, to_ms=2), "stream_not_found"),
        (StartReplay(event_id="evt_1", stream="theirs"), "event_not_found"),
        (StartReplay(event_id="evt_1"), "event_not_found"),
    ):
        assert outcome(log.ask(payload, actor=limited)) == code
        replay = decoded(log.ask(payload), Replay)
        assert outcome(log.ask(CancelReplay(id=replay.id), actor=limited)) == "replay_not_found"
    mine = decoded(log.ask(StartReplay(event_id="evt_2", stream="mine"), actor=limited), Replay)
    assert outcome(log.ask(CancelReplay(id=mine.id), actor=limited)) == 200


FULLER: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("all streams", {"streams": ["mine"]}, {}, "key_not_found"),
    ("another stream", {"streams": ["mine"]}, {"streams": ["theirs"]}, "key_not_found"),
    ("one stream more", {"streams": ["mine"]}, {"streams": ["mine", "theirs"]}, "key_not_found"),
    ("all scopes", {"scopes": ["admin"]}, {}, "forbidden"),
    ("one scope more", {"scopes": ["admin"]}, {"scopes": ["admin", "events:read"]}, "forbidden"),
    ("any network", {"allowed_ips": ["10.0.0.0/8"]}, {}, "forbidden"),
    ("a wider network", {"allowed_ips": ["10.0.0.0/8"]}, {"allowed_ips": ["10.0.0.0/7"]}, "forbidden"),
    ("no end", {"expires_ms": START_MS + DAY_MS}, {}, "forbidden"),
    ("a later end", {"expires_ms": START_MS + DAY_MS}, {"expires_ms": START_MS + DAY_MS + 1}, "forbidden"),
]


@pytest.mark.requirement("A3", "A8")
@pytest.mark.parametrize(("own", "more", "code"), [row[1:] for row in FULLER], ids=[row[0] for row in FULLER])
def test_no_key_makes_rotates_or_revokes_a_fuller_one(own: dict[str, Any], more: dict[str, Any], code: str) -> None:
    log = a_workspace()
    limited, fuller, equal = made_key(log, **own), made_key(log, **more), made_key(log, **own)
    more_fields = CreateKey(**{"name": "k", "environment": "live", "key_kind": KeyKind.SECRET, **more})
    assert outcome(log.ask(more_fields, actor=limited)) == "forbidden"
    for command in (RotateKey, RevokeKey):
        assert outcome(log.ask(command(id=fuller), actor=limited)) == code
    assert {key.id: key.revoked_ms or key.rotated_to for key in log.entities() if isinstance(key, Key)}[fuller] == ""
    assert outcome(log.ask(RotateKey(id=equal), actor=limited)) == 201
    assert outcome(log.ask(RevokeKey(id=limited), actor=limited)) == 200, "its own end is anyone's to ask for"


@pytest.mark.requirement("A2", "A-013")
def test_a_command_of_a_key_that_holds_no_more_is_not_carried_out() -> None:
    """Its gateway had not heard of it; the log has."""
    log = a_workspace()
    revoked, rotated, expiring = made_key(log), made_key(log), made_key(log, expires_ms=START_MS + 1_000)
    for key in (revoked, rotated, expiring):
        assert outcome(log.ask(CreateWorkflow(name="w", url=AT), actor=key)) == 201
    log.ask(RevokeKey(id=revoked))
    log.ask(RotateKey(id=rotated, overlap_seconds=1))
    log.now_ms += 1_000
    before = log.entities()
    for key in (revoked, rotated, expiring):
        verdict = log.ask(CreateWorkflow(name="w", url=AT), actor=key)
        assert verdict is not None and (verdict.status, outcome(verdict)) == (401, "unauthorized")
    assert log.entities() == before


@pytest.mark.requirement("A3", "A-029")
def test_anothers_idempotency_key_shows_a_limited_key_nothing() -> None:
    """An earlier answer is shown with the secret that it made."""
    log, limited = two_teams()
    for number, payload in enumerate(
        (
            CreateWorkflow(id="wf_once", name="w", url=AT),
            CreateKey(name="k", environment="live", key_kind=KeyKind.SECRET),
            RotateSecret(id="wf_mine"),
        )
    ):
        first = log.ask(payload, key=f"once-{number}")
        assert outcome(log.ask(payload, key=f"once-{number}")) == outcome(first), "the same key's repeat"
        refused = log.ask(payload, key=f"once-{number}", actor=limited)
        assert refused is not None and refused.status in (403, 409), payload
    payload = CreateWorkflow(name="own", url=AT)
    answers = [log.ask(payload, key="own", actor=limited) for _ in range(2)]
    assert answers[0] is not None and answers[1] is not None and answers[0].body == answers[1].body
    full = made_key(log)
    assert outcome(log.ask(payload, key="own", actor=full)) == 201, "a key without limits gets any"


def test_a_command_that_no_rule_knows_is_refused() -> None:
    log, limited = two_teams()
    assert outcome(log.ask(ClearLimit(rate_class="events"), actor=limited)) == "forbidden"
