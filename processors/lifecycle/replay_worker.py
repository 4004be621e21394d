"""Works on replays: reads each event's payload from the log and appends its deliveries, at a bounded pace.

`control` says what there is to do: a replay that runs, whose workspace's partition is this process's. The progress of a
replay goes to the control process page by page, so that the next owner continues from there; a page that is done twice
causes the same deliveries. A replay that is cancelled, or moves to another process, stops after the current event. The
events of all bulk replays of this process are spaced out, so that live deliveries are not delayed. The replay of a
single event is made at once.
"""

import asyncio
import logging
import time

from faust.types import TP

from domain.admission.reading import NotAnEvent, read
from domain.delivery.replays import Replayable, replay_deliveries
from domain.delivery.webhooks import delivery_key
from domain.events.direct_records import schema_named
from domain.security.callers import CallerContext
from domain.security.gateway_signatures import GatewaySigner
from operations import clock
from operations.logs import event
from operations.new_commands import new_command
from operations.record_reader import RecordReader, RecordUnreachable, StoredRecord
from processors.lifecycle import metrics
from processors.lifecycle.selection import PAGE_EVENTS, Selection, SelectionUnavailable
from processors.runtime.agent import AgentRuntime
from schemas.codec import EVENT
from schemas.commands import command_key
from schemas.commands.replays import ReplayMoved
from schemas.entities import Replay, ReplayStatus, State
from schemas.log_records import LogRecord
from schemas.partitioner import partition_for
from schemas.topics import Topic, parse_stream_topic

log = logging.getLogger(__name__)
ACTOR = "lifecycle"
RETRY_SECONDS = 1.0
LOOK_SECONDS = 1.0
ASK_CONTROL_SECONDS = 0.05
READ_SECONDS = 5.0


class ReplayProgress:
    """Mutable: how far this process is with one replay."""

    def __init__(self, replay: Replay) -> None:
        self.cursor = (replay.cursor_ms, replay.cursor_id)
        self.replayed = replay.replayed
        self.skipped = replay.skipped


class ReplayWorker:
    def __init__(self, runtime: AgentRuntime, events_per_second: float) -> None:
        self._runtime = runtime
        self._view = runtime.control.view
        self._selection = Selection(runtime.settings.database_url)
        self._records = RecordReader(runtime.settings.kafka)
        self._signer = GatewaySigner(runtime.settings.master_key)
        self._pause_seconds = 1.0 / events_per_second
        self._free_at = 0.0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._view.on_change(self._changed)
        metrics.REPLAYS_RUNNING.set_function(lambda: len(self._tasks))

    async def started(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._look_again())

    async def stop(self) -> None:
        for task in [*self._tasks.values(), *([] if self._watch is None else [self._watch])]:
            task.cancel()
        await self._records.close()
        await self._selection.close()

    def _changed(self, _before: State | None, after: State | None) -> None:
        if isinstance(after, Replay):
            self._take_up(after)

    async def _look_again(self) -> None:
        """For replays that became ours by a rebalance, or that a restart interrupted."""
        while True:
            for replay in list(self._view.replays.values()):
                self._take_up(replay)
            await asyncio.sleep(LOOK_SECONDS)

    def _take_up(self, replay: Replay) -> None:
        if replay.id in self._tasks or not self._is_ours(replay.id):
            return
        task = self._tasks[replay.id] = asyncio.get_running_loop().create_task(self._run(replay))
        task.add_done_callback(lambda done: self._ended(replay.id, done))

    def _ended(self, replay_id: str, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(replay_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runtime.fail(error)

    def _is_ours(self, replay_id: str) -> bool:
        """Whether it runs, and this process has the partition of its workspace."""
        replay = self._view.replays.get(replay_id)
        if replay is None or replay.status is not ReplayStatus.RUNNING:
            return False
        partition = partition_for(replay.workspace.encode(), self._runtime.settings.partitions)
        return self._runtime.owned(TP(Topic.OUTCOMES, partition))

    async def _run(self, replay: Replay) -> None:
        progress = ReplayProgress(replay)
        while self._is_ours(replay.id):
            try:
                page = await self._selection.page(replay, progress.cursor)
                for one in page:
                    if not self._is_ours(replay.id):
                        break
                    await self._replay(replay, one, progress)
            except (SelectionUnavailable, RecordUnreachable) as error:
                event(log, "replay.waits", logging.WARNING, replay=replay.id, why=str(error)[:200])
                await asyncio.sleep(RETRY_SECONDS)
                continue
            ended = len(page) < PAGE_EVENTS and self._is_ours(replay.id)
            await self._report(replay, progress, ended=ended)
            if ended:
                event(log, "replay.ended", replay=replay.id, replayed=progress.replayed, skipped=progress.skipped)
                await self._ended_on_control(replay)

    async def _ended_on_control(self, replay: Replay) -> None:
        """Returns when `control` has it as ended: before that it would be started again."""
        while self._is_ours(replay.id):  # noqa: ASYNC110 control has no event to wait for, only its view changes
            await asyncio.sleep(ASK_CONTROL_SECONDS)

    async def _replay(self, replay: Replay, found: Replayable, progress: ReplayProgress) -> None:
        if not replay.event_id:
            await self._pace()
        body = await self._body(found)
        deliveries = replay_deliveries(replay, found, body) if body is not None else []
        out = self._runtime.outputs()
        for delivery in deliveries:
            out.produce(Topic.DELIVERIES, delivery.encode(), key=delivery_key(delivery))
        await out.confirmed()
        progress.cursor = (found.received_ms, found.event_id)
        if deliveries:
            progress.replayed += 1
            metrics.REPLAYED.inc()
        else:
            progress.skipped += 1
            metrics.REPLAY_SKIPPED.inc()

    async def _pace(self) -> None:
        """Returns when this event may go: one after another over all replays of this process."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + self._pause_seconds
        await asyncio.sleep(self._free_at - self._pause_seconds - now)

    async def _body(self, found: Replayable) -> bytes | None:
        stored = await self._records.read(found.topic, found.partition, found.offset, READ_SECONDS)
        return None if stored is None else admitted_body(found, stored, self._signer)

    async def _report(self, replay: Replay, progress: ReplayProgress, *, ended: bool) -> None:
        payload = ReplayMoved(
            id=replay.id,
            cursor_ms=progress.cursor[0],
            cursor_id=progress.cursor[1],
            replayed=progress.replayed,
            skipped=progress.skipped,
            ended=ended,
        )
        command = new_command(
            payload,
            workspace=replay.workspace,
            environment=replay.environment,
            caller=CallerContext(ACTOR),
            now_ms=clock.now_ms(),
        )
        out = self._runtime.outputs()
        out.produce(Topic.COMMANDS, command.encode(), key=command_key(command))
        await out.confirmed()


def admitted_body(found: Replayable, stored: StoredRecord, signer: GatewaySigner) -> bytes | None:
    """The event's Avro as admission handed it on; None if the log has another record there now."""
    topic = parse_stream_topic(found.topic)
    if topic is None:
        return None
    named = schema_named(stored.value, stored.headers)
    if named is not None:
        EVENT.also_read(named.ref)  # admission took the record, so the schema that it names is ours
    record = LogRecord(
        found.topic, found.partition, found.offset, found.received_ms, None, stored.value, stored.headers
    )
    try:
        pieces = read(record, topic, signer).pieces
    except NotAnEvent:
        return None
    return pieces.body if pieces.event_id == found.event_id else None
