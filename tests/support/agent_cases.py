"""Each agent with records of its own, for tests/contract/test_every_agent.py: what holds for one holds for all."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from domain.delivery.webhooks import WebhookType
from domain.events.rules import SURFACE, event_id, payload_hash, read_event, to_record
from domain.security.callers import CallerContext
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from operations import clock
from operations.new_commands import new_command
from operations.read_model_engine import writer_engine
from operations.settings import Settings
from processors.admission import agent as admission
from processors.control import agent as control
from processors.delivery import agent as delivery
from processors.guardrails import agent as guardrails
from processors.lifecycle import agent as lifecycle
from processors.projection import agent as projection
from processors.projection.store import Store
from processors.rates import agent as rates
from schemas.codec import EVENT, Undecodable
from schemas.commands.payload import Payload
from schemas.commands.workflows import CreateWorkflow
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import Ordering, State, Stream, StreamStatus, WebhookEndpoint, Workflow
from schemas.ids import DELIVERY, derived_id
from schemas.log_records import LogRecord
from schemas.read_model import events as event_rows
from schemas.records import DeadLetter, Decision, Delivery, Outcome, Telemetry, Usage
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.telemetry import ModelCalls, encode_payload
from schemas.topics import StreamTopic, Topic
from schemas.work import passed_entity
from tests.support.agent_rig import PARTITION, Sent
from tests.support.events import NOW_MS, a_body
from tests.support.guarded import NOON_MS, a_call
from tests.support.log_records import a_decision, an_outcome
from tests.support.until import until

TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")
WORKSPACES = ("ws_4F9KQ2C7Z1", "ws_0000000002")
PASSED = passed_entity(0).key


def itself(sent: Sent) -> Hashable:
    return sent


def of_its_key(sent: Sent) -> Hashable:
    return sent.topic, sent.partition if sent.key is None else sent.key


@dataclass(frozen=True)
class Case:
    """`records(settings)`: good ones, on one partition, of several keys, some of them about what is known already.

    `deciding`: the function that looks at one record after the other; made to raise, it is what a poisoned record does.
    `told(sent)`: what the world is told by it, without what differs when a thing is done again, such as when it was
    done; None for what only says how far the agent is. `lane(sent)`: within it the order of records is kept.
    """

    name: str
    build: Callable[[Any], None]
    records: Callable[[Settings], list[LogRecord]]
    deciding: str | None
    entities: Callable[[str], Sequence[State]] = lambda _url: ()
    told: Callable[[Sent], Hashable | None] = itself
    lane: Callable[[Sent], Hashable] = of_its_key
    forgets: bool = False
    """What it knows is in memory, and gone when a batch is handled again."""
    tells_once_a_batch: bool = False
    """Of what changes several times in a batch only the last is told."""
    finished: Callable[[list[Sent], Sequence[LogRecord]], bool] = lambda _sent, _records: True
    """For who does its work after a batch was taken in: whether all of these records was done."""
    env: dict[str, str] = field(default_factory=dict)
    shown: Callable[[Settings, int], Awaitable[Counter[Hashable]]] | None = None
    """For who writes no topic: what is there once all records below the offset are written."""


def on(topic: str, values: Iterable[tuple[bytes, int]], *headers: tuple[str, bytes]) -> list[LogRecord]:
    """(value, time) of each."""
    return [
        LogRecord(topic, PARTITION, offset, at_ms, None, value, headers) for offset, (value, at_ms) in enumerate(values)
    ]


# Admission


def events(settings: Settings) -> list[LogRecord]:
    """Signed as by a gateway: seven keys, each first, again, and with another payload."""
    signer, made = GatewaySigner(settings.master_key), []
    for offset in range(21):
        body = a_body(idempotency_key=f"key-{offset % 7}", data={"other": offset >= 14})
        fields = read_event(body, now_ms=NOW_MS, allow_key_field=True)
        digest = payload_hash(fields)
        identifier = event_id(TOPIC.workspace, TOPIC.environment, SURFACE, fields, digest)
        value = EVENT.encode(to_record(fields, identifier))
        headers = ((GATEWAY_SIGNATURE, signer.sign(TOPIC.name, digest, value)),)
        made.append(LogRecord(TOPIC.name, PARTITION, offset, NOW_MS + offset, None, value, headers))
    return made


def admitted(sent: Sent) -> Hashable | None:
    """Of a record that is set aside there is a refusal beside the dead letter."""
    refused = sent.topic == Topic.DECISIONS and Decision.decode(sent.value).outcome == "refused"
    return None if refused else sent


STREAM = Stream(
    id="stm_1",
    workspace=TOPIC.workspace,
    created_ms=1,
    environment=TOPIC.environment,
    name=TOPIC.stream,
    default_routes=["wf_one", "wf_two"],
    status=StreamStatus.ACTIVE,
    topic=TOPIC.name,
    topic_id="topic-1",
)


# The control process: commands, usage, telemetry


def commands(_settings: Settings) -> list[LogRecord]:
    """Two workspaces; each makes workflows, some by a key that is known, one of them with another payload."""
    asked: list[tuple[str, Payload, str | None]] = [(ws, CreateWorkspace(name="Acme"), None) for ws in WORKSPACES]
    for number in range(8):
        workflow = CreateWorkflow(name=f"Number {number // 2}", url="https://example.com/hook", id=f"wf_{number // 2}")
        asked += [(ws, workflow, f"key-{number // 3}") for ws in WORKSPACES]
    made = []
    for offset, (workspace, payload, key) in enumerate(asked):
        at_ms = NOW_MS + offset
        command = new_command(
            payload,
            workspace=workspace,
            environment="live",
            caller=CallerContext("key_1"),
            now_ms=at_ms,
            idempotency_key=key,
        )
        reply = ReplyTo(0, offset.to_bytes(16, "big")).encode()
        made.append(
            LogRecord(Topic.COMMANDS, PARTITION, offset, at_ms, None, command.encode(), ((REPLY_HEADER, reply),))
        )
    return made


def without_passed(sent: Sent) -> Hashable | None:
    return None if sent.key == PASSED else sent


def usage(_settings: Settings) -> list[LogRecord]:
    said = [
        Usage(
            gateway=f"gateway-{number % 2}",
            bucket=f"ws_4F9KQ2C7Z1/live/{('events', 'work')[number // 2 % 2]}",
            burst=200,
            per_minute=1_200,
            accepted=10 * number,
        )
        for number in range(12)
    ]
    return on(Topic.USAGE, ((one.encode(), NOW_MS + 250 * number) for number, one in enumerate(said)))


def telemetry(_settings: Settings) -> list[LogRecord]:
    """Calls of two organizations, each waited for; the fourth with one fingerprint suspends them."""
    made = []
    for number in range(12):
        form = ModelCalls(calls=[a_call(number, fingerprint="sha256:" + "b9c1" * 16)])
        record = Telemetry(
            id=f"tel_{number}", kind=form.kind, workspace=WORKSPACES[number % 2], payload=encode_payload(form)
        )
        made.append((record.encode(), NOON_MS + number * 1_000))
    return on(Topic.BURN_TELEMETRY, made, (REPLY_HEADER, ReplyTo(0, bytes(16)).encode()))


# Delivery, lifecycle, projection


def deliveries(_settings: Settings) -> list[LogRecord]:
    """For a workflow that takes one after the other of a key; three keys."""
    made = []
    for number in range(12):
        key = f"key-{number % 3}"
        identifier = derived_id(DELIVERY, NOW_MS, bytes([number]))
        fields = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:12:11Z", "data": b'{"n": 1}'}
        event = EVENT.body_of(EVENT.encode(fields | {"idempotency_key": key}))
        one = Delivery(
            delivery_id=identifier,
            event_id=f"evt_{key}_{number:02}",
            workspace=TOPIC.workspace,
            environment="live",
            stream=TOPIC.stream,
            workflow_id="wf_one",
            received_ms=clock.now_ms(),  # what is too old is not delivered any more
            event=event,
        )
        made.append((one.encode(), NOW_MS + number))
    return on(Topic.DELIVERIES, made)


def workflows(url: str) -> list[State]:
    return [
        Workflow(
            id="wf_one",
            workspace=TOPIC.workspace,
            created_ms=1,
            environment="live",
            name="One",
            url=f"{url}/one",
            ordering=Ordering.PER_KEY,
        )
    ]


def attempt_told(sent: Sent) -> Hashable | None:
    if sent.topic != Topic.OUTCOMES:
        return sent
    outcome = Outcome.decode(sent.value)
    return outcome.event_id, outcome.delivery_id, outcome.attempt, outcome.status


def all_attempted(sent: list[Sent], records: Sequence[LogRecord]) -> bool:
    ended = {Outcome.decode(one.value).delivery_id for one in sent if one.topic == Topic.OUTCOMES}
    aside = {DeadLetter.decode(one.value).offset for one in sent if one.topic == Topic.DEAD_LETTERS}
    return all(one.offset in aside or delivery_of(one) in ended for one in records)


def delivery_of(record: LogRecord) -> str | None:
    try:
        return Delivery.decode(record.value).delivery_id
    except Undecodable:
        return None


def key_of_attempt(sent: Sent) -> Hashable:
    assert sent.key is not None
    return sent.key.split(b"_")[1] if sent.topic == Topic.OUTCOMES else of_its_key(sent)


def outcomes(_settings: Settings) -> list[LogRecord]:
    """Four events, each with two routes that are tried again, fail and are delivered; some are told a second time."""
    said = []
    for attempt, status in enumerate(("retry_scheduled", "exhausted", "delivered"), 1):
        for number in range(4):
            route = f"wf_{number % 2}"
            fields = {"delivery_id": f"dlv_{number}_{route}", "workflow_id": route, "routes": 2}
            said.append(an_outcome(number, attempt=attempt, status=status, **fields))
    return on(Topic.OUTCOMES, ((one.encode(), NOW_MS + number) for number, one in enumerate([*said, *said[:4]])))


def endpoints(_url: str) -> list[State]:
    return [
        WebhookEndpoint(
            id="whe_1",
            workspace=TOPIC.workspace,
            created_ms=1,
            environment="live",
            name="Told",
            url="https://example.com/hook",
            events=list(WebhookType),
        )
    ]


def decisions(_settings: Settings) -> list[LogRecord]:
    return on(Topic.DECISIONS, ((a_decision(number).encode(), NOW_MS) for number in range(12)))


async def rows(settings: Settings, next_offset: int) -> Counter[Hashable]:
    """Of the read model, but for the number of the transaction that wrote each."""
    columns = [column for column in event_rows.c if column.name != "number"]
    engine = writer_engine(settings.database_url)
    store = Store(engine)
    try:
        await until(lambda: store.positions().get((Topic.DECISIONS, PARTITION), 0) >= next_offset)
        with engine.connect() as connection:
            return Counter(tuple(row) for row in connection.execute(select(*columns)))
    finally:
        store.close()


CASES = [
    *(
        Case(f"admission, {step}", admission.build, events, deciding, lambda _: [STREAM], admitted)
        for step, deciding in (
            ("reading", "processors.admission.agent.read"),
            ("effects", "processors.admission.agent.effects_of"),
        )
    ),
    Case("control", control.build, commands, "processors.control.agent.decide", told=without_passed),
    Case("rates", rates.build, usage, "domain.limits.ledger.Ledger.note", forgets=True, tells_once_a_batch=True),
    Case("guardrails", guardrails.build, telemetry, "processors.guardrails.agent.decide"),
    Case(
        "delivery",
        delivery.build,
        deliveries,
        "processors.delivery.agent.read_delivery",
        workflows,
        attempt_told,
        key_of_attempt,
        finished=all_attempted,
        env={"ATLAS_ALLOW_PRIVATE_TARGETS": "1"},
    ),
    Case("lifecycle", lifecycle.build, outcomes, "processors.lifecycle.agent.decide", endpoints),
    Case("projection", projection.build, decisions, None, shown=rows),
]
