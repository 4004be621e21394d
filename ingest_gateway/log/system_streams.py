"""The system streams: each surface's own stream of a workspace and environment, created when it is first needed.

They don't count towards the workspace's streams, and no other surface writes to, shows or changes them. A command
creates them like any other stream; the view of `control` has those that exist.
"""

import asyncio
from weakref import WeakValueDictionary

from domain.security.callers import CallerContext
from ingest_gateway.log.commands import CommandClient
from ingest_gateway.log.event_log import LogUnavailable
from operations import clock
from operations.control_reader import ControlReader
from operations.new_commands import new_command
from schemas.commands.answers import DONE, decode_refusal
from schemas.commands.streams import RETENTION_DAYS_MAX, CreateStream
from schemas.entities import Stream

ACTOR = "gateway"
LOOK_AGAIN_SECONDS = 0.02


class SystemStreams:
    """One surface's, by its name (schemas.topics.SYSTEM_STREAMS)."""

    def __init__(self, name: str, control: ControlReader, commands: CommandClient, *, timeout_seconds: float) -> None:
        self._name = name
        self._control = control
        self._commands = commands
        self._timeout_seconds = timeout_seconds
        self._making: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def known(self, workspace: str, environment: str) -> Stream | None:
        return self._control.view.stream(workspace, environment, self._name)

    async def ensure(self, workspace: str, environment: str) -> Stream:
        """The stream, whose topic can be written to. Raises LogBusy, LogUnavailable, VerdictLate: try again."""
        found = self.known(workspace, environment)
        if found is not None:
            return found
        lock = self._making.setdefault((workspace, environment), asyncio.Lock())
        async with lock:
            return self.known(workspace, environment) or await self._made(workspace, environment)

    async def _made(self, workspace: str, environment: str) -> Stream:
        """Where another gateway is creating the stream, waits until it is there."""
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        command = new_command(
            CreateStream(name=self._name, retention_days=RETENTION_DAYS_MAX),
            workspace=workspace,
            environment=environment,
            caller=CallerContext(ACTOR),
            now_ms=clock.now_ms(),
            surface=self._name,
        )
        verdict = await self._commands.submit(command, timeout_seconds=self._timeout_seconds)
        if verdict.outcome != DONE:
            error = decode_refusal(verdict.body)
            if error.code != "stream_exists":
                raise LogUnavailable(f"the stream {self._name} was not created: {error.message}")
        while True:
            await self._control.catch_up()
            found = self.known(workspace, environment)
            if found is not None:
                return found
            if asyncio.get_running_loop().time() > deadline:
                raise LogUnavailable(f"the stream {self._name} was not ready in time")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
