"""The control process without Faust: its own decisions over a table in memory, by the real protocol on a real broker.

It reads `commands`, writes `control` and verdicts, and makes streams' topics. `hold()` stops it from deciding, as when
the control process is down; what was asked meanwhile is decided after `go_on()`.
"""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import AsyncIterator

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from domain.commands.decide import decide, token_hash_by
from domain.control.state import ControlState
from domain.control.values import CommandRequest, TopicTask
from domain.tables import MemoryTable
from operations.kafka_clients import reader_config
from operations.topic_admin import ensure_topics
from processors.control.topics import finished, report_of, spec_of
from schemas.commands import decode_payload
from schemas.records import Command
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import Topic
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS, watermarks


class StandInControl:
    def __init__(self, bootstrap: str, master_key: bytes) -> None:
        self._bootstrap = bootstrap
        self._token_hash = token_hash_by(master_key)
        self._state = ControlState(MemoryTable())
        self._stopping = threading.Event()
        self._deciding = threading.Event()
        self._deciding.set()
        self._reading = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._reading.wait(TIMEOUT_SECONDS)

    def stop(self) -> None:
        self._stopping.set()
        self._deciding.set()
        self._thread.join(TIMEOUT_SECONDS)

    def hold(self) -> None:
        self._deciding.clear()

    def go_on(self) -> None:
        self._deciding.set()

    def _run(self) -> None:
        consumer = Consumer(reader_config(self._bootstrap, f"stand-in-{uuid.uuid4().hex}"))
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"})
        partitions = [TopicPartition(Topic.COMMANDS, partition) for partition in range(PARTITIONS)]
        for partition in partitions:
            _low, partition.offset = watermarks(consumer, partition)
        consumer.assign(partitions)
        self._reading.set()
        while not self._stopping.is_set():
            message = consumer.poll(0.02)
            self._deciding.wait()
            if message is not None and message.error() is None:
                self._decide(producer, _asked(message))
        producer.flush(TIMEOUT_SECONDS)
        consumer.close()

    def _decide(self, producer: Producer, asked: CommandRequest) -> None:
        effects = decide(self._state, asked, self._token_hash)
        for key, value in self._state.apply(effects):
            producer.produce(Topic.CONTROL, value, key)
        for key, value in self._state.apply_items(effects.changes):
            producer.produce(Topic.ITEMS, value, key)
        producer.flush(TIMEOUT_SECONDS)  # as the real one: who gets a verdict may look at once for what it tells of
        for partition, verdict in effects.verdicts:
            producer.produce(Topic.VERDICTS, verdict.encode(), partition=partition)
        if effects.audit is not None:
            producer.produce(Topic.AUDIT, effects.audit.encode(), effects.audit.workspace.encode())
        producer.poll(0)
        for work in effects.changes.started:
            if work.task is TopicTask.CREATE:
                ensure_topics(self._bootstrap, [spec_of(work, PARTITIONS)])
            if not work.due_ms:
                report = report_of(work, finished(work, topic_id="topic-id"))
                self._decide(
                    producer, CommandRequest(report, decode_payload(report), asked.append_ms, asked.offset + 1)
                )


def _asked(message: Message) -> CommandRequest:
    command = Command.decode(message.value())
    reply = decode_reply(dict(message.headers() or []).get(REPLY_HEADER))
    return CommandRequest(command, decode_payload(command), message.timestamp()[1], message.offset() or 0, reply)


@contextlib.asynccontextmanager
async def control_stand_in(bootstrap: str, master_key: bytes) -> AsyncIterator[StandInControl]:
    control = StandInControl(bootstrap, master_key)
    await asyncio.to_thread(control.start)
    try:
        yield control
    finally:
        await asyncio.to_thread(control.stop)
