"""The Faust app of a group: membership and commits through the batched transport (transport.py), and no more."""

from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.events import Event
from faust.tables import TableManager

from operations.kafka_security import KafkaSecurity
from operations.settings import Settings

HEARTBEATS_A_SESSION, HEARTBEAT_SECONDS_MAX = 6, 1.0  # a member hears of a rebalance with its next heartbeat
REBALANCE_SECONDS = 15.0
REQUEST_SECONDS = 90.0  # Faust waits as long for a seek, and so for a database that is away
METADATA_AGE_MS_MAX = 10_000
COMMIT_INTERVAL_SECONDS = 0.5


class BatchSchema(faust.Schema):  # type: ignore[type-arg]
    """Passes batches on undecoded: agents decode record by record, so that each record's errors stay its own."""

    def compile(self, app, *, on_key_decode_error=None, on_value_decode_error=None, default_propagate=False):  # type: ignore[no-untyped-def]
        async def decode(message, *, propagate=False):  # type: ignore[no-untyped-def]
            return Event(app, None, message.value, message.headers, message)

        return decode


class NoTables(TableManager):
    """Faust's tables are not used (tables.py has ours), so none is waited for: Faust's own begins with a second of
    sleep, which every start of a worker, and every return after a failure, would take.
    """

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def _credentials(security: KafkaSecurity) -> SASLCredentials | SSLCredentials | None:
    """For Faust's aiokafka, which only does the group membership."""
    tls = security.tls()
    if security.names_a_user:
        return SASLCredentials(
            username=security.username, password=security.password, mechanism=security.mechanism, ssl_context=tls
        )
    return None if tls is None else SSLCredentials(tls)


def create_app(settings: Settings, group: str) -> Any:
    session_seconds = settings.session_seconds
    app: Any = faust.App(
        group,
        broker=f"batched://{settings.kafka}",
        broker_credentials=_credentials(settings.kafka.security),
        store="memory://",
        TableManager=NoTables,
        datadir=str(settings.home / "faust" / group),
        web_enabled=False,
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_commit_interval=COMMIT_INTERVAL_SECONDS,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=min(HEARTBEAT_SECONDS_MAX, session_seconds / HEARTBEATS_A_SESSION),
        broker_rebalance_timeout=REBALANCE_SECONDS,
        broker_request_timeout=max(session_seconds, REQUEST_SECONDS),
        consumer_metadata_max_age_ms=METADATA_AGE_MS_MAX,  # for a topic that the broker asked did not know yet
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
    )
    app.cluster = settings.kafka  # for the fetcher: Faust keeps only the addresses, not the security
    return app


BATCH_SCHEMA = BatchSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
