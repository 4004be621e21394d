"""What the processors' own exceptions mean to whoever runs them (operations/endings.py)."""

from collections.abc import Mapping

from aiokafka import errors as aiokafka_errors

from operations.endings import DATABASE, KAFKA_AWAY, KAFKA_REFUSES, KAFKA_TROUBLE, Ending
from operations.session_limits import SessionRefused
from processors.projection.store import DatabaseAway
from processors.runtime.fetcher import OffsetGone
from processors.runtime.lease import LeaseLost
from processors.runtime.outbox import OutboxFailed
from processors.runtime.runtime import ControlLost
from processors.runtime.starting import StartRefused
from processors.runtime.table import TableRefused
from processors.runtime.watchdog import Stalled

ENDINGS: Mapping[type[BaseException], Ending] = {
    LeaseLost: Ending(
        "lease_lost", "Nothing is lost. Look at why Kafka, or this machine, did not answer; started again, it goes on."
    ),
    Stalled: Ending("stalled", "Nothing is lost. Started again, it goes on; the lines before tell what stood still."),
    StartRefused: Ending("start_refused", "Do as the error says; docs/observing.md tells more."),
    OffsetGone: Ending("start_refused", "Started again, it finds out why, and says what it missed."),
    ControlLost: Ending("control_lost", "Restore the topic `control`; started again, it reads the one that is there."),
    SessionRefused: Ending("session_refused", "Set ATLAS_SESSION_SECONDS to one that the brokers take."),
    TableRefused: Ending("table_refused", "Do as the error says; docs/observing.md tells more."),
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
