"""The records between the parts, as frozen values; each knows its Avro schema (schemas/avro/<Name>.avsc).

`encode()` gives the topic's bytes, `decode(value)` the record or Undecodable. Field meanings stand in the .avsc files.
"""

from typing import ClassVar, Self

import msgspec

from schemas import codec as codecs
from schemas.codec import Codec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    codec: ClassVar[Codec]

    def encode(self) -> bytes:
        return self.codec.encode(msgspec.structs.asdict(self))

    @classmethod
    def decode(cls, value: bytes | None) -> Self:
        return cls(**cls.codec.decode(value))


class Decision(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.DECISION
    outcome: str
    topic: str
    partition: int
    offset: int
    received_ms: int
    topic_id: str = ""
    event_id: str = ""
    original_id: str = ""
    reason: str = ""
    direct: bool = False
    type: str = ""
    occurred_at: str = ""
    idempotency_key: str | None = None
    actor: bytes | None = None
    metadata: bytes | None = None
    data_bytes: int = 0
    routes: list[str] = []


class Verdict(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.VERDICT
    correlation: bytes
    outcome: str
    event_id: str = ""
    received_ms: int = 0
    routes: list[str] = []
    status: int = 0
    body: bytes = b""


class Command(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.COMMAND
    id: str
    kind: str
    workspace: str
    environment: str
    payload: bytes
    actor: str
    idempotency_key: str | None = None
    surface: str = "events"
    route: str = ""
    request_id: str = ""
    address: str = ""


class Entity(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.ENTITY
    kind: str
    id: str
    workspace: str
    state: bytes
    environment: str = ""
    version: int = 1

    @property
    def key(self) -> bytes:
        return f"{self.kind}/{self.id}".encode()


class Delivery(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.DELIVERY
    delivery_id: str
    event_id: str
    workspace: str
    environment: str
    stream: str
    workflow_id: str
    received_ms: int
    event: bytes
    replay: int = 0
    kind: str = "event"
    routes: int = 0


class Outcome(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.OUTCOME
    delivery_id: str
    event_id: str
    workspace: str
    environment: str
    workflow_id: str
    attempt: int
    status: str
    started_ms: int
    completed_ms: int
    stream: str = ""
    received_ms: int = 0
    replay: int = 0
    kind: str = "event"
    routes: int = 0
    http_status: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    next_attempt_ms: int | None = None
    response_excerpt: bytes | None = None


class DeadLetter(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.DEAD_LETTER
    id: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    message: str
    key: bytes | None = None
    value: bytes | None = None
    value_bytes: int = 0


class Audit(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.AUDIT
    id: str
    workspace: str
    actor: str
    action: str
    resource: str
    at_ms: int
    outcome: str
    environment: str = ""
    route: str = ""
    request_id: str = ""
    address: str = ""
    details: bytes = b""


class Usage(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.USAGE
    gateway: str
    bucket: str = ""
    burst: int = 0
    per_minute: int = 0
    accepted: int = 0
    taken: int = 0
    refused: int = 0
    room_milli: int = 0
    leaving: bool = False


SO_FAR = 0


class Shares(Record, frozen=True, kw_only=True):
    """Entries of the lists belong together by their place; those of a record without a bucket are empty. `dealt_ms` is
    SO_FAR where only those gateways are named that were heard of since the dealer's start: there may be more.
    """

    codec: ClassVar[Codec] = codecs.SHARES
    bucket: str
    gateways: list[str]
    dealt_ms: int
    share_ppm: list[int] = []
    room_milli: list[int] = []
    accepted: list[int] = []


class Telemetry(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.TELEMETRY
    id: str
    kind: str
    workspace: str
    payload: bytes
    actor: str = ""
    route: str = ""
    request_id: str = ""
    address: str = ""


class KeptPosition(Record, frozen=True, kw_only=True):
    codec: ClassVar[Codec] = codecs.KEPT_POSITION
    group: str
    topic: str
    topic_id: str
    next_offset: int

    @property
    def key(self) -> bytes:
        return f"{self.group}/{self.topic}".encode()


RECORDS: tuple[type[Record], ...] = (
    *(Decision, Verdict, Command, Entity, Delivery, Outcome, DeadLetter, Audit),
    *(Usage, Shares, Telemetry, KeptPosition),
)
