"""Events at a steady rate from a thread, and the decisions on them with the time at which each came."""

import itertools
import threading
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.admission.filling import signed_event
from bench.admission.world import World
from operations.kafka_clients import producer_config, reader_config
from schemas.records import Decision
from schemas.topics import Topic
from tests.support.kafka_topics import PARTITIONS
from tests.support.streams import LiveStream


class Steady(threading.Thread):
    """Sends to the streams in turn until stopped; each event is another. `sent` counts those that are stored."""

    def __init__(self, world: World, streams: Sequence[LiveStream], rate: int) -> None:
        super().__init__(name="steady", daemon=True)
        self.sent = 0
        self._world, self._streams, self._rate = world, streams, rate
        self._stopping = threading.Event()
        self._producer = Producer(producer_config(world.kafka, linger_ms=1) | {"partitioner": "murmur2_random"})

    def run(self) -> None:
        began, number = time.monotonic(), 0
        signer = self._world.signer()
        while not self._stopping.is_set():
            due = round((time.monotonic() - began) * self._rate)
            while number < due:
                stream = self._streams[number % len(self._streams)]
                event = signed_event(stream, signer, f"steady-{began}-{number}", keyed=False)
                self._producer.produce(stream.name, event.value, event.key, headers=event.headers)
                number += 1
            self._producer.poll(0.002)
        self.sent = number
        self._producer.flush(30)

    def stop(self) -> int:
        """How many were sent, once all are stored."""
        self._stopping.set()
        self.join(60)
        return self.sent


class Decided(threading.Thread):
    """Reads `decisions` from its end: of each when it came (monotonic) and on which topic it was."""

    def __init__(self, kafka: str) -> None:
        super().__init__(name="decided", daemon=True)
        self.seen: list[tuple[float, str, int, int]] = []
        self._stopping = threading.Event()
        self._consumer = Consumer(reader_config(kafka, "bench-decided") | {"fetch.wait.max.ms": 10})
        ends = [self._consumer.get_watermark_offsets(TopicPartition(Topic.DECISIONS, p))[1] for p in range(PARTITIONS)]
        self._consumer.assign([TopicPartition(Topic.DECISIONS, p, end) for p, end in enumerate(ends)])

    def run(self) -> None:
        while not self._stopping.is_set():
            if (first := self._consumer.poll(0.1)) is None:
                continue
            now = time.monotonic()
            for message in (first, *self._consumer.consume(5_000, 0)):
                if message.error() is None:
                    decision = Decision.decode(message.value())
                    self.seen.append((now, decision.topic, decision.partition, decision.offset))
        self._consumer.close()

    def stop(self) -> list[tuple[float, str, int, int]]:
        self._stopping.set()
        self.join(10)
        return self.seen


def longest_gap(times: Sequence[float]) -> float:
    """Seconds."""
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
