"""`GET /v1/events/stream`: events as they are admitted, ids that go on without a gap, readers that are too slow."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest
from yarl import URL

from domain.security.api_tokens import mint_token
from ingest_gateway.log import live as module
from ingest_gateway.log.bootstrap import ask
from ingest_gateway.log.live import _Tail
from ingest_gateway.surfaces.spine import channels, live_stream
from ingest_gateway.surfaces.spine.frames import StreamCursor
from schemas.commands.answers import decode_state
from schemas.commands.keys import CreateKey, RevokeKey
from schemas.entities import Key, KeyKind
from tests.support.event_reader import EventReader
from tests.support.metrics import sample
from tests.support.spine_installation import LiveStream, Spine, a_spine
from tests.support.work_installation import WorkInstallation

GIVE_UP_SECONDS = 60.0


@pytest.mark.requirement("S-001")
async def test_a_reader_gets_what_matches_as_it_is_admitted(spine: Spine) -> None:
    async with spine.live("?type=code.*,lead.scored") as stream:
        published = await spine.publish("code.analysis.complete", {"text": "a\nb"}, correlationId="c1", tags=["x"])
        await spine.publish("lead.enriched")
        await spine.publish("lead.scored")
        first, second = await stream.events(2)
    assert (first.event, second.event) == ("code.analysis.complete", "lead.scored")
    assert first.data == {
        "eventId": published["eventId"],
        "type": "code.analysis.complete",
        "source": "tests",
        "orgId": spine.org,
        "timestamp": published["timestamp"],
        "data": {"text": "a\nb"},
        "metadata": {"correlationId": "c1", "tags": ["x"]},
    }


async def test_at_rest_there_are_comments_and_no_events(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specification reads it, and as clients do that make an event of every blank line."""
    monkeypatch.setattr(live_stream, "HEARTBEAT_SECONDS", 0.05)
    async with spine.live("?type=code.*") as stream:
        sent = b""
        for kind in ("code.first", "other.kind", "code.last"):
            for _ in range(4):
                sent += await stream.response.content.readline()
            await spine.publish(kind)
        while b"code.last" not in sent or not sent.endswith(b"\n\n"):
            sent += await stream.response.content.readline()
        for _ in range(4):
            sent += await stream.response.content.readline()
    reader = EventReader()
    events = reader.feed(sent.decode())
    assert [one.event for one in events] == ["code.first", "code.last"]
    assert reader.retry_ms == live_stream.RETRY_MS and reader.last_id == events[-1].id
    blocks = sent.decode().split("\n\n")
    assert all("\ndata: " in block for block in blocks[:-1]) and "data" not in blocks[-1]
    comment = re.findall(r"^: last-event-id (\S+)$", sent.decode(), re.MULTILINE)[-1]
    await spine.publish("code.missed")
    async with spine.live("?type=code.*", last_id=comment) as again:
        assert [one.event for one in await again.events(1)] == ["code.missed"]


async def test_a_reader_that_had_no_event_goes_on_from_where_its_answer_began(spine: Spine) -> None:
    async with spine.live() as stream:
        begun = stream.response.headers["Last-Event-ID"]
    await spine.publish("code.between")
    async with spine.live(last_id=begun) as again:
        assert [one.event for one in await again.events(1)] == ["code.between"]


async def test_replays_and_other_orgs_are_not_shown(spine: Spine) -> None:
    async with spine.live() as stream:
        for _ in range(2):
            body = {"type": "code.a", "source": "tests", "data": {}}
            await spine.ask("POST", "/v1/events", body, Idempotency_Key="once")
        await spine.publish("code.last")
        assert [one.event for one in await stream.events(2)] == ["code.a", "code.last"]


async def test_a_reader_goes_on_from_its_last_id_with_each_event_once(spine: Spine) -> None:
    """Read in pieces of three while events come, with the connection closed after each piece."""
    count = 30

    async def publish() -> None:
        for number in range(count):
            await spine.publish(f"code.n{number}")

    async with spine.live() as stream:
        last_id = stream.last_id
    publishing = asyncio.create_task(publish())
    seen: list[str] = []
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while len(seen) < count:
            async with spine.live(last_id=last_id) as stream:
                seen += [one.event for one in await stream.events(min(3, count - len(seen)))]
                last_id = stream.last_id
    await publishing
    assert sorted(seen) == sorted(f"code.n{number}" for number in range(count))


DROPPED = "atlas_live_readers_dropped_total"


