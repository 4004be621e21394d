"""An archive of the classes that a broker loads, read and checked once, so that its JVM starts in half the time.

`python -m deploy.local.class_archive` makes it where it is missing: a broker of its own starts, is used as Atlas uses
it (so that what requests need is in the archive too) and stops, and its JVM leaves the archive. The JVM itself refuses
one that does not fit its version or the jars, and then loads the classes as ever; so nothing depends on it, and what
goes wrong here is said and is no failure.
"""

import contextlib
import socket
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from deploy.local import jars
from deploy.local.broker import SERVING_TIMEOUT_SECONDS, Broker, BrokerFailed
from deploy.local.jars import JarsUnusable, ToolMissing
from deploy.local.messages import Say, say_on_stderr
from deploy.local.spawn import end, last_lines, spawn, wait_until

DUMP_SECONDS = 60.0
ANSWER_SECONDS = 10.0
TOPIC = "classes"


def ensure(say: Say = say_on_stderr) -> None:
    """Returns at once where the archive is there. Raises ToolMissing, JarsUnusable."""
    java = jars.java(say)
    jars.class_path(say)
    archive = jars.class_archive(java)
    if archive.exists():
        return
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".classes-") as made:
            arriving = Path(made) / archive.name
            _leave(arriving, Broker(Path(made) / "broker", *_two_free_ports(), heap_mb=256))
            arriving.rename(archive)
    except (BrokerFailed, OSError) as error:
        say(f"no archive of the broker's classes, so it will start slower: {error}")


def _leave(archive: Path, broker: Broker) -> None:
    """Raises BrokerFailed, OSError."""
    broker.prepare()
    java, *rest = broker.command()
    process = spawn([java, f"-XX:ArchiveClassesAtExit={archive}", *rest], log=broker.log, cwd=broker.home)
    serves = wait_until(lambda: broker.serves() or process.poll() is not None, SERVING_TIMEOUT_SECONDS)
    if serves:
        use(broker.bootstrap)
    end(process, DUMP_SECONDS)
    if not serves or not archive.exists():
        raise BrokerFailed("\n".join(last_lines(broker.log, 15)))


def use(bootstrap: str) -> None:
    """Asks for what Atlas asks for. What is not answered is not in the archive, which is no failure."""
    client: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0}
    with contextlib.suppress(KafkaException, TimeoutError):
        admin = AdminClient(client)
        _answered(admin.create_topics([NewTopic(TOPIC, 2, 1, config={"cleanup.policy": "compact"})]))
        _write_and_read(client)
        topic = ConfigResource(ConfigResource.Type.TOPIC, TOPIC)
        _answered(admin.describe_configs([topic]))
        _answered(admin.describe_consumer_groups([TOPIC]))
        _answered(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(TOPIC)]))
        _answered(admin.delete_topics([TOPIC]))


def _write_and_read(client: dict[str, Any]) -> None:
    """Records in a transaction, the offsets of their reader in the next one."""
    producer = Producer(client | {"transactional.id": TOPIC})
    consumer = Consumer(client | {"group.id": TOPIC, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([TOPIC])
    producer.init_transactions(ANSWER_SECONDS)
    producer.begin_transaction()
    producer.produce(TOPIC, b"value", b"key")
    producer.commit_transaction(ANSWER_SECONDS)
    message = consumer.poll(ANSWER_SECONDS)
    if message is not None:
        producer.begin_transaction()
        offsets = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), ANSWER_SECONDS)
        producer.commit_transaction(ANSWER_SECONDS)
    consumer.close()


def _answered(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(ANSWER_SECONDS)


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    try:
        ensure()
    except (ToolMissing, JarsUnusable) as unusable:
        say_on_stderr(str(unusable))
        sys.exit(1)
