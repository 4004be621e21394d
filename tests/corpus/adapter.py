"""All that the corpus needs of the product's own code, under names that stay. When a module moves or a class is
renamed, this file alone follows. What is here takes and gives bytes, texts and plain values, never the product's types.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from domain.admission.rerouting import as_first_written
from domain.commands.decide import token_hash_by
from domain.control.values import CommandAnswer, TopicWork
from domain.delivery.delivery_ids import delivery_id
from domain.delivery.outcome_webhooks import Notified
from domain.delivery.retry_table import RetryEntry
from domain.delivery.signatures import (
    body_signature,
    callers_standard_key,
    signing_secret,
    standard_key,
    standard_signature,
    timestamped_signature,
)
from domain.entities.control_view import ControlView
from domain.events.rules import SURFACE, event_id, payload_hash, read_event
from domain.guardrails.fingerprints import fingerprint
from domain.guardrails.values import KeyWindow, Organization, SessionWindow, Spent
from domain.idempotency.events import KeyEntry as SeenEvent
from domain.idempotency.events import KeyScope
from domain.json.canonical import canonical
from domain.json.canonical import payload_hash as hash_of_parts
from domain.limits.quotas import RATE_CLASSES
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.callers import CallerContext
from domain.security.gateway_signatures import GatewaySigner
from domain.security.key_derivation import derive_key
from domain.security.sealed_secrets import SecretBox
from ingest_gateway.log.event_log import Appended
from ingest_gateway.surfaces.burn.edge.spool import Spool
from ingest_gateway.surfaces.burn.edge.telemetry import Entry as SpoolEntry
from ingest_gateway.surfaces.shared.positions import position_of
from operations.new_commands import new_command
from operations.read_model_engine import writer_engine
from processors.projection.store import Store
from processors.runtime.table import TablePartition, TableSpec, shared_cache, unpacked
from schemas import codec, records
from schemas.commands import command_key
from schemas.commands import decode_payload as decode_command
from schemas.commands.payload import PAYLOADS
from schemas.entities import STATES, KeyKind, Limit, state_of
from schemas.ids import derived_id, ulid
from schemas.log_records import LogRecord, SourceRecord
from schemas.partitioner import partition_for
from schemas.read_model import ROWS
from schemas.replies import decode_reply
from schemas.telemetry import FORMS, encode_payload
from schemas.telemetry import decode_payload as decode_telemetry
from schemas.topics import Topic, parse_stream_topic
from schemas.work import ITEMS, item_of

Headers = Sequence[tuple[str, bytes | None]]
_pack = msgspec.msgpack.Encoder().encode


# What there is


def known_types() -> set[str]:
    """Everything that Atlas writes: every kind of record, and what is inside of it."""
    found = {_name(record) for record in records.RECORDS} | {"Event"}
    found |= {f"Command/{kind}" for kind in PAYLOADS} | {f"Entity/{kind}" for kind in (*STATES, *ITEMS, "passed")}
    found |= {f"Telemetry/{kind}" for kind in FORMS}
    found |= {f"Decision/{outcome}" for outcome in ("admitted", "replay", "conflict", "refused")}
    found |= {f"Outcome/{status}" for status in ("delivered", "retry_scheduled", "exhausted", "disabled")}
    found |= {"Delivery/event", "Delivery/webhook", "Verdict/done", "Verdict/refused", "Verdict/reserved"}
    return found | {f"table {table}/{kind}" for table, kinds in TABLES.items() for kind in kinds}


def fixed_topics() -> set[str]:
    return {str(topic) for topic in Topic}


def topics_of_tables() -> set[str]:
    return {f"{name}-changelog" for name in TABLES}


# Records on topics


class Read(NamedTuple):
    """A record as the code of today reads it. `types`: what it is an example of; `value`: JSON; `again`: the bytes
    that the code writes of what it read, None where it never writes that.
    """

    types: list[str]
    value: Any
    again: bytes | None


def read(topic: str, key: bytes | None, value: bytes | None, headers: Headers, timestamp: int = 0) -> list[Read]:
    """One record, or what is packed in it. Raises whatever the code raises for what it can't read."""
    if topic.endswith("-changelog"):
        table = topic.removesuffix("-changelog")
        packed = key == b"packed"
        changes = list(unpacked(value or b"")) if packed else [(key or b"", value)]
        return [_read_entry(table, *change) for change in changes]
    if value is None:
        return [Read(["removal"], None, None)]
    return [_read_record(topic, value, headers)]


