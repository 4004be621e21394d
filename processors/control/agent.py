"""The Faust shell around the control agent's decisions: decode, decide, change the table, answer; topics beside it.

A record that can't be read is set aside alone. When the process is given a partition it appends a command to it: the
batch with that command is the first one after recovery, and takes up the topic work that an earlier owner left.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException
from faust.types import TP

from domain.commands.decide import Report, decide, token_hash_by
from domain.control.state import ControlState
from domain.control.values import Asked, Effects
from domain.delivery.webhooks import delivery_key
from domain.events.system_events import signed_record
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
from processors.runtime.batches import Batch
from processors.runtime.lease import Abandoned
from processors.runtime.outbox import OutboxBatch, OutboxFailed
from processors.runtime.runtime import Runtime
from processors.runtime.work import Work
from schemas.codec import Undecodable
from schemas.commands import ReplayMoved, ResumeTopics, TouchKeys, decode_payload
from schemas.log_records import LogRecord
from schemas.records import Command
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import Topic
from schemas.work import passed_entity

log = logging.getLogger(__name__)
TABLE = "entities"


class ControlAgent:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._token_hash = token_hash_by(runtime.settings.master_key)
        self._signer = GatewaySigner(runtime.settings.master_key)
        self._topics = TopicWorker(TopicAdmin(runtime.settings.kafka), self._report, runtime.settings.partitions)
        self._assigned: set[int] = set()
        self._resumed: set[int] = set()
        self._nudges: set[asyncio.Task[None]] = set()

    async def handle(self, batch: Batch) -> Sequence[OutboxBatch]:
        """What is decided is durable, and `control` and the audit log say it, before anybody is answered. Items, events
        and deliveries are told beside that, and verdicts after it: read again, the same is told again.
        """
        work, told = self._runtime.begin(batch, prompt=True), self._runtime.outbox.batch()
        state = ControlState(work.table(TABLE))
        state.sweep(batch.records[0].timestamp)
        effects = [self._one(work, told, state, record) for record in batch.records]
        passed = passed_entity(batch.records[-1].offset + 1)  # a read that misses waits for the end of `commands`
        told.produce(Topic.ITEMS, passed.encode(), key=passed.key, partition=batch.tp.partition)
        await work.commit()
        verdicts = self._answer(effects)
        if batch.tp.partition in self._assigned:
            self._take_up(batch.tp.partition, state, effects)
        return told, verdicts

    def _one(self, work: Work, told: OutboxBatch, state: ControlState, record: LogRecord) -> Effects:
        try:
            asked = read(record)
        except Undecodable as error:
            work.dead_letter(record, "unreadable", str(error))
            return Effects()
        try:
            effects = decide(state, asked, self._token_hash)
            controlled = state.apply(effects)
            items = state.apply_items(effects.changes)
        except Exception as error:
            log.exception("command.failed", extra={"facts": {"command": asked.command.id, "kind": asked.command.kind}})
            work.dead_letter(record, "failed", f"{type(error).__name__} while deciding")
            return Effects()
        for key, value in controlled:
            work.produce(Topic.CONTROL, value, key=key, partition=record.partition)
        if effects.audit is not None:
            work.produce(Topic.AUDIT, effects.audit.encode(), key=effects.audit.workspace.encode())
        for delivery in effects.changes.deliveries:
            told.produce(Topic.DELIVERIES, delivery.encode(), key=delivery_key(delivery))
        tell_of_items(told, effects, items, record.partition, self._signer)
        note(asked, effects)
        return effects

    def _answer(self, effects: list[Effects]) -> OutboxBatch:
        """Verdicts, once `control` and the audit log have what they tell of: who gets one may look there at once."""
        out = self._runtime.outbox.batch(prompt=True)
        for one in effects:
            for partition, verdict in one.verdicts:
                out.produce(Topic.VERDICTS, verdict.encode(), partition=partition)
        return out

    def _take_up(self, partition: int, state: ControlState, effects: list[Effects]) -> None:
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

    async def stopping(self) -> None:
        await self._topics.stop()

    async def assigned(self, partitions: set[TP]) -> None:
        """All partitions of this process after a rebalance, those that it kept included."""
        before, self._assigned = self._assigned, {tp.partition for tp in partitions if tp.topic == Topic.COMMANDS}
        self._topics.drop(before - self._assigned)
        self._resumed &= self._assigned
        for partition in self._assigned - before:
            nudge = asyncio.create_task(self._nudge(partition))
            self._nudges.add(nudge)
            nudge.add_done_callback(self._nudges.discard)

    def given_up(self) -> None:
        """Whoever is assigned a partition next takes up its topic work, this process too."""
        self._topics.drop(self._assigned)
        self._assigned, self._resumed = set(), set()

    async def _nudge(self, partition: int) -> None:
        """The partition gets a batch, whose handling takes up what is unfinished."""
        command = new_command(ResumeTopics(), workspace="", environment="", actor=ACTOR, now_ms=clock.now_ms())
        while partition in self._assigned - self._resumed:
            try:
                await self._report(command, partition)
                return
            except KafkaException as error:
                event(log, "topics.not_resumed", logging.WARNING, partition=partition, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _report(self, command: Command, partition: int) -> None:
        out = self._runtime.outbox.batch()
        try:
            out.produce(Topic.COMMANDS, command.encode(), key=command.workspace.encode(), partition=partition)
            await out.confirmed()
        except (OutboxFailed, Abandoned) as failed:
            raise KafkaException(KafkaError(KafkaError._FAIL, str(failed))) from failed


def read(record: LogRecord) -> Asked:
    """Raises Undecodable."""
    command = Command.decode(record.value)
    reply = decode_reply(record.header(REPLY_HEADER))
    return Asked(command, decode_payload(command), record.timestamp, record.offset, reply)


def tell_of_items(
    told: OutboxBatch, effects: Effects, items: list[tuple[bytes, bytes | None]], partition: int, signer: GatewaySigner
) -> None:
    """What became of projects and tasks, and the events of it on the workspace's system stream."""
    for key, value in items:
        told.produce(Topic.ITEMS, value, key=key, partition=partition)
    for happened in effects.changes.events:
        signed = signed_record(happened, signer)
        told.produce(signed.topic, signed.value, key=signed.key, headers=signed.headers)


