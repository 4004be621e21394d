"""What holds for every agent that decides records: each is a case below, with records of its own.

A poisoned record goes to the dead letters alone; records handled again cause the same and change nothing; what comes
out keeps the order that went in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from domain.admission.effects import effects_of
from domain.admission.reading import read
from domain.events.rules import SURFACE, event_id, payload_hash, read_event, to_record
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from operations.settings import Settings
from processors.admission import agent as admission
from schemas.codec import EVENT
from schemas.entities import State, Stream, StreamStatus
from schemas.log_records import LogRecord
from schemas.records import DeadLetter, Decision
from schemas.topics import StreamTopic, Topic
from tests.support.agent_rig import PARTITION, Rig, Sent
from tests.support.events import NOW_MS, a_body

TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")


@dataclass(frozen=True)
class Case:
    """`records(settings)`: good ones, on one partition, of several keys, some of them known already.

    `poison(patch, offset)` makes the agent raise at the record there; `about(sent)` is the offset of the
    record that an output is about, None for outputs that are about none.
    """

    name: str
    build: Callable[[Any], None]
    entities: Sequence[State]
    records: Callable[[Settings], list[LogRecord]]
    poison: Callable[[pytest.MonkeyPatch, int], None]
    about: Callable[[Sent], int | None]


def events(settings: Settings) -> list[LogRecord]:
    """Sealed as by a gateway: seven keys, each first, again, and with another payload."""
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


def poison_reading(patch: pytest.MonkeyPatch, offset: int) -> None:
    def poisoned(record: LogRecord, *rest: Any) -> Any:
        if record.offset == offset:
            raise ZeroDivisionError("poisoned")
        return read(record, *rest)

    patch.setattr(admission, "read", poisoned)


def poison_effects(patch: pytest.MonkeyPatch, offset: int) -> None:
    def poisoned(decided: Any, place: Any, record: LogRecord, *rest: Any) -> Any:
        if record.offset == offset:
            raise KeyError("poisoned")
        return effects_of(decided, place, record, *rest)

    patch.setattr(admission, "effects_of", poisoned)


def decided(sent: Sent) -> int | None:
    return Decision.decode(sent.value).offset if sent.topic == Topic.DECISIONS else None


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
CASES = [
    Case("admission, reading", admission.build, [STREAM], events, poison_reading, decided),
    Case("admission, effects", admission.build, [STREAM], events, poison_effects, decided),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def rig(case: Case, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(case.build, tmp_path, case.entities)
    yield rig
    rig.close()


@pytest.mark.requirement("F18")
async def test_a_poisoned_record_is_set_aside_alone(case: Case, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    records = case.records(rig.settings)
    sick = records[len(records) // 2]
    case.poison(monkeypatch, sick.offset)
    sent = await rig.handle(records)
    letters = [DeadLetter.decode(one.value) for one in sent if one.topic == Topic.DEAD_LETTERS]
    assert [(letter.offset, letter.reason, letter.value) for letter in letters] == [
        (sick.offset, "poisoned", sick.value)
    ]
    assert sorted(offset for one in sent if (offset := case.about(one)) is not None) == [
        record.offset for record in records
    ], "each has its outcome, the poisoned one a refusal"


@pytest.mark.requirement("F15", "F20")
@pytest.mark.parametrize("crash", [False, True], ids=["in one life", "after a crash"])
async def test_records_handled_again_cause_the_same_and_change_nothing(case: Case, rig: Rig, crash: bool) -> None:
    """All of them, from any place on, and one by one."""
    records = case.records(rig.settings)
    first = await rig.handle(records)
    for start in (0, len(records) // 3, len(records) - 1):
        if crash:
            rig.crash()
        again = await rig.handle(records[start:])
        offsets = {record.offset for record in records[start:]}
        assert about(case, again) == {
            offset: outputs for offset, outputs in about(case, first).items() if offset in offsets
        }
        assert {one for one in again if case.about(one) is None} <= {one for one in first if case.about(one) is None}
    alone = [one for record in records for one in await rig.handle([record])]
    assert sorted(map(repr, alone)) == sorted(map(repr, first))


async def test_cut_into_batches_anyhow_the_outcome_is_the_same(case: Case, tmp_path: Path) -> None:
    outcomes = set()
    for size in (1, 2, 5, 100):
        rig = Rig(case.build, tmp_path / str(size), case.entities)
        records = case.records(rig.settings)
        for start in range(0, len(records), size):
            await rig.handle(records[start : start + size])
        outcomes.add(frozenset(rig.sent))
        rig.close()
    assert len(outcomes) == 1


async def test_what_comes_out_keeps_the_order_that_went_in(case: Case, rig: Rig) -> None:
    sent = await rig.handle(case.records(rig.settings))
    offsets = [offset for one in sent if (offset := case.about(one)) is not None]
    assert offsets == sorted(offsets)


def about(case: Case, sent: list[Sent]) -> dict[int, list[Sent]]:
    by_offset: dict[int, list[Sent]] = {}
    for one in sent:
        offset = case.about(one)
        if offset is not None:
            by_offset.setdefault(offset, []).append(one)
    return by_offset
