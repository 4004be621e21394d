"""Live streams without a broker: records joined with decisions, bounded queues, ids that name a cursor on the log."""

import time

import orjson
import pytest

from ingest_gateway.log import live as live_log
from ingest_gateway.log.live import LATE_SECONDS, Joined, LiveEvent, LiveLog, _Tail, topic_decided
from ingest_gateway.surfaces.spine import channels
from ingest_gateway.surfaces.spine.channels import Channel, LiveReader
from ingest_gateway.surfaces.spine.frames import StreamCursor, StreamCursorInvalid, event_frame, read_cursor
from operations.record_reader import StoredRecord
from schemas.codec import EVENT
from schemas.records import Decision
from tests.support.event_reader import EventReader
from tests.support.until import until

TOPIC = "events.ws_a.live.spine"
VALUE = EVENT.encode({"type": "code.a", "occurred_at": "2026-05-18T14:22:11Z", "data": b'{"a":1}'})


def decision(offset: int, outcome: str = "admitted", partition: int = 0, kind: str = "code.a") -> Decision:
    return Decision(
        outcome=outcome,
        topic=TOPIC,
        partition=partition,
        offset=offset,
        received_ms=1_000 + offset,
        event_id="evt_01HX9YS3K4P2QV8M1R7Z6N0WJ1",
        type=kind,
        actor=b'{"id":"ci"}',
    )


def offsets(events: list[LiveEvent]) -> list[int]:
    return [one.decision.offset for one in events]


def test_what_was_admitted_comes_in_order_whichever_half_is_first() -> None:
    joined = Joined()
    joined.record((TOPIC, 0), 0, VALUE, ())
    joined.decided(decision(0), 0.0)
    joined.decided(decision(1), 0.0)  # before its record
    joined.record((TOPIC, 0), 2, VALUE, ())
    joined.decided(decision(2), 0.0)
    assert offsets(joined.take(0.1)) == [0]
    joined.record((TOPIC, 0), 1, VALUE, ())
    assert offsets(joined.take(0.2)) == [1, 2]


def test_replays_and_conflicts_are_no_events() -> None:
    joined = Joined()
    for offset, outcome in enumerate(("admitted", "replay", "conflict", "refused", "admitted")):
        joined.record((TOPIC, 0), offset, VALUE, ())
        joined.decided(decision(offset, outcome), 0.0)
    assert offsets(joined.take(0.0)) == [0, 4]


def test_memory_is_bounded_and_what_was_let_go_is_to_be_read_back() -> None:
    joined = Joined(kept_bytes_max=3 * len(VALUE))
    for offset in range(10):
        joined.record((TOPIC, 0), offset, VALUE, ())
    for offset in range(10):
        joined.decided(decision(offset), 0.0)
    assert joined.take(LATE_SECONDS / 2) == [], "the first ones are waited for a little"
    events = joined.take(LATE_SECONDS)
    assert offsets(events) == list(range(10))
    assert [one.value is None for one in events] == [True] * 7 + [False] * 3


def test_the_topic_of_a_decision_is_read_without_the_rest() -> None:
    assert topic_decided(decision(7).encode()) == TOPIC.encode()


async def test_what_has_to_be_read_back_keeps_its_place() -> None:
    read: list[int] = []

    async def read_back(position: tuple[str, int, int]) -> StoredRecord:
        read.append(position[2])
        return StoredRecord(VALUE)

    channel, reader = Channel(TOPIC, "ws_a", read_back), LiveReader([], lambda: None)
    channel.readers.add(reader)
    channel.admitted([LiveEvent(decision(0), VALUE, ()), LiveEvent(decision(1), None, ())])
    channel.admitted([LiveEvent(decision(2), VALUE, ())])
    assert channel._reading is not None
    await channel._reading
    told = reader.take().decode().split("\n\n")[:-1]
    assert read == [1] and len(told) == 3
    places = [read_cursor(one.splitlines()[0].removeprefix("id: ")) for one in told]
    assert [cursor.offsets for cursor in places] == [[1], [2], [3]]


