"""A delivery's id is the same for everyone who computes it, and the same as in every release: ids are written out."""

import pytest

from domain.delivery.delivery_ids import delivery_id
from domain.delivery.replays import Replayable, replay_deliveries
from schemas.commands.work import ReplayWebhook
from schemas.entities import Replay
from schemas.log_records import AdmittedRecord, SourceRecord

ORDERS = SourceRecord("events.ws_4F9KQ2C7Z1.live.orders", "Zm9vYmFyYmF6cXV4AAAAAA", 3, 100)
SPINE = SourceRecord("events.ws_4F9KQ2C7Z1.test.spine", "topic-2", 0, 2**40)
RECEIVED_MS = 1_779_113_531_482


@pytest.mark.parametrize(
    ("source", "received_ms", "target", "by_replay"),
    [
        (
            *(ORDERS, RECEIVED_MS, "wf_search"),
            {
                0: "dlv_01KRXPW62TXDJ6M9PWN7BDBE91",
                1: "dlv_01KRXPW62TV7DXG00BFFS528NM",
                12: "dlv_01KRXPW62T8381XJW6G85CSD06",
            },
        ),
        (
            *(ORDERS, 0, "sub_01JV2X3Y4Z5A6B7C8D9E0F1G2H"),
            {0: "dlv_00000000003D20RHWVSYTXFABM", 1: "dlv_000000000063BFT6FZ5R5VTBZH"},
        ),
        (
            *(SPINE, RECEIVED_MS, "sub_01JV2X3Y4Z5A6B7C8D9E0F1G2H"),
            {
                0: "dlv_01KRXPW62TZHD5N8J1N8J61DJN",
                1: "dlv_01KRXPW62T9AJSQTEZ6VMR4W7J",
                12: "dlv_01KRXPW62TXZESPYBT19VM06FZ",
            },
        ),
    ],
)
def test_an_id_is_what_it_always_was(
    source: SourceRecord, received_ms: int, target: str, by_replay: dict[int, str]
) -> None:
    assert {replay: delivery_id(source, received_ms, target, replay) for replay in by_replay} == by_replay


def test_a_replay_and_the_answer_that_announces_it_name_the_same_delivery() -> None:
    """Control answers with the id before lifecycle makes the delivery, from the time in the command."""
    admitted = AdmittedRecord(*_position(), received_ms=RECEIVED_MS)
    replay = Replay(id="rpl_1", workspace="ws_1", environment="live", created_ms=1, number=12, event_id="evt_1")
    event = Replayable("evt_1", "orders", RECEIVED_MS, ("wf_search",), *_position())
    (made,) = replay_deliveries(replay, event, b"")
    assert made.delivery_id == delivery_id(admitted, admitted.received_ms, "wf_search", 12)
    assert made.delivery_id == "dlv_01KRXPW62T8381XJW6G85CSD06"


def test_the_position_in_a_command_is_written_as_it_always_was() -> None:
    command = ReplayWebhook(id="whk_1", event_id="evt_1", source=AdmittedRecord(*_position(), received_ms=RECEIVED_MS))
    assert command.encode() == (
        b'{"id":"whk_1","event_id":"evt_1","source":["events.ws_4F9KQ2C7Z1.live.orders","Zm9vYmFyYmF6cXV4AAAAAA",'
        b"3,100,1779113531482]}"
    )


def _position() -> tuple[str, str, int, int]:
    return ORDERS.topic, ORDERS.topic_id, ORDERS.partition, ORDERS.offset
