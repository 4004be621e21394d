"""The shell around the control agent's decisions: decode, decide, change the table, answer, and start work on topics.

Only a record that can't be read is set aside. When the process gets a partition it appends a command to it: the batch
with that command is the first one after recovery, and resumes the topic work that an earlier owner left.
"""

import asyncio
import logging

from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from domain.commands.decide import decide, is_request, token_hash_by
from domain.control.state import ControlState
from domain.control.values import CommandEffects, CommandRequest
from domain.delivery.webhooks import delivery_key
from domain.events.system_events import signed_record
from domain.security.callers import CallerContext
from domain.security.gateway_signatures import GatewaySigner
from operations import clock
from operations.logs import event
from operations.new_commands import new_command
from operations.topic_admin import TopicAdmin
from processors.control import metrics
from processors.control.topics import ACTOR, RETRY_SECONDS, TopicWorker
from processors.control.unread_topics import UnreadTopics
from processors.guardrails import agent as guardrails
from processors.kv_mirror.mirror import KvMirror
from processors.rates import agent as rates
from processors.runtime.agent import (
    Abandoned,
    Agent,
    AgentRuntime,
    AgentSpec,
    Batch,
    OutboxFailed,
    Outputs,
    Unconfirmed,
    Work,
)
from schemas.codec import Undecodable
from schemas.commands import decode_payload
from schemas.commands.streams import ResumeTopics
from schemas.log_records import LogRecord
from schemas.records import Command
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import Topic
from schemas.work import passed_entity

log = logging.getLogger(__name__)
TABLE = "entities"


