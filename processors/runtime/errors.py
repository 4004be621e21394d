"""Why a worker stops, starts over or refuses to begin: the errors that several files of the runtime raise or handle.

What an error means to the people who run the process is in processors/endings.py.
"""

from confluent_kafka import KafkaError

from operations.kafka_clients import UNCONFIRMED, UNKNOWN_TOPIC

AWAY = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._FATAL, KafkaError._TRANSPORT})
PASSING = AWAY | UNKNOWN_TOPIC | {UNCONFIRMED.code()}
"""The broker was away for long, or this producer can't be used any more, or nobody knows whether the record is there:
later, or with another producer, it is taken.
"""


class ControlLost(Exception):
    """What this process read of the topic `control` is no longer what that topic holds."""


class LeaseLost(Exception):
    """The session may have ended: another worker may own the partitions already."""


class Abandoned(LeaseLost):
    """This belongs to an assignment that was given up: it never leaves, and nothing is left to do about it."""


class OutboxFailed(Exception):
    """The broker did not take a record; the message names the topic and the error."""

    def __init__(self, topic: str, error: KafkaError | str) -> None:
        super().__init__(f"{topic}: {error}")
        self.passes = isinstance(error, KafkaError) and (error.code() in PASSING or error.retriable() or error.fatal())
        """Whether starting over helps, without ending the process."""


class OffsetGone(Exception):
    """The log does not have the record that should come next; the next start finds out why, and logs it."""


class StartRefused(Exception):
    """Reading can't go on from where the group was; the message says what to do."""


class TableRefused(Exception):
    """A table can't be used as it is; the message says what to do."""


class Stalled(Exception):
    """There is work on the log, and none of it was done for too long."""
