"""What the processors' own exceptions mean to the people who run them (operations/endings.py)."""

from collections.abc import Mapping

from aiokafka import errors as aiokafka_errors

from operations.endings import DATABASE, KAFKA_AWAY, KAFKA_REFUSES, KAFKA_TROUBLE, Ending
from operations.session_limits import SessionRefused
from processors.projection.store import DatabaseAway
from processors.runtime.errors import (
    ControlLost,
    LeaseLost,
    OffsetGone,
    OutboxFailed,
    Stalled,
    StartRefused,
    TableRefused,
)

ENDINGS: Mapping[type[BaseException], Ending] = {
    LeaseLost: Ending(
        "lease_lost", "Nothing is lost. Find out why Kafka, or this machine, did not answer. Started again, it goes on."
    ),
    Stalled: Ending("stalled", "Nothing is lost. Started again, it goes on; the log lines before say what stalled."),
    StartRefused: Ending("start_refused", "Do as the error says; docs/observing.md has more."),
    OffsetGone: Ending("start_refused", "Started again, it finds out why, and logs what it missed."),
    ControlLost: Ending("control_lost", "Restore the topic `control`. Started again, it reads the one that is there."),
    SessionRefused: Ending("session_refused", "Set ATLAS_SESSION_SECONDS to one that the brokers take."),
    TableRefused: Ending("table_refused", "Do as the error says; docs/observing.md has more."),
    OutboxFailed: KAFKA_TROUBLE,
    DatabaseAway: DATABASE,
    aiokafka_errors.AuthenticationFailedError: KAFKA_REFUSES,
    aiokafka_errors.TopicAuthorizationFailedError: KAFKA_REFUSES,
    aiokafka_errors.GroupAuthorizationFailedError: KAFKA_REFUSES,
    aiokafka_errors.KafkaConnectionError: KAFKA_AWAY,
    aiokafka_errors.KafkaTimeoutError: KAFKA_AWAY,
    aiokafka_errors.NodeNotReadyError: KAFKA_AWAY,
    aiokafka_errors.CommitFailedError: KAFKA_TROUBLE,
    aiokafka_errors.BrokerResponseError: KAFKA_TROUBLE,
}