def _read_record(topic: str, value: bytes, headers: Headers) -> Read:
    if topic == Topic.ADMISSION or parse_stream_topic(topic) is not None:
        if not codec.EVENT.reads(value):
            return Read(["Event as its producer wrote it"], None, None)
        event = codec.EVENT.decode(value)
        return Read(["Event"], plain(event), codec.EVENT.encode(event))
    kind = _RECORD_OF.get(topic)
    if kind is None:
        return Read(["what a route's topic holds"], json.loads(value), None)
    try:
        record = kind.decode(value)
    except codec.Undecodable:
        return Read(["no record of ours"], None, None)
    again: bytes = record.encode()
    name = _name(kind)
    fields = plain(msgspec.structs.asdict(record))
    return Read([name, *(f"{name}/{inner}" for inner in _inside(record, fields))], fields, again)


def _inside(record: Any, fields: dict[str, Any]) -> list[str]:
    """What kinds of things the record holds; `fields` gets their content, and it must be written again as it was."""
    match record:
        case records.Command():
            try:
                payload = decode_command(record)
            except codec.Undecodable:
                return ["unknown"]
            fields["payload"] = plain(msgspec.to_builtins(payload, builtin_types=(bytes,)))
            assert payload.encode() == record.payload, record.kind
            return [record.kind]
        case records.Entity():
            state = state_of(record) or item_of(record)
            if state is not None:
                fields["state"] = plain(msgspec.to_builtins(state, builtin_types=(bytes,)))
                assert state.to_entity(record.version).encode() == record.encode(), record.kind
            return [record.kind]
        case records.Telemetry():
            form = decode_telemetry(record)
            fields["payload"] = plain(msgspec.to_builtins(form, builtin_types=(bytes,)))
            assert encode_payload(form) == record.payload, record.kind
            return [record.kind]
        case records.Decision() | records.Verdict():
            return [record.outcome]
        case records.Outcome():
            return [record.status]
        case records.Delivery(kind="event"):
            fields["event"] = plain(codec.EVENT.decode_body(record.event))
            return ["event"]
        case records.Delivery():
            return [record.kind]
    return []


_RECORD_OF: dict[str, Any] = {
    Topic.DECISIONS: records.Decision,
    Topic.COMMANDS: records.Command,
    Topic.CONTROL: records.Entity,
    Topic.ITEMS: records.Entity,
    Topic.VERDICTS: records.Verdict,
    Topic.BURN_TELEMETRY: records.Telemetry,
    Topic.DELIVERIES: records.Delivery,
    Topic.OUTCOMES: records.Outcome,
    Topic.AUDIT: records.Audit,
    Topic.USAGE: records.Usage,
    Topic.QUOTAS: records.Shares,
    Topic.POSITIONS: records.KeptPosition,
    Topic.DEAD_LETTERS: records.DeadLetter,
}


# Entries of tables


_struct = msgspec.msgpack.Decoder


TABLES: dict[str, dict[str, Any]] = {
    "admission-seen": {"entry": _struct(SeenEvent)},
    "control-entities": {
        "e": records.Entity,
        "m": records.Entity,
        "a": _struct(CommandAnswer),
        "w": _struct(TopicWork),
        **dict.fromkeys("nksohbvrdit"),
    },
    "control-guardrails": {"entry": _struct(Organization)},
    "control-guardrail-windows": {"l": _struct(SessionWindow), "k": _struct(KeyWindow), "e": None},
    "control-guardrail-spend": {"entry": _struct(Spent)},
    "delivery-waiting": {"d": _struct(RetryEntry), "p": records.Delivery, **dict.fromkeys("wqfm")},
    "lifecycle-told": {"entry": _struct(Notified)},
}
"""By table the kinds of its entries, as their keys say them, and what reads their values; None: bytes as they are."""


