"""Commands: the bytes of each payload, and the registries that every payload and handler is in."""

import ast
import inspect
import sys
from collections import Counter
from types import ModuleType

import pytest

import schemas.commands
from domain.commands import decide, handlers
from domain.commands.handlers import HANDLERS
from schemas.commands.event_types import RegisterEventType
from schemas.commands.guardrails import ReplacePolicy, ResumeGuarded, Suspend, Warn
from schemas.commands.keys import CreateKey, NewKey, RevokeKey, RotateKey, TouchKeys
from schemas.commands.limits import ClearLimit, SetLimit
from schemas.commands.payload import PAYLOADS, Payload
from schemas.commands.replays import CancelReplay, ReplayMoved, StartReplay
from schemas.commands.reservations import CompleteAnswer, ReserveAnswer
from schemas.commands.streams import (
    CreateStream,
    DeleteStream,
    ResumeTopics,
    StreamAltered,
    StreamCreated,
    StreamExpired,
    UpdateStream,
)
from schemas.commands.subscriptions import CreateSubscription, DeleteSubscription, UpdateSubscription
from schemas.commands.webhooks import CreateWebhookEndpoint, DeleteWebhookEndpoint, RotateSecret, TryWebhookEndpoint
from schemas.commands.work import (
    CreateProject,
    CreateTask,
    DeleteTask,
    ReplayWebhook,
    TryWebhook,
    UpdateProject,
    UpdateTask,
)
from schemas.commands.workflows import (
    CreateWorkflow,
    DeleteWorkflow,
    DisableWorkflow,
    ReactivateWorkflow,
    RouteTopicExpired,
    RouteTopicMade,
)
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import KeyKind, Ordering, PayloadFormat, SubscriptionSurface
from schemas.guardrail_breaches import BudgetWarning
from schemas.guardrail_policy import Guarded, GuardrailPolicy, Period, Scope
from schemas.log_records import AdmittedRecord
from schemas.records import Command
from schemas.work import Priority, TaskStatus

