"""Sends telemetry of proxied calls to the log: after the answer, without delaying it, and without losing any.

Calls of one organization within `GATHER_SECONDS` go as one record. While no broker answers, or the log is full, or a
record was not confirmed in time, records go to the spool; they are sent from there in order once the log takes them.
A record may then be on the log twice: calls carry the request's id, so that the owner counts each once.

Calls from before this process has read `control` are kept with the hash of their key instead of the organization, and
get their organization when they are sent. Calls whose key then turns out to be unknown are counted and dropped.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from ingest_gateway import metrics
from ingest_gateway.log.event_log import Appended, LogBusy, LogUnavailable
from ingest_gateway.log.telemetry import TELEMETRY
from ingest_gateway.surfaces.burn.edge.spool import Segment, Spool, sync
from operations import clock
from operations.control_reader import ControlReader
from operations.logs import event
from operations.random_ids import random_id
from schemas.records import Telemetry
from schemas.telemetry import (
    CALLS_A_RECORD_MAX,
    ModelCall,
    ModelCalls,
    Settle,
    TelemetryForm,
    encode_payload,
    telemetry_key,
)
from schemas.topics import Topic

log = logging.getLogger("atlas.edge")
_SENT = metrics.EDGE_TELEMETRY.labels("sent")
GATHER_SECONDS = 0.005
DRAIN_APART_SECONDS = 0.5
DRAIN_RECORDS = 200
ADOPT_APART_ROUNDS = 20


class Log(Protocol):
    """The part of `EventLog` that is needed here."""

    @property
    def failed(self) -> str | None: ...
    @property
    def unreachable(self) -> str | None: ...
    def append(
        self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]
    ) -> asyncio.Future[Appended]: ...


class Caller(NamedTuple):
    """The caller. Without a workspace, `key_hash` identifies it once `control` has been read."""

    workspace: str
    key_id: str = ""
    key_hash: str = ""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One record in the spool."""

    id: str
    kind: str
    workspace: str
    key_hash: str
    payload: bytes


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Entry).decode


