"""A thread that reads for an event loop ends when it is told to, or says why it ended."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from domain.entities.control_view import ControlView
from ingest_gateway.log.clients import LogClients
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import EventLog
from ingest_gateway.log.live import LiveLog
from ingest_gateway.log.verdicts import VerdictWaiter
from operations.control_reader import ControlReader
from operations.reader_thread import ReaderThread
from tests.support.metrics import sample
from tests.support.until import until

UNREACHABLE = "127.0.0.1:1"


def fails() -> None:
    raise ValueError("nobody thought of this")


def comes_to_its_end() -> None:
    """Without being told to."""


def failures(reader: str) -> float:
    return sample("atlas_reader_failures_total", reader=reader)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (fails, "ValueError('nobody thought of this')"),
        (comes_to_its_end, "RuntimeError('it came to its end')"),
    ],
)
async def test_whatever_ends_it_is_kept_counted_logged_and_told_once(
    read: Callable[[], None], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, bool]] = []
    on_the_loop = threading.get_ident()
    thread = ReaderThread("verdicts", read, lambda why: told.append((why, threading.get_ident() == on_the_loop)))
    before = failures("verdicts")
    thread.start()
    await until(lambda: told != [])
    await thread.stop()
    reason = f"the reader of verdicts failed: {error}"
    assert (told, thread.failed, failures("verdicts")) == ([(reason, True)], reason, before + 1)
    assert [(line.getMessage(), line.levelname) for line in caplog.records] == [("verdicts.failed", "CRITICAL")]


async def test_one_that_is_stopped_did_not_fail_and_hands_over_what_it_read() -> None:
    read: list[int] = []
    told: list[str] = []

    def work() -> None:
        while not thread.wait(0.001):
            thread.call(read.append, len(read))

    thread = ReaderThread("verdicts", work, told.append)
    thread.start()
    await until(lambda: len(read) > 1)
    assert thread.runs
    await thread.stop()
    assert (told, thread.failed) == ([], None)


async def test_one_that_failed_begins_anew_when_it_is_started_again() -> None:
    reads = [fails, comes_to_its_end]
    told: list[str] = []
    thread = ReaderThread("live", lambda: reads.pop()(), told.append)
    for times in (1, 2):
        thread.start()
        assert thread.runs
        await until(lambda times=times: len(told) == times)  # type: ignore[misc]
        assert not thread.runs
    await thread.stop()


def test_a_loop_that_closed_is_no_failure_of_its_reader(caplog: pytest.LogCaptureFixture) -> None:
    closed, ended = threading.Event(), threading.Event()

    def work() -> None:
        closed.wait(10)
        try:
            thread.call(print)
        finally:
            ended.set()

    thread = ReaderThread("verdicts", work, lambda why: None)
    before = failures("verdicts")

    async def start() -> None:
        thread.start()

    with caplog.at_level(logging.INFO):
        asyncio.run(start())
        closed.set()
        assert ended.wait(10)
        assert thread._thread is not None
        thread._thread.join(10)
    assert (failures("verdicts"), caplog.records) == (before, [])


async def test_a_gateway_is_not_ready_once_one_of_its_readers_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `control` both: the one that reads and the one that asks how far there is to read."""
    for reader, method in (("control", "_run"), ("control_ends", "_watch_ends"), ("verdicts", "_run")):
        told: list[str] = []
        with monkeypatch.context() as broken:
            kind = VerdictWaiter if reader == "verdicts" else ControlReader
            broken.setattr(kind, method, lambda self: fails())
            control = ControlReader(UNREACHABLE, ControlView(), told.append)
            verdicts = VerdictWaiter(UNREACHABLE, max_waiters=1, on_fatal=told.append)
        events = EventLog(UNREACHABLE)
        clients = LogClients(events, verdicts, CommandClient(events, verdicts, timeout_seconds=1), control, LiveLog(""))
        {"control": control._thread, "control_ends": control._watch, "verdicts": verdicts._thread}[reader].start()
        await until(lambda: told != [])  # noqa: B023 — it is this round's
        assert (
            clients.missing() == told[0] == f"the reader of {reader} failed: {ValueError('nobody thought of this')!r}"
        )