WIRE: list[tuple[Payload, str, str]] = [
    (CreateWorkspace(name="Acme"), "workspace.create", '{"name":"Acme"}'),
    (
        CreateWorkspace(
            name="Acme",
            keys=[
                NewKey(
                    name="web",
                    environment="test",
                    key_kind=KeyKind.PUBLISHABLE,
                    streams=["a-b"],
                    scopes=["events:write"],
                    allowed_ips=["192.0.2.0/24"],
                    origins=["https://a.example"],
                    expires_ms=1,
                )
            ],
        ),
        "workspace.create",
        (
            '{"name":"Acme","keys":[{"name":"web","environment":"test","key_kind":"pk","streams":["a-b"],'
            '"scopes":["events:write"],"allowed_ips":["192.0.2.0/24"],"origins":["https://a.example"],'
            '"expires_ms":1}]}'
        ),
    ),
    (
        CreateKey(name="a", environment="live", key_kind=KeyKind.SECRET),
        "key.create",
        '{"name":"a","environment":"live","key_kind":"sk"}',
    ),
    (
        CreateKey(
            name="a",
            environment="live",
            key_kind=KeyKind.ORG,
            streams=["s"],
            scopes=["burn:read"],
            allowed_ips=["::1"],
            origins=["o"],
            expires_ms=2,
        ),
        "key.create",
        (
            '{"name":"a","environment":"live","key_kind":"abn","streams":["s"],"scopes":["burn:read"],'
            '"allowed_ips":["::1"],"origins":["o"],"expires_ms":2}'
        ),
    ),
    (RotateKey(id="key_1"), "key.rotate", '{"id":"key_1"}'),
    (RotateKey(id="key_1", overlap_seconds=0), "key.rotate", '{"id":"key_1","overlap_seconds":0}'),
    (RevokeKey(id="key_1"), "key.revoke", '{"id":"key_1"}'),
    (TouchKeys(used_ms={"key_1": 3}), "key.touch", '{"used_ms":{"key_1":3}}'),
    (CreateStream(name="orders-prod"), "stream.create", '{"name":"orders-prod"}'),
    (
        CreateStream(name="orders-prod", description="é", retention_days=90, default_routes=["wf_a"]),
        "stream.create",
        '{"name":"orders-prod","description":"é","retention_days":90,"default_routes":["wf_a"]}',
    ),
    (UpdateStream(stream="orders-prod"), "stream.update", '{"stream":"orders-prod"}'),
    (
        UpdateStream(stream="orders-prod", description=None, retention_days=1, default_routes=[]),
        "stream.update",
        '{"stream":"orders-prod","description":null,"retention_days":1,"default_routes":[]}',
    ),
    (DeleteStream(stream="orders-prod"), "stream.delete", '{"stream":"orders-prod"}'),
    (
        CreateWorkflow(name="Archive", url="https://example.com/hook"),
        "workflow.create",
        '{"name":"Archive","url":"https://example.com/hook"}',
    ),
    (
        CreateWorkflow(name="Archive", topic="routes.ws_1.live.orders", id="wf_archive", ordering=Ordering.PER_KEY),
        "workflow.create",
        '{"name":"Archive","topic":"routes.ws_1.live.orders","id":"wf_archive","ordering":"per_key"}',
    ),
    (DeleteWorkflow(id="wf_a"), "workflow.delete", '{"id":"wf_a"}'),
    (DisableWorkflow(id="wf_a", reactivations=0), "workflow.disable", '{"id":"wf_a","reactivations":0}'),
    (ReactivateWorkflow(id="wf_a"), "workflow.reactivate", '{"id":"wf_a"}'),
    (RotateSecret(id="wf_a"), "secret.rotate", '{"id":"wf_a"}'),
    (RotateSecret(id="wf_a", overlap_seconds=1), "secret.rotate", '{"id":"wf_a","overlap_seconds":1}'),
    (
        CreateWebhookEndpoint(url="https://example.com", events=["event.failed"]),
        "webhook_endpoint.create",
        '{"url":"https://example.com","events":["event.failed"]}',
    ),
    (
        CreateWebhookEndpoint(
            url="https://example.com", events=["event.failed"], streams=["orders-prod"], description="x"
        ),
        "webhook_endpoint.create",
        '{"url":"https://example.com","events":["event.failed"],"streams":["orders-prod"],"description":"x"}',
    ),
    (DeleteWebhookEndpoint(id="whe_1"), "webhook_endpoint.delete", '{"id":"whe_1"}'),
    (TryWebhookEndpoint(id="whe_1"), "webhook_endpoint.test", '{"id":"whe_1"}'),
    (
        StartReplay(event_id="evt_1", stream="orders-prod"),
        "replay.start",
        '{"event_id":"evt_1","stream":"orders-prod"}',
    ),
    (
        StartReplay(
            stream="orders-prod", from_ms=1, to_ms=2, event_status="failed", type="order.created", workflows=["wf_a"]
        ),
        "replay.start",
        (
            '{"stream":"orders-prod","from_ms":1,"to_ms":2,"event_status":"failed","type":"order.created",'
            '"workflows":["wf_a"]}'
        ),
    ),
    (CancelReplay(id="rpl_1"), "replay.cancel", '{"id":"rpl_1"}'),
    (
        ReplayMoved(id="rpl_1", cursor_ms=1, cursor_id="evt_1", replayed=2, skipped=0, ended=False),
        "replay.moved",
        '{"id":"rpl_1","cursor_ms":1,"cursor_id":"evt_1","replayed":2,"skipped":0,"ended":false}',
    ),
    (
        SetLimit(rate_class="events", burst=1, per_minute=2),
        "limit.set",
        '{"rate_class":"events","burst":1,"per_minute":2}',
    ),
    (ClearLimit(rate_class="events"), "limit.clear", '{"rate_class":"events"}'),
    (Suspend(layer="burst_detector", reason="r"), "guardrail.suspend", '{"layer":"burst_detector","reason":"r"}'),
    (
        Suspend(
            layer="burst_detector",
            reason="r",
            expires_ms=1,
            scope=Scope.PROJECT,
            scope_id="p",
            set_by="key_1",
            answer=b"{}",
        ),
        "guardrail.suspend",
        (
            '{"layer":"burst_detector","reason":"r","expires_ms":1,"scope":"project","scope_id":"p",'
            '"set_by":"key_1","answer":"e30="}'
        ),
    ),
    (ResumeGuarded(reason="r", guarded=[Guarded()]), "guardrail.resume", '{"reason":"r","guarded":[["org",""]]}'),
    (
        ResumeGuarded(reason="r", guarded=[Guarded(Scope.KEY, "k")], stood=[Guarded()], answer=b"{}"),
        "guardrail.resume",
        '{"reason":"r","guarded":[["key","k"]],"stood":[["org",""]],"answer":"e30="}',
    ),
    (
        Warn(
            warnings=[
                BudgetWarning(cap="day org", period=Period.DAY, percent=50, spent_usd=0.5, limit_usd=1.0, reason="r")
            ],
            answer=b"1",
        ),
        "guardrail.warn",
        (
            '{"warnings":[{"cap":"day org","period":"day","percent":50,"spent_usd":0.5,"limit_usd":1.0,'
            '"reason":"r","scope":"org","scope_id":""}],"answer":"MQ=="}'
        ),
    ),
    (
        ReplacePolicy(policy=GuardrailPolicy(ttl_seconds=0), version=2),
        "guardrail.policy",
        (
            '{"policy":{"financial_limits":{"mode":"enforce","caps":[]},"dumb_loop":{"mode":"enforce",'
            '"repeats":4,"window_seconds":60,"consecutive":true},"smart_loop":{"mode":"enforce","calls":8,'
            '"fit_min":0.98,"growth_min":2.0},"burst":{"mode":"enforce","per_minute":600},'
            '"premium_concentration":{"mode":"enforce","share_min":0.9,"spend_usd_min":20.0,"models":[]},'
            '"ping_pong":{"mode":"warn","rounds":3,"window_seconds":120},"retry_cascade":{"mode":"warn",'
            '"calls":5,"retries_min":2,"window_seconds":60},"burn_rate":{"mode":"warn","minutes":30,'
            '"over_minutes":15},"budget_mode":"open","ttl_seconds":0},"version":2}'
        ),
    ),
    (StreamCreated(stream_id="stm_1", topic_id="t"), "stream.created", '{"stream_id":"stm_1","topic_id":"t"}'),
    (
        StreamCreated(stream_id="stm_1", failed="f", taken="t"),
        "stream.created",
        '{"stream_id":"stm_1","failed":"f","taken":"t"}',
    ),
    (
        StreamAltered(stream_id="stm_1", update_id="cmd_1"),
        "stream.altered",
        '{"stream_id":"stm_1","update_id":"cmd_1"}',
    ),
    (StreamExpired(stream_id="stm_1"), "stream.expired", '{"stream_id":"stm_1"}'),
    (
        RouteTopicMade(topic="routes.ws_1.live.orders", topic_id="t", failed="f", taken="t"),
        "route_topic.made",
        '{"topic":"routes.ws_1.live.orders","topic_id":"t","failed":"f","taken":"t"}',
    ),
    (RouteTopicExpired(topic="routes.ws_1.live.orders"), "route_topic.expired", '{"topic":"routes.ws_1.live.orders"}'),
    (ResumeTopics(), "topics.resume", "{}"),
    (
        CreateSubscription(surface=SubscriptionSurface.SPINE, url="https://example.com", patterns=["code.*"]),
        "subscription.create",
        '{"surface":"spine","url":"https://example.com","patterns":["code.*"]}',
    ),
    (
        CreateSubscription(
            surface=SubscriptionSurface.WORK,
            url="https://example.com",
            patterns=["*"],
            description="d",
            sealed_secret=b"\x01",
            payload_format=PayloadFormat.CLOUDEVENTS,
        ),
        "subscription.create",
        (
            '{"surface":"work","url":"https://example.com","patterns":["*"],"description":"d",'
            '"sealed_secret":"AQ==","payload_format":"cloudevents"}'
        ),
    ),
    (UpdateSubscription(id="sub_1"), "subscription.update", '{"id":"sub_1"}'),
    (
        UpdateSubscription(id="sub_1", url="https://b.example", patterns=["*"], description=None),
        "subscription.update",
        '{"id":"sub_1","url":"https://b.example","patterns":["*"],"description":null}',
    ),
    (DeleteSubscription(id="sub_1"), "subscription.delete", '{"id":"sub_1"}'),
    (
        RegisterEventType(type="code.pushed", schema=b"{}", description="d"),
        "event_type.register",
        '{"type":"code.pushed","schema":"e30=","description":"d"}',
    ),
    (CreateProject(name="P", description="d"), "project.create", '{"name":"P","description":"d"}'),
    (
        UpdateProject(id="prj_1", if_versions=[1], name="Q", description=None),
        "project.update",
        '{"id":"prj_1","if_versions":[1],"name":"Q","description":null}',
    ),
    (CreateTask(project_id="prj_1", title="T"), "task.create", '{"project_id":"prj_1","title":"T"}'),
    (
        CreateTask(
            project_id="prj_1",
            title="T",
            description="d",
            priority=Priority.URGENT,
            status=TaskStatus.DONE,
            due_on="2026-01-01T00:00:00Z",
            due_ms=1,
            assignee_id="a",
            depends_on=["tsk_1"],
        ),
        "task.create",
        (
            '{"project_id":"prj_1","title":"T","description":"d","priority":"URGENT","status":"DONE",'
            '"due_on":"2026-01-01T00:00:00Z","due_ms":1,"assignee_id":"a","depends_on":["tsk_1"]}'
        ),
    ),
    (
        UpdateTask(
            id="tsk_1",
            if_versions=[2],
            title="T",
            description=None,
            priority=Priority.LOW,
            status=TaskStatus.CANCELLED,
            due_on=None,
            due_ms=None,
            assignee_id="b",
            depends_on=[],
        ),
        "task.update",
        (
            '{"id":"tsk_1","if_versions":[2],"title":"T","description":null,"priority":"LOW",'
            '"status":"CANCELLED","due_on":null,"due_ms":null,"assignee_id":"b","depends_on":[]}'
        ),
    ),
    (DeleteTask(id="tsk_1"), "task.delete", '{"id":"tsk_1"}'),
    (DeleteTask(id="tsk_1", if_versions=[1]), "task.delete", '{"id":"tsk_1","if_versions":[1]}'),
    (TryWebhook(id="whk_1"), "webhook.test", '{"id":"whk_1"}'),
    (
        ReplayWebhook(id="whk_1", event_id="evt_1", source=AdmittedRecord("events.ws_1.live.work", "t", 0, 1, 2)),
        "webhook.replay",
        '{"id":"whk_1","event_id":"evt_1","source":["events.ws_1.live.work","t",0,1,2]}',
    ),
    (ReserveAnswer(id="ai.plan"), "answer.reserve", '{"id":"ai.plan"}'),
    (CompleteAnswer(reservation="cmd_1", body=None), "answer.complete", '{"reservation":"cmd_1","body":null}'),
    (CompleteAnswer(reservation="cmd_1", body="{}"), "answer.complete", '{"reservation":"cmd_1","body":"{}"}'),
]
"""Each payload with few fields and with many; its kind; its JSON as the first release wrote it."""


