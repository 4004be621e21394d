"""`atlas dead-letters`: prints the dead letters as JSON lines, the newest last: each record's position, and the reason.

A record's own content can hold anything, so it is shown only when asked for, and then harmless (cli/terminal.py).
"""

import base64
import contextlib
import heapq
import uuid
from collections.abc import Iterator
from typing import Any

import click
import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from cli.environment import found_environment
from cli.terminal import echo
from operations.kafka_clients import reader_config, reason_of
from operations.settings import Settings, SettingsInvalid
from schemas.codec import Undecodable
from schemas.records import DeadLetter
from schemas.times import rfc3339
from schemas.topics import Topic

KAFKA_SECONDS = 10.0


@click.command("dead-letters")
@click.option("--last", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many to show.")
@click.option("--topic", help="Only records of this topic.")
@click.option("--reason", help="Only those set aside for this reason.")
@click.option("--content", is_flag=True, help="Show the records too: their keys, and their values' first 64 KB.")
def dead_letters(last: int, topic: str | None, reason: str | None, content: bool) -> None:
    """Show the records that were set aside, and why."""
    try:
        found = all_letters(Settings.from_env(found_environment()).kafka)
        wanted = (letter for letter in found if topic in (None, letter.topic) and reason in (None, letter.reason))
        newest = heapq.nlargest(last, wanted, key=lambda letter: letter.timestamp_ms)
    except SettingsInvalid as invalid:
        raise click.ClickException(str(invalid)) from invalid
    except KafkaException as error:
        raise click.ClickException(f"dead-letters can't be read: {reason_of(error)}") from error
    for letter in reversed(newest):
        echo(orjson.dumps(described(letter, content)).decode())


def all_letters(bootstrap: str) -> Iterator[DeadLetter]:
    """What the topic has as of now; there may be millions. Raises KafkaException."""
    consumer = Consumer(reader_config(bootstrap, f"dead-letters-{uuid.uuid4().hex}") | {"enable.partition.eof": True})
    try:
        found = consumer.list_topics(Topic.DEAD_LETTERS, timeout=KAFKA_SECONDS).topics[Topic.DEAD_LETTERS]
        if found.error is not None:
            raise KafkaException(found.error)
        consumer.assign([TopicPartition(Topic.DEAD_LETTERS, partition, 0) for partition in found.partitions])
        yield from _to_the_end(consumer, len(found.partitions))
    finally:
        consumer.close()


def described(letter: DeadLetter, content: bool) -> dict[str, Any]:
    """A dead letter as people read it; bytes that are no text in base64."""
    shown: dict[str, Any] = {
        "at": rfc3339(letter.timestamp_ms),
        "reason": letter.reason,
        "message": letter.message,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "value_bytes": letter.value_bytes,
    }
    return shown | {"key": _text(letter.key), "value": _text(letter.value)} if content else shown


def _to_the_end(consumer: Consumer, partitions_left: int) -> Iterator[DeadLetter]:
    while partitions_left:
        message = consumer.poll(KAFKA_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        error = message.error()
        if error is None:
            with contextlib.suppress(Undecodable):  # whoever may write to the topic may write anything
                yield DeadLetter.decode(message.value() or b"")
        elif error.code() == KafkaError._PARTITION_EOF:
            partitions_left -= 1
        else:
            raise KafkaException(error)


def _text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(content).decode()


COMMANDS = (dead_letters,)