async def test_a_reader_that_is_too_slow_is_cut_off_and_goes_on_later(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads its first frame and no more; another beside it gets everything."""
    monkeypatch.setattr(channels, "QUEUED_FRAMES_MAX", 8)
    async with spine.live() as quick, stalled_reader(spine) as last_id:
        before, published = sample(DROPPED), 0
        while sample(DROPPED) == before:
            await spine.publish("code.large", {"text": "x" * 700_000})
            published += 1
            assert published < 100, "the sockets' buffers hold some megabytes"
            await quick.events(1)
    async with spine.live(last_id=last_id) as again:
        assert [one.event for one in await again.events(published)] == ["code.large"] * published


async def test_a_reader_of_the_log_that_fails_is_told_cuts_its_readers_off_and_begins_anew(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, failures = spine.clients.live, partial(sample, "atlas_reader_failures_total", reader="live")
    before = failures()
    async with spine.live("?type=code.*") as stream:
        await spine.publish("code.a")
        await stream.events(1)
        with monkeypatch.context() as broken:
            broken.setattr(_Tail, "_take", fails)
            await spine.publish("code.b")
            with pytest.raises((ConnectionResetError, aiohttp.ClientPayloadError)):
                await stream.events(1)
            assert live.failed == "the reader of live failed: ValueError('nobody thought of this')"
            assert live.failing_seconds() > 0 and failures() == before + 1
        async with spine.live("?type=code.*", last_id=stream.last_id) as again:
            await spine.publish("code.c")
            assert [one.event for one in await again.events(2)] == ["code.b", "code.c"]
        monkeypatch.setattr(module, "FAILING_SECONDS", 0.0)
        assert live.failing_seconds() == 0, "some time after it"


def fails(_tail: _Tail, _message: object) -> None:
    raise ValueError("nobody thought of this")


@asynccontextmanager
async def stalled_reader(spine: Spine) -> AsyncIterator[str]:
    """Its first id; it has a small buffer and reads nothing more."""
    url = URL(spine.url)
    socket_ = socket.socket()
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    socket_.setblocking(False)
    await asyncio.get_running_loop().sock_connect(socket_, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=socket_, limit=4_096)
    head = f"GET /v1/events/stream HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {spine.key}\r\n\r\n"
    writer.write(head.encode())
    while not (line := await reader.readline()).lower().startswith(b"last-event-id: "):
        assert line
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    yield line.partition(b": ")[2].strip().decode()
    writer.close()


@pytest.mark.requirement("S-059")
async def test_a_stream_ends_when_its_key_is_revoked(spine: Spine) -> None:
    payload = CreateKey(name="other", environment="live", key_kind=KeyKind.SPINE)
    other: Key = decode_state(await ask(spine.clients, spine.workspace, payload, "other"), Key)
    keys = spine.clients.control.view.keys.values()
    mine = next(key for key in keys if key.workspace == spine.workspace and key.name == "spine")
    async with spine.live() as stream:
        await spine.publish("code.a")
        assert (await stream.events(1))[0].event == "code.a"
        await ask(spine.clients, spine.workspace, RevokeKey(id=mine.id), "revoke")
        await spine.clients.control.catch_up()
        spine.key = mint_token(spine.settings.master_key, other.key_kind, other.environment, other.id)
        await spine.publish("code.b")  # so that the stream has something to tell
        with pytest.raises(ConnectionResetError, match="ended"):
            await stream.events(100)


@pytest.mark.parametrize(
    "last_id", ["nonsense", "AAAA", StreamCursor(-1, []).encode(), StreamCursor(1, [-1]).encode(), "x" * 5_000]
)
async def test_an_id_that_was_not_given_out_is_refused(spine: Spine, last_id: str) -> None:
    answer = await spine.ask("GET", "/v1/events/stream", Last_Event_ID=last_id)
    assert (answer.status, answer.json["error"]["field"]) == (400, "Last-Event-ID")
    answer = await spine.ask("GET", "/v1/events/stream?type=**")
    assert (answer.status, answer.json["error"]["field"]) == (400, "type")


async def test_a_reader_of_a_gateway_that_stops_is_told_when_to_come_again_and_goes_on(
    installation: WorkInstallation, spine: Spine
) -> None:
    """The other gateway, `spine`, has what it missed."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {spine.key}"}) as session:
        async with a_spine(installation) as stopping:
            reading = await session.get(f"{stopping.url}/v1/events/stream")
            stream = LiveStream(reading)
            published = await spine.publish("code.before")
            (seen,) = await stream.events(1)
        last_words = (await reading.content.read()).decode()
        assert re.fullmatch(r"(?s).*retry: \d{3,4}\n", last_words), "an end of its own, not a cut"
    missed = await spine.publish("code.after")
    async with spine.live(last_id=stream.last_id) as again:
        (after,) = await again.events(1)
    assert [one.data["eventId"] for one in (seen, after)] == [published["eventId"], missed["eventId"]]