@pytest.mark.parametrize(("payload", "kind", "written"), WIRE, ids=[kind for _, kind, _ in WIRE])
def test_a_payload_is_the_bytes_that_it_always_was(payload: Payload, kind: str, written: str) -> None:
    assert (payload.kind, payload.encode().decode()) == (kind, written)
    command = Command(
        id="cmd_1", kind=kind, workspace="ws_1", environment="live", payload=written.encode(), actor="key_1"
    )
    assert schemas.commands.decode_payload(command) == payload


def test_every_payload_is_in_the_table_above() -> None:
    assert {type(payload) for payload, _, _ in WIRE} == set(PAYLOADS.values())


def test_every_payload_has_one_handler_and_every_handler_a_payload() -> None:
    assert set(HANDLERS) == set(PAYLOADS.values())
    assert set(Counter(payload for module in _rule_modules() for payload in module.HANDLERS).values()) == {1}


def test_a_payload_and_its_handler_are_two_files() -> None:
    """The payload class in a file of schemas/commands; the rule and its line of `HANDLERS` in one file of domain/."""
    subjects = {module.__name__ for module in schemas.commands.SUBJECTS}
    assert {payload.__module__ for payload in HANDLERS} == subjects
    for module in _rule_modules():
        rules = {handler.decide.__module__ for handler in module.HANDLERS.values()}
        assert rules == {module.__name__}, module.__name__


@pytest.mark.parametrize("module", [schemas.commands, decide, handlers], ids=lambda module: module.__name__)
def test_no_payload_is_named_where_commands_are_dispatched(module: ModuleType) -> None:
    names = {node.id for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Name)}
    assert not names & {payload.__name__ for payload in PAYLOADS.values()}


def test_a_kind_belongs_to_one_payload_class() -> None:
    with pytest.raises(TypeError, match=r"key\.create is a kind of both CreateKey and Second"):
        type(Payload)("Second", (Payload,), {"kind": "key.create", "__annotations__": {}}, frozen=True, kw_only=True)


def _rule_modules() -> list[ModuleType]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(("domain.control.", "domain.work.")) and hasattr(module, "HANDLERS")
    ]
