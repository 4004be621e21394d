"""librdkafka settings that every Atlas process uses, with a reason for each that is not the default; and what its
exceptions say.
"""

import logging
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from operations.kafka_security import security_of
from operations.logs import LIBRDKAFKA

LIBRDKAFKA_LOG = logging.getLogger(LIBRDKAFKA)
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


def library_log(client: str) -> logging.Logger:
    """For the setting `logger` of a client whose log lines should carry its name. They are folded as all lines of
    librdkafka are (operations/logs.py).
    """
    return LIBRDKAFKA_LOG.getChild(client)


def connection(bootstrap: str) -> dict[str, Any]:
    """Where Kafka is and how it lets us in: what every client begins with."""
    return {"bootstrap.servers": bootstrap, **security_of(bootstrap).librdkafka()}


def error_of(exception: KafkaException) -> KafkaError:
    """confluent-kafka gives the error as the exception's only argument."""
    error: KafkaError = exception.args[0]
    return error


def code_of(exception: KafkaException) -> int:
    """One of KafkaError's numbers."""
    code: int = error_of(exception).code()
    return code


def reason_of(exception: KafkaException) -> str:
    """In words, as the broker or librdkafka gave them."""
    return str(error_of(exception).str())


UNCONFIRMED = KafkaError(KafkaError._NO_OFFSET, "reported as stored, but no broker has said where")


def delivery_error(error: KafkaError | None, message: Message) -> KafkaError | None:
    """Why a record does not count as stored; None where it does. Every delivery report is read through this.

    librdkafka reports success without an offset for a record whose request failed while a later request for its
    partition succeeded: it infers that the broker must have the record. On a partition that has no record of this
    producer yet, right after the topic was made or its leader changed, a broker does accept the later request alone.
    The record is then lost (2.16.0, Kafka 4.3). Such a report says nothing, so it is `UNCONFIRMED`.
    """
    if error is None and message.offset() is None:
        return UNCONFIRMED
    return error


UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
"""A broker, or librdkafka itself, knows no such topic or no such partition."""


def producer_config(bootstrap: str, *, linger_ms: float = 1, queue_messages_max: int = 200_000) -> dict[str, Any]:
    """An idempotent producer that answers for durability: acks=all.

    `message.timeout.ms` stays at 5 minutes: a report "timed out" does not mean "not written" (F5), so
    callers keep a deadline of their own and never take the report for absence.
    """
    return connection(bootstrap) | {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": linger_ms,
        "message.timeout.ms": 300_000,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "queue.buffering.max.messages": queue_messages_max,
        "queue.buffering.max.kbytes": 256 * 1024,
        "topic.metadata.propagation.max.ms": 5_000,
        "reconnect.backoff.max.ms": 1_000,  # back within a second of the broker's return, not ten
        "socket.nagle.disable": True,
        "log.connection.close": False,
        "logger": LIBRDKAFKA_LOG,
    }


def reader_config(bootstrap: str, group: str) -> dict[str, Any]:
    """A consumer assigned by hand: no group membership, nothing committed."""
    return connection(bootstrap) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "check.crcs": True,  # else librdkafka hands over damaged bytes as if they had been sent
        "fetch.wait.max.ms": 100,
        "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
        "reconnect.backoff.max.ms": 1_000,
        "socket.nagle.disable": True,
        "log.connection.close": False,
        "logger": LIBRDKAFKA_LOG,
    }


def admin_config(bootstrap: str) -> dict[str, Any]:
    """A client for administration. It logs nothing itself: it is not polled, so its lines would go to standard error as
    they are, and exceptions say what fails.
    """
    return connection(bootstrap) | {"reconnect.backoff.max.ms": 1_000, "log_level": 0}