async def test_a_full_queue_drops_its_reader_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "QUEUED_FRAMES_MAX", 5)

    async def read_back(position: tuple[str, int, int]) -> None:
        raise AssertionError(position)

    cut: list[str] = []
    slow, quick = LiveReader([], lambda: cut.append("slow")), LiveReader([], lambda: cut.append("quick"))
    picky = LiveReader(["lead.*"], lambda: cut.append("picky"))
    channel = Channel(TOPIC, "ws_a", read_back)
    channel.readers |= {slow, quick, picky}
    for offset in range(20):
        channel.admitted([LiveEvent(decision(offset), VALUE, ())])
        assert quick.take()
    assert cut == ["slow"] and slow.dropped and not slow.take()
    assert not picky.take() and not picky.dropped


def test_a_reader_that_went_on_gets_nothing_twice() -> None:
    reader = LiveReader([], lambda: None)
    reader.after = StreamCursor(1, [3, 0])
    places = ((0, 2), (0, 3), (1, 0))
    reader.offer(
        [channels.LiveFrame("a.b", 7, *cursor, event_frame("behind", "a.b", {"at": cursor})) for cursor in places]
    )
    events = EventReader().feed(reader.take().decode())
    assert [orjson.loads(one.data)["at"] for one in events] == [[0, 3], [1, 0]]
    assert [read_cursor(one.id) for one in events] == [StreamCursor(7, [4, 0]), StreamCursor(7, [4, 1])], (
        "no id takes it back"
    )


def test_an_id_names_a_place_and_moves_forward_only() -> None:
    cursor = StreamCursor.at({0: 5, 2: 7}, 10)
    assert cursor.offsets == [5, 0, 7]
    cursor.pass_event(12, 2, 9)
    cursor.pass_event(11, 2, 3)
    cursor.pass_event(11, 4, 0)
    assert (cursor.received_ms, cursor.offsets) == (12, [5, 0, 10, 0, 1])
    assert read_cursor(cursor.encode()) == cursor
    assert cursor.is_behind(StreamCursor(0, [5, 0, 8])) and not cursor.is_behind(StreamCursor(0, [6]))


NO_IDS = ("", "nonsense!", "AAAA", StreamCursor(-1, []).encode(), StreamCursor(1, [-1]).encode(), "x" * 5_000)


@pytest.mark.parametrize("text", NO_IDS)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(StreamCursorInvalid):
        read_cursor(text)


def test_line_ends_in_the_data_are_lines_of_the_frame() -> None:
    frame = event_frame("i", "a.b", {"data": orjson.Fragment(b'{\r\n"a":\n1}')})
    assert frame == b'id: i\nevent: a.b\ndata: {"data":{\ndata: "a":\ndata: 1}}\n\n'


class FailingTail(_Tail):
    """One that follows any topic; reads go wrong while `is_broken`."""

    is_broken = False

    def follow(self, topic: str) -> dict[int, int]:
        self.topics[topic.encode()] = topic
        return {0: 5}

    def leave(self, topic: str) -> None:
        self.topics.pop(topic.encode(), None)

    def read(self) -> list[LiveEvent]:
        time.sleep(0.001)
        if FailingTail.is_broken:
            raise ValueError("nobody thought of this")
        return []


async def test_who_watches_a_log_whose_reader_fails_is_told_and_the_next_one_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_log, "_Tail", FailingTail)
    live, lost = LiveLog("127.0.0.1:1"), list[str]()
    watched: list[LiveEvent] = []
    assert await live.watch(TOPIC, watched.extend, lost.append) == {0: 5} and live.failing_seconds() == 0
    for times in (1, 2):
        monkeypatch.setattr(FailingTail, "is_broken", True)
        await until(lambda times=times: len(lost) == times)  # type: ignore[misc]
        assert live.failed == "the reader of live failed: ValueError('nobody thought of this')"
        assert live.failing_seconds() > 0
        monkeypatch.setattr(FailingTail, "is_broken", False)
        assert await live.watch(TOPIC, watched.extend, lost.append) == {0: 5}
    monkeypatch.setattr(live_log, "FAILING_SECONDS", 0.0)
    assert live.failing_seconds() == 0, "a while has passed without a failure"
    live.unwatch(TOPIC, watched.extend)
    await live.close()
    assert lost == [TOPIC, TOPIC]
