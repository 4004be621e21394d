"""The clients by which a gateway process uses the log, all started and stopped together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from domain.entities.control_view import ControlView
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import EventLog
from ingest_gateway.log.live import LiveLog
from ingest_gateway.log.verdicts import VerdictWaiter
from operations.control_reader import ControlReader
from operations.schema_registry import use_registry
from operations.settings import Settings

FLUSH_SECONDS = 3.0
BROKER_ANSWERS_SECONDS = 10.0


class KafkaAway(Exception):
    """No broker answers; the message is a sentence for people."""


@dataclass(frozen=True)
class LogClients:
    events: EventLog
    verdicts: VerdictWaiter
    commands: CommandClient
    control: ControlReader
    live: LiveLog

    async def ready(self) -> None:
        """Returns when `control` was read to its end and verdicts can be awaited; waits for a broker that is away."""
        await self.control.caught_up()
        await self.verdicts.positioned()

    def missing(self) -> str | None:
        """Why this process can't serve yet, for the readiness check; None when it can."""
        if (failed := self.control.failed or self.verdicts.failed) is not None:
            return failed
        if not self.control.ready:
            return "control was not read to its end yet"
        if not self.verdicts.ready:
            return "the reader of verdicts has no position yet"
        return self.events.failed


@asynccontextmanager
async def log_clients(
    settings: Settings, on_fatal: Callable[[str], None] = lambda reason: None
) -> AsyncIterator[LogClients]:
    """Started on entry, not yet `ready`; on leaving, what is queued is sent and all are stopped. Raises
    RegistryUnusable where a schema registry is set and can't be used.
    """
    registry = await use_registry(settings)
    if registry is not None:
        await registry.close()  # the gateway reads no ids but those that are set
    events = EventLog(settings.kafka, on_fatal=on_fatal)
    verdicts = VerdictWaiter(settings.kafka, max_waiters=settings.max_waiters, on_fatal=on_fatal)
    patience_seconds = settings.append_timeout_seconds + settings.verdict_timeout_seconds  # stored, then decided
    commands = CommandClient(events, verdicts, timeout_seconds=patience_seconds)
    control = ControlReader(settings.kafka, ControlView(), on_lost=on_fatal)
    live = LiveLog(settings.kafka)  # reads only while there are watchers
    events.start()
    verdicts.start()
    control.start()
    try:
        yield LogClients(events, verdicts, commands, control, live)
    finally:
        await asyncio.gather(events.close(FLUSH_SECONDS), verdicts.stop(), control.stop(), live.close())


async def ready_or_away(clients: LogClients, kafka: str) -> None:
    """For the command line: returns when the clients are ready, however long `control` is. Raises KafkaAway where no
    broker answers soon."""
    ready = asyncio.create_task(clients.ready())
    try:
        done, _ = await asyncio.wait([ready], timeout=BROKER_ANSWERS_SECONDS)
        if not done and clients.events.unreachable is not None:
            raise KafkaAway(
                f"no Kafka broker answers at {kafka} ({clients.events.unreachable}): check that it runs, ATLAS_KAFKA, "
                "and how it lets us in (ATLAS_KAFKA_SECURITY_PROTOCOL and what belongs to it)"
            )
        await ready
    finally:
        ready.cancel()