class ControlAgent(Agent):
    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._token_hash = token_hash_by(runtime.settings.master_key)
        self._signer = GatewaySigner(runtime.settings.master_key)
        self._topics = TopicWorker(TopicAdmin(runtime.settings.kafka), self._report, runtime.settings.partitions)
        first_partition = TP(Topic.COMMANDS, 0)  # its owner looks for unread topics, and no other process
        self._unread = UnreadTopics(runtime.settings.kafka, runtime.control, lambda: runtime.owned(first_partition))
        self._mirror = mirror_of(runtime)
        self._assigned: set[int] = set()
        self._resumed: set[int] = set()
        self._nudges: set[asyncio.Task[None]] = set()

    async def handle(self, batch: Batch) -> Unconfirmed:
        """Decisions are durable, and are on `control` and in the audit log, before any caller gets its answer. Items,
        events and deliveries are published meanwhile, and verdicts after it: read again, a batch publishes the same.
        """
        work, published = self._runtime.begin(batch, prompt=True), self._runtime.outputs()
        state = ControlState(work.table(TABLE))
        state.sweep(batch.records[0].timestamp)
        effects = [self._one(work, published, state, record) for record in batch.records]
        passed = passed_entity(batch.records[-1].offset + 1)  # a read that misses waits for the end of `commands`
        published.produce(Topic.ITEMS, passed.encode(), key=passed.key, partition=batch.tp.partition)
        await work.commit()
        verdicts = self._answer(effects)
        if batch.tp.partition in self._assigned:
            self._take_up(batch.tp.partition, state, effects)
        return published, verdicts

    def _one(self, work: Work, published: Outputs, state: ControlState, record: LogRecord) -> CommandEffects:
        try:
            request = read(record)
        except Undecodable as error:
            work.dead_letter(record, "unreadable", str(error))
            return CommandEffects()
        try:
            effects = decide(state, request, self._token_hash)
            controlled = state.apply(effects)
            items = state.apply_items(effects.changes)
        except Exception as error:
            log.exception(
                "command.failed", extra={"facts": {"command": request.command.id, "kind": request.command.kind}}
            )
            work.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
            return CommandEffects()
        for key, value in controlled:
            work.produce(Topic.CONTROL, value, key=key, partition=record.partition)
        if effects.audit is not None:
            work.produce(Topic.AUDIT, effects.audit.encode(), key=effects.audit.workspace.encode())
        for delivery in effects.changes.deliveries:
            published.produce(Topic.DELIVERIES, delivery.encode(), key=delivery_key(delivery))
        publish_items(published, effects, items, record.partition, self._signer)
        note(request, effects)
        return effects

    def _answer(self, effects: list[CommandEffects]) -> Outputs:
        """The verdicts, once `control` and the audit log have the decisions: a caller that gets its verdict may read
        there at once.
        """
        out = self._runtime.outputs(prompt=True)
        for one in effects:
            for partition, verdict in one.verdicts:
                out.produce(Topic.VERDICTS, verdict.encode(), partition=partition)
        return out

    def _take_up(self, partition: int, state: ControlState, effects: list[CommandEffects]) -> None:
        if partition not in self._resumed:
            self._resumed.add(partition)
            self._topics.take(partition, state.unfinished())
        for one in effects:
            self._topics.forget(one.changes.finished)
            self._topics.take(
                partition, (work for work in one.changes.started if state.work(work.stream_id, work.task))
            )

    # Partitions and topic work

    async def started(self) -> None:
        self._topics.start()
        await self._unread.start()
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.start)

    async def stopping(self) -> None:
        await self._topics.stop()
        await self._unread.stop()
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.stop)

    async def assigned(self, partitions: set[TP]) -> None:
        before, self._assigned = self._assigned, {tp.partition for tp in partitions if tp.topic == Topic.COMMANDS}
        self._topics.drop(before - self._assigned)
        self._resumed &= self._assigned
        for partition in self._assigned - before:
            nudge = asyncio.create_task(self._nudge(partition))
            self._nudges.add(nudge)
            nudge.add_done_callback(self._nudges.discard)

    def given_up(self) -> None:
        """Drops the partitions' topic work; their next owner resumes it, even if that is this process."""
        self._topics.drop(self._assigned)
        self._assigned, self._resumed = set(), set()

    async def _nudge(self, partition: int) -> None:
        """Appends a command, so that the partition gets a batch whose handling resumes unfinished work."""
        command = new_command(
            ResumeTopics(), workspace="", environment="", caller=CallerContext(ACTOR), now_ms=clock.now_ms()
        )
        while partition in self._assigned - self._resumed:
            try:
                await self._report(command, partition)
                return
            except KafkaException as error:
                event(log, "topics.not_resumed", logging.WARNING, partition=partition, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _report(self, command: Command, partition: int) -> None:
        out = self._runtime.outputs()
        try:
            out.produce(Topic.COMMANDS, command.encode(), key=command.workspace.encode(), partition=partition)
            await out.confirmed()
        except (OutboxFailed, Abandoned) as failed:
            raise KafkaException(KafkaError(KafkaError._FAIL, str(failed))) from failed


def read(record: LogRecord) -> CommandRequest:
    """Raises Undecodable."""
    command = Command.decode(record.value)
    reply = decode_reply(record.header(REPLY_HEADER))
    return CommandRequest(command, decode_payload(command), record.timestamp, record.offset, reply)


def publish_items(
    out: Outputs,
    effects: CommandEffects,
    items: list[tuple[bytes, bytes | None]],
    partition: int,
    signer: GatewaySigner,
) -> None:
    """The projects and tasks that changed, and the events about it on the workspace's system stream."""
    for key, value in items:
        out.produce(Topic.ITEMS, value, key=key, partition=partition)
    for happened in effects.changes.events:
        signed = signed_record(happened, signer)
        out.produce(signed.topic, signed.value, key=signed.key, headers=signed.headers)


def note(request: CommandRequest, effects: CommandEffects) -> None:
    if not is_request(request.payload) and not effects.answers:
        return
    if not effects.audit:
        metrics.COMMANDS_AGAIN.inc()
        return
    answer = effects.answers[-1]
    metrics.COMMANDS.labels(request.command.kind, answer.outcome).inc()
    command = request.command
    event(
        log,
        "command.decided",
        kind=command.kind,
        outcome=answer.outcome,
        status=answer.status,
        command=command.id,
        workspace=command.workspace,
        request_id=command.request_id,
    )


def mirror_of(runtime: AgentRuntime) -> KvMirror | None:
    """The mirror of kill flags, or None if Cloudflare KV is not configured."""
    if runtime.settings.cloudflare is None:
        return None
    loop = asyncio.get_running_loop()
    return KvMirror(
        runtime.settings.kafka,
        runtime.settings.cloudflare,
        on_failed=lambda error: loop.call_soon_threadsafe(runtime.fail, error),
    )


def build(runtime: AgentRuntime) -> None:
    runtime.add(ControlAgent(runtime), AgentSpec("control", [Topic.COMMANDS], tables={TABLE: None}))
    rates.build(runtime)
    guardrails.build(runtime)