def _read_entry(table: str, key: bytes, value: bytes | None) -> Read:
    if key == b"\x00stamp":
        return Read(["stamp"], None, None)
    kinds = TABLES[table]
    kind = "entry" if "entry" in kinds else "swept" if key == b"swept" else chr(key[0])
    name = f"table {table}/{kind}"
    if value is None:
        return Read([f"{name} removed"], None, None)
    reader = kinds.get(kind)
    if reader is None:
        return Read([name], plain(value), None)
    if isinstance(reader, msgspec.msgpack.Decoder):
        entry = reader.decode(value)
        return Read([name], plain(msgspec.to_builtins(entry, builtin_types=(bytes,))), _pack(entry))
    record = reader.decode(value)
    return Read([name], plain(msgspec.structs.asdict(record)), record.encode())


def tables_of(home: Path) -> Iterator[tuple[str, int, dict[bytes, bytes]]]:
    """Table, partition and all entries of every database under an installation's home, opened as a worker opens it."""
    cache = shared_cache()
    for directory in sorted(path.parent for path in home.glob("tables/*/*/*/CURRENT")):
        group, name, partition = directory.parts[-3:]
        kept = KEPT_SECONDS if f"{group}-{name}" in AGEING_TABLES else None
        spec = TableSpec(name, f"{group}-{name}-changelog", kept)
        with closing(TablePartition(spec, directory, cache)) as table:
            entries = dict(table.scan(b""))
        yield f"{group}-{name}", int(partition), entries


AGEING_TABLES = frozenset({"admission-seen", "control-guardrail-windows", "control-guardrail-spend", "lifecycle-told"})
KEPT_SECONDS = 100 * 365 * 86_400
"""So long that nothing of the corpus is ever too old to be looked at."""


def changes_in(packed: bytes) -> list[tuple[bytes, bytes | None]]:
    """Keys and values of one record of a changelog that holds many."""
    return list(unpacked(packed))


# Ids and forms that follow from what they are of


def direct_event(kind: str, occurred_at: str, data: bytes, key: str) -> bytes:
    """As a Kafka producer writes it in Avro."""
    return codec.EVENT.encode({"type": kind, "occurred_at": occurred_at, "data": data, "idempotency_key": key})


def command(kind: str, workspace: str, environment: str, payload: dict[str, Any]) -> tuple[bytes, bytes]:
    """Key and value of a command that the control process gives itself."""
    asked = msgspec.convert(payload, PAYLOADS[kind])
    made = new_command(asked, workspace=workspace, environment=environment, caller=CallerContext("control"), now_ms=1)
    return command_key(made), made.encode()


def asked_again(value: bytes, number: int) -> bytes:
    """The same command as a request that is repeated makes it: under an id of its own."""
    asked = records.Command.decode(value)
    return msgspec.structs.replace(asked, id=f"{asked.id[:-4]}AGA{number}").encode()


def partition_of(key: bytes, partitions: int) -> int:
    return partition_for(key, partitions)


def sealed_hash(master_key: bytes, topic: str, value: bytes, headers: Headers) -> bytes | None:
    """The payload's hash out of a gateway's signature on its record; None where it is not good."""
    return GatewaySigner(master_key).verified_hash(topic, dict(headers).get("atlas-seal"), value)


def id_of_event(
    workspace: str, environment: str, body: bytes, key: str | None, now_ms: int
) -> tuple[str, bytes, bytes]:
    """The event's id, its payload's hash, and the key under which admission's table has it."""
    fields = read_event(body, now_ms=now_ms, allow_key_field=True, key=key)
    digest = payload_hash(fields)
    identifier = event_id(workspace, environment, SURFACE, fields, digest)
    table_key = KeyScope(workspace, environment, SURFACE).table_key(fields.idempotency_key, identifier)
    return identifier, digest, table_key


def table_key_of_event(workspace: str, environment: str, surface: str, key: str | None, identifier: str) -> bytes:
    return KeyScope(workspace, environment, surface).table_key(key, identifier)


def id_of_delivery(
    topic: str, topic_id: str, partition: int, offset: int, received_ms: int, target: str, replay: int
) -> str:
    """Of an admitted event to one target; `replay` 0: not repeated."""
    return delivery_id(SourceRecord(topic, topic_id, partition, offset), received_ms, target, replay)


