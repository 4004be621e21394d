"""Why a process, or a command, can't go on for a reason outside of its code: one sentence, and what to do about it.

A port that is taken, a broker that is away, a full disk are no bugs: the person who reads the log needs the reason and
what to do next, not sixty lines of calls. An error that is not listed here is a bug, and keeps its traceback. Import
this file when a process has ended: it imports the database's library, which not every process needs.
"""

import errno
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from sqlalchemy.exc import InterfaceError, OperationalError

from operations.cluster_admin import NEVER
from operations.kafka_clients import error_of, reason_of
from operations.schema_registry import RegistryUnusable
from operations.settings import SettingsInvalid
from operations.topic_admin import PartitionsChanged, TopicRefused


class Ending(NamedTuple):
    """`reason` is for machines, from a closed set; `advice` for people."""

    reason: str
    advice: str


KAFKA_AWAY = Ending("kafka_unreachable", "Check that Kafka runs, and ATLAS_KAFKA and ATLAS_KAFKA_SECURITY_PROTOCOL.")
KAFKA_REFUSES = Ending("kafka_denied", "Check ATLAS_KAFKA_SASL_…, the certificate and Kafka's access lists.")
KAFKA_NEVER = Ending("kafka_refused", "Kafka will not do this as requested: its own log says more.")
KAFKA_TROUBLE = Ending("kafka_failed", "Nothing acknowledged is lost. Look at Kafka. Started again, it goes on.")
CERTIFICATE = Ending("certificate", "Check the files that ATLAS_KAFKA_SSL_CA, _CERTIFICATE and _KEY name.")
DATABASE = Ending("database_unreachable", "Check that the database runs and takes connections, and DATABASE_URL.")
DISK_FULL = Ending("disk_full", "Free some space on ATLAS_HOME's disk, or move it. Started again, the process goes on.")

ENDINGS: Mapping[type[BaseException], Ending] = {
    SettingsInvalid: Ending("settings", "Correct the environment; `atlas config` shows what it comes to."),
    RegistryUnusable: Ending("schema_registry", "Check that the schema registry runs, and SCHEMA_REGISTRY_URL."),
    PartitionsChanged: Ending("partitions_changed", "Start it again with the ATLAS_PARTITIONS of before."),
    TopicRefused: KAFKA_NEVER,
    ssl.SSLError: CERTIFICATE,
    OperationalError: DATABASE,
    InterfaceError: DATABASE,
    socket.gaierror: Ending("unknown_host", "Check the names in ATLAS_KAFKA, ATLAS_HOST and DATABASE_URL."),
}
BY_ERRNO = {
    errno.EADDRINUSE: Ending("port_in_use", "End what listens there, or set another port."),
    errno.EADDRNOTAVAIL: Ending("address", "ATLAS_HOST must be an address of this machine."),
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EROFS: Ending("read_only", "ATLAS_HOME must be a folder that can be written to."),
    errno.EACCES: Ending("no_permission", "Give this user the rights to it: ATLAS_HOME, or a port above 1023."),
    errno.EPERM: Ending("no_permission", "Give this user the rights to it: ATLAS_HOME, or a port above 1023."),
    errno.EMFILE: Ending("open_files", "Raise the limit of open files (ulimit -n)."),
    errno.ENFILE: Ending("open_files", "Raise the limit of open files (ulimit -n)."),
}
AWAY = frozenset(
    {
        *(KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT),
        *(KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._WAIT_COORD),
    }
)
DENIED = frozenset(
    {
        *(KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED),
        *(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED),
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
MISUSED = frozenset({KafkaError._INVALID_ARG, KafkaError._STATE})
DISK_FULL_TEXT = "No space left on device"  # as RocksDB and SQLite say it, in exceptions of their own


def ending_of(
    error: BaseException, more: Mapping[type[BaseException], Ending] | None = None
) -> tuple[Ending, str] | None:
    """With what is said of it; None for a bug. `more`: what a package's own exceptions mean."""
    known = {**ENDINGS, **(more or {})}
    for cause in _causes(error):
        ending = _known(cause, known)
        if ending is not None:
            return ending, _first_line(cause)
    return None


def log_ending(
    log: logging.Logger,
    message: str,
    error: BaseException,
    more: Mapping[type[BaseException], Ending] | None = None,
    **facts: object,
) -> None:
    """One line: with `reason`, `error` and `advice` for what is known, else with the traceback."""
    found = ending_of(error, more)
    if found is None:
        log.critical(message, exc_info=error, extra={"facts": {"reason": "bug", **facts}})
        return
    ending, said = found
    ending_facts = {"reason": ending.reason, "error": said, "advice": ending.advice, **facts}
    log.critical(message, exc_info=error if log.isEnabledFor(logging.DEBUG) else None, extra={"facts": ending_facts})


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, the nearest first. What broke while another error was handled is a bug."""
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if one.__cause__ is not None:
            waiting.append(one.__cause__)


def _known(error: BaseException, known: Mapping[type[BaseException], Ending]) -> Ending | None:
    if DISK_FULL_TEXT in str(error):
        return DISK_FULL
    if isinstance(error, KafkaException):
        return _of_kafka(error_of(error))
    for kind, ending in known.items():
        if isinstance(error, kind):
            return ending
    return BY_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None


def _of_kafka(error: object) -> Ending | None:
    if not isinstance(error, KafkaError):
        return None
    code = error.code()
    if code in MISUSED:  # of a client that can't be made: files it can't read, else a bug
        return CERTIFICATE if "ssl." in error.str() else None
    if code in DENIED:
        return KAFKA_REFUSES
    if code in AWAY:
        return KAFKA_AWAY
    return KAFKA_NEVER if code in NEVER else KAFKA_TROUBLE


def _first_line(error: BaseException) -> str:
    """Its first line; of SQLAlchemy's what the database said, without the statement."""
    if isinstance(error, KafkaException):
        return reason_of(error)
    original = getattr(error, "orig", None)
    lines = str(original if original is not None else error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