class TelemetryOut:
    """`start()` on the running loop, `await close()` at the end. `spool` None: no disk; what can't be sent is counted
    as dropped.
    """

    def __init__(
        self,
        events: Log,
        control: ControlReader,
        spool: Spool | None,
        *,
        confirm_seconds: float,
        adopt: Callable[[], list[Spool]] = list,
    ) -> None:
        self._events = events
        self._control = control
        self._spool = spool
        self._adopt = adopt
        self._adopted: list[Spool] = []
        self._confirm_seconds = confirm_seconds
        self._gathered: dict[Caller, list[ModelCall]] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self._unconfirmed: set[asyncio.Future[Appended]] = set()
        self._late: set[asyncio.Future[Appended]] = set()
        self._draining: asyncio.Task[None] | None = None

    def start(self) -> None:
        metrics.EDGE_SPOOL_BYTES.set_function(lambda: sum(spool.size_bytes for spool in self._spools()))
        metrics.EDGE_LOG_AWAY.set_function(lambda: 0.0 if self._usable() else 1.0)
        self._draining = asyncio.create_task(self._drain_for_ever())

    def call_made(self, caller: Caller, call: ModelCall) -> None:
        """Never raises."""
        self._gathered.setdefault(caller, []).append(call)
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush)

    def settled(self, caller: Caller, settle: Settle) -> None:
        """The end of a reservation, with its call. Never raises."""
        try:
            self._send(self._entry(caller, settle))
        except Exception as error:
            _unsendable(settle.id, error)

    async def close(self) -> None:
        """Records that are not confirmed by now go to the spool, which the next process takes over."""
        self._flush()
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])
        if self._unconfirmed:
            await asyncio.wait(list(self._unconfirmed), timeout=self._confirm_seconds)
            await asyncio.sleep(0)
        for spool in self._spools():
            spool.close()

    # Out

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        gathered, self._gathered = self._gathered, {}
        for caller, calls in gathered.items():
            for first in range(0, len(calls), CALLS_A_RECORD_MAX):
                self._send_calls(caller, calls[first : first + CALLS_A_RECORD_MAX])

    def _send_calls(self, caller: Caller, calls: list[ModelCall]) -> None:
        """Sends the calls as one record. If that can't be written, sends each call by itself, so that one bad call does
        not lose the others.
        """
        try:
            self._send(self._entry(caller, ModelCalls(calls=calls)))
        except Exception as error:  # many callers' calls are sent together: none of them may stop the others
            if len(calls) == 1:
                _unsendable(calls[0].event_id, error)
                return
            for call in calls:
                self._send_calls(caller, [call])

    def _entry(self, caller: Caller, payload: TelemetryForm) -> Entry:
        made = random_id(TELEMETRY, clock.now_ms())
        key_hash = "" if caller.workspace else caller.key_hash
        return Entry(made, payload.kind, caller.workspace, key_hash, encode_payload(payload))

    def _usable(self) -> bool:
        return self._events.unreachable is None and self._events.failed is None and not self._late

    def _send(self, entry: Entry) -> None:
        """New calls need not wait for the spool: the owner orders calls by their own time."""
        if not entry.workspace or not self._usable():
            self._keep(entry)
            return
        try:
            future = self._append(entry)
        except (LogBusy, LogUnavailable):
            self._keep(entry)
            return
        self._unconfirmed.add(future)
        timer = asyncio.get_running_loop().call_later(self._confirm_seconds, self._give_up, entry, future)
        future.add_done_callback(lambda done: self._reported(entry, done, timer))

    def _append(self, entry: Entry) -> asyncio.Future[Appended]:
        record = Telemetry(id=entry.id, kind=entry.kind, workspace=entry.workspace, payload=entry.payload)
        return self._events.append(Topic.BURN_TELEMETRY, telemetry_key(entry.workspace), record.encode(), [])

    def _give_up(self, entry: Entry, future: asyncio.Future[Appended]) -> None:
        """The record may still be stored. Until that is known, nothing more is given to the log."""
        self._late.add(future)
        self._keep(entry)

    def _reported(self, entry: Entry, future: asyncio.Future[Appended], timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._unconfirmed.discard(future)
        kept_already = future in self._late
        self._late.discard(future)
        if future.cancelled() or future.exception() is not None:
            if not kept_already:
                self._keep(entry)
        else:
            _SENT.inc()

    def _keep(self, entry: Entry) -> None:
        kept = False
        if self._spool is not None:
            try:
                kept = self._spool.append(_ENCODE(entry))
            except OSError as error:
                event(log, "edge.spool_failed", logging.ERROR, error=str(error))
        metrics.EDGE_TELEMETRY.labels("spooled" if kept else "dropped").inc()

    # From the spool to the log

    def _spools(self) -> list[Spool]:
        """Oldest first."""
        return [*self._adopted, *([] if self._spool is None else [self._spool])]

    async def _drain_for_ever(self) -> None:
        rounds = 0
        while True:
            if rounds % ADOPT_APART_ROUNDS == 0:
                with contextlib.suppress(OSError):
                    self._adopted += self._adopt()
            rounds += 1
            try:
                await self._drain()
            except Exception:  # after any error, the next round is due
                log.exception("edge.spool_failed")
            await asyncio.sleep(DRAIN_APART_SECONDS)

    async def _drain(self) -> None:
        """Sends as much as the log takes. Raises OSError."""
        for spool in self._spools():
            while self._usable() and self._control.ready and (segment := spool.oldest()) is not None:
                if not await self._send_segment(segment):
                    return
                spool.done(segment)
            if spool in self._adopted and spool.empty:
                self._adopted.remove(spool)
                spool.close()
        if self._spool is not None and (written_file := self._spool.written_file()) is not None:
            await asyncio.to_thread(sync, written_file)

    async def _send_segment(self, segment: Segment) -> bool:
        """Sends it in rounds of records; returns whether all of it is on the log."""
        entries = segment.entries()
        while True:
            taken = [entry for _, entry in zip(range(DRAIN_RECORDS), entries, strict=False)]
            if not taken:
                torn = segment.size_bytes - segment.sent_bytes
                if torn:
                    metrics.EDGE_TELEMETRY.labels("torn").inc()
                    event(log, "edge.spool_torn", logging.WARNING, segment=str(segment.path.name), bytes=torn)
                return True
            if not await self._send_all([self._ready_to_send(entry) for _end, entry in taken]):
                return False
            segment.sent_bytes = taken[-1][0]

    async def _send_all(self, entries: list[Entry | None]) -> bool:
        futures = []
        for entry in entries:
            try:
                if entry is not None:
                    futures.append(self._append(entry))
            except (LogBusy, LogUnavailable):
                return False
            except Exception as error:  # what is behind it in the spool must not wait for ever
                _unsendable(entry.id if entry is not None else "", error)
        if futures:
            done, pending = await asyncio.wait(futures, timeout=self._confirm_seconds)
            if pending or any(future.cancelled() or future.exception() is not None for future in done):
                return False
        metrics.EDGE_TELEMETRY.labels("sent_later").inc(len(futures))
        return True

    def _ready_to_send(self, written: bytes) -> Entry | None:
        """None for an entry that can't be sent; it is counted."""
        entry = _read(written)
        try:
            return None if entry is None else self._attributed(entry)
        except Exception as error:
            _unsendable(entry.id if entry is not None else "", error)
            return None

    def _attributed(self, entry: Entry) -> Entry | None:
        """The entry with its organization; None if its key is unknown."""
        if entry.workspace:
            return entry
        key = self._control.view.keys_by_hash.get(entry.key_hash)
        if key is None:
            metrics.EDGE_TELEMETRY.labels("unattributed").inc()
            event(log, "edge.unattributed", logging.WARNING, record=entry.id)
            return None
        calls = msgspec.msgpack.decode(entry.payload, type=ModelCalls).calls
        named = ModelCalls(calls=[msgspec.structs.replace(call, key_id=key.id) for call in calls])
        return Entry(entry.id, entry.kind, key.workspace, "", encode_payload(named))


def _unsendable(record: str, error: Exception) -> None:
    """Gives up, counts and logs a record that can never be sent. If it ends a reservation, the reservation lapses."""
    metrics.EDGE_TELEMETRY.labels("unsendable").inc()
    log.error("edge.unsendable", exc_info=error, extra={"facts": {"record": record}})


def _read(entry: bytes) -> Entry | None:
    """None for an entry that no version of Atlas wrote; it is counted with the torn ones."""
    try:
        return _DECODE(entry)
    except msgspec.MsgspecError as error:
        metrics.EDGE_TELEMETRY.labels("torn").inc()
        event(log, "edge.spool_unreadable", logging.ERROR, reason=str(error))
        return None