def stood_first(master_key: bytes, value: bytes, headers: Headers) -> tuple[str, int, int] | None:
    """Where a record of the topic `admission` stood first: topic, partition, offset."""
    moved = LogRecord(
        topic=str(Topic.ADMISSION), partition=0, offset=0, timestamp=0, key=None, value=value, headers=list(headers)
    )
    first = as_first_written(moved, GatewaySigner(master_key))
    return None if first is None else (first.topic, first.partition, first.offset)


def reply_of(header: bytes) -> tuple[int, bytes] | None:
    """Partition of `verdicts` and correlation id."""
    reply = decode_reply(header)
    return None if reply is None else tuple(reply)  # type: ignore[return-value]


FORMS_OF_TEXT: dict[str, Any] = {
    "canonical JSON": lambda text: canonical(text.encode()).decode(),
    "payload hash": lambda text: hash_of_parts(text.encode(), None).hex(),
    "fingerprint": lambda text: fingerprint(_members(text.encode())),
    "partition": lambda text: str(partition_for(text.encode(), 8)),
    "ulid": lambda text: ulid(1_779_114_131_482, text.encode()[:10].ljust(10, b"\0")),
    "derived id": lambda text: derived_id("evt_", 1_779_114_131_482, text.encode(), b"", b"x"),
    "position": lambda text: position_of(Appended(f"events.{text}.live.orders", 3, 4_711, 1)),
}
"""What the code makes of a text, by what it is called."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def made_with_a_key(master_key: bytes, text: str) -> dict[str, str]:
    """Everything that follows from the master key and a text and is good for long: these never change."""
    secret = signing_secret(master_key, text, 2)
    return {
        "derived key": derive_key(master_key, text).hex(),
        "signing secret": secret,
        "X-Atlas-Signature": timestamped_signature([secret, "whsec_b2xk"], 1_779_114_131, text.encode()),
        "X-Signature": body_signature(secret, text.encode()),
        "webhook-signature": standard_signature(standard_key(secret), "dlv_1", 1_779_114_131, text.encode()),
        "webhook-signature of a caller's secret": standard_signature(
            callers_standard_key("whsec_not base64"), "dlv_1", 1_779_114_131, text.encode()
        ),
        **{f"token {kind}": mint_token(master_key, kind, "live", text) for kind in KeyKind},
        "token's hash": TokenHasher(master_key).hash(text),
        "token's hash, of control": token_hash_by(master_key)(KeyKind.SECRET, "live", text),
        "signature of a record": GatewaySigner(master_key).sign(text, bytes(16), text.encode()).hex(),
    }


def opened_secret(master_key: bytes, sealed: bytes, workspace: str, environment: str) -> str:
    """A caller's own secret, as an entity has it."""
    return SecretBox(master_key).open(sealed, workspace, environment)


def sealed_secrets(entities: Sequence[bytes]) -> list[tuple[bytes, str, str]]:
    """Callers' own secrets in records of `control`, with whose they are."""
    found = [state_of(records.Entity.decode(value)) for value in entities]
    return [(one.sealed_secret, one.workspace, one.environment) for one in found if getattr(one, "sealed_secret", b"")]


def secrets_of_target(master_key: bytes, entity_id: str, versions: int = 2) -> list[str]:
    """Those that Atlas issues, in the order in which they are rotated."""
    return [signing_secret(master_key, entity_id, version) for version in range(1, versions + 1)]