def note(asked: Asked, effects: Effects) -> None:
    if isinstance(asked.payload, Report | TouchKeys | ReplayMoved) and not effects.answers:
        return
    if not effects.audit:
        metrics.COMMANDS_AGAIN.inc()
        return
    answer = effects.answers[-1]
    metrics.COMMANDS.labels(asked.command.kind, answer.outcome).inc()
    command = asked.command
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


def build(runtime: Runtime) -> None:
    agent = ControlAgent(runtime)
    runtime.table(TABLE)
    runtime.agent("control", [Topic.COMMANDS], agent.handle)
    runtime.on_started(agent.started)
    runtime.on_stopping(agent.stopping)
    runtime.on_assigned(agent.assigned)
    unread = UnreadTopics(runtime.settings.kafka, runtime.control, lambda: runtime.owned(TP(Topic.COMMANDS, 0)))
    runtime.on_started(unread.start)
    runtime.on_stopping(unread.stop)
    runtime.on_given_up(agent.given_up)
    rates.declare(runtime)
    guardrails.declare(runtime)
    if runtime.settings.cloudflare is not None:
        loop = asyncio.get_running_loop()
        mirror = KvMirror(
            runtime.settings.kafka,
            runtime.settings.cloudflare,
            on_failed=lambda error: loop.call_soon_threadsafe(runtime.fail, error),
        )
        runtime.on_started(partial(asyncio.to_thread, mirror.start))
        runtime.on_stopping(partial(asyncio.to_thread, mirror.stop))
