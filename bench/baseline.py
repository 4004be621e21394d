"""What the broker alone costs: a bare confluent-kafka producer and consumer on it, at the same rate, nothing between.

Both wait for nothing they need not wait for (no linger, a fetch answers with the first record) and the producer asks
for all acknowledgements, as Atlas does. Measured from `produce` to the record's return from `poll`.
"""

import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

TOPIC = "bench-baseline"
PARTITIONS = 8
VALUE_BYTES = 500
CONNECTED_SECONDS = 30.0


def round_trips(bootstrap: str, rate: float, seconds: float) -> list[int]:
    """Nanoseconds from produce to consumed, of each record. The first second only warms up."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(CONNECTED_SECONDS)
    taken: list[int] = []
    stop = threading.Event()
    reader = threading.Thread(target=_read, args=(bootstrap, taken, stop))
    reader.start()
    try:
        _produce(bootstrap, rate, seconds + 1)
    finally:
        stop.set()
        reader.join()
        admin.delete_topics([TOPIC])[TOPIC].result(CONNECTED_SECONDS)
    return taken[round(rate) :]


def _produce(bootstrap: str, rate: float, seconds: float) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
    producer.list_topics(TOPIC, timeout=CONNECTED_SECONDS)
    interval_ns = round(1e9 / rate)
    first_ns = time.monotonic_ns() + interval_ns
    for number in range(round(rate * seconds)):
        due_ns = first_ns + number * interval_ns
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            producer.poll(left_ns / 1e9)
        value = str(time.monotonic_ns()).encode().ljust(VALUE_BYTES)
        producer.produce(TOPIC, value, partition=number % PARTITIONS)
    producer.flush(CONNECTED_SECONDS)
    time.sleep(0.5)  # for the last to be read


def _read(bootstrap: str, taken: list[int], stop: threading.Event) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-baseline",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
        }
    )
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            taken.append(time.monotonic_ns() - int(message.value() or b"0"))
    consumer.close()