def signatures(secret: str, identifier: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Values of headers, as a delivery has them that is signed with one secret."""
    return {
        "of events": timestamped_signature(secret, timestamp, body),
        "of the spine and of work": body_signature(secret, body),
        "standard": standard_signature(callers_standard_key(secret), identifier, timestamp, body),
    }


def hash_of_token(master_key: bytes, token: str) -> str:
    return TokenHasher(master_key).hash(token)


# Views


def control_summary(changes: Sequence[tuple[bytes, bytes | None]], event_types: Sequence[str]) -> dict[str, Any]:
    """What a reader of `control` knows when it has applied these records, as plain values that can be compared."""
    view = ControlView()
    for key, value in changes:
        view.apply(key, value)
    scopes = sorted(itertools.product(view.workspaces, ("live", "test")))
    return {
        "workspaces": sorted(view.workspaces),
        "keys by hash": {hashed: key.id for hashed, key in sorted(view.keys_by_hash.items())},
        "limits": sorted(view.limits),
        "kill flags": {name: flag.layer for name, flag in sorted(view.kill_flags.items())},
        "policies": {name: policy.version for name, policy in sorted(view.policies.items())},
        "replays": {name: str(replay.status) for name, replay in sorted(view.replays.items())},
        "stream topics": {topic: stream.name for topic, stream in sorted(view.streams_by_topic.items())},
        "targets": sorted(view.targets),
        "scopes": {
            "/".join(scope): {
                "streams": [stream.name for stream in view.streams_of(*scope)],
                "workflows": [workflow.id for workflow in view.workflows_of(*scope)],
                "endpoints": [endpoint.id for endpoint in view.endpoints_of(*scope)],
                "keys": [key.id for key in view.keys_of(*scope)],
                "event types": {name: len(one.versions) for name, one in view.event_types_of(*scope).items()},
                "routed by": {name: sorted(streams) for name, streams in view.routed_by(*scope).items()},
                "subscribed": {
                    f"{surface}/{kind}": list(view.subscribed(*scope, surface, kind))
                    for surface in ("spine", "work")
                    for kind in event_types
                },
            }
            for scope in scopes
        },
    }


def spooled(root: Path) -> list[Any]:
    """What stands in the spools that a gateway left under this directory."""
    found = []
    for spool in Spool.adopt(root, 1 << 30):
        with closing(spool):
            while (segment := spool.oldest()) is not None:
                for _, entry in segment.entries():
                    told = msgspec.msgpack.decode(entry, type=SpoolEntry)
                    record = records.Telemetry(
                        id=told.id, kind=told.kind, workspace=told.workspace, payload=told.payload
                    )
                    fields = plain(msgspec.to_builtins(told, builtin_types=(bytes,)))
                    fields[4] = plain(msgspec.to_builtins(decode_telemetry(record), builtin_types=(bytes,)))
                    assert _pack(told) == entry
                    found.append(fields)
                spool.done(segment)
    return found


def prepared_read_model(path: Path) -> None:
    """Opens the database as projection does: its tables are migrated to those of today."""
    with closing(Store(writer_engine(f"sqlite:///{path}"))) as store:
        store.prepare()


def rows_of_log() -> list[str]:
    """The read model's tables that are made of the log's records."""
    return [table.name for table in ROWS]


def _name(record: Any) -> str:
    """That of its schema, which stays when its class is renamed."""
    name: str = record.codec.schema.name
    return name


def plain(value: Any) -> Any:
    """JSON of it: bytes are texts where they are UTF-8, and hex where they are not."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def outcome_of_a_webhook(workspace: str, webhook: str, delivery_id: str) -> tuple[str, bytes]:
    """Topic and value of what delivery writes when a webhook of the work API has arrived."""
    outcome = records.Outcome(
        delivery_id=delivery_id,
        event_id="evt_01HX9Z0F8C5G3R8K2V1NQ7M4WP",
        workspace=workspace,
        environment="live",
        stream="work",
        workflow_id=webhook,
        received_ms=1_716_042_131_482,
        attempt=1,
        status="delivered",
        started_ms=1_716_042_131_492,
        completed_ms=1_716_042_131_507,
        http_status=200,
    )
    return str(Topic.OUTCOMES), outcome.encode()


def one_a_minute(workspace: str, rate_class: str) -> tuple[bytes, bytes]:
    """Key and value of a workspace's own quota on `control`."""
    of = RATE_CLASSES[rate_class]
    limit = Limit(
        id=of.bucket(workspace, "live"),
        workspace=workspace,
        created_ms=0,
        environment="live" if of.by_environment else "",
        rate_class=rate_class,
        burst=1,
        per_minute=1,
    )
    entity = limit.to_entity()
    return entity.key, entity.encode()
