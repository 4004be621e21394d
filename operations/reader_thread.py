"""A thread that reads for an event loop, and never ends silently.

It hands over what it reads by `call`. If it ends without `stop`, that is an error: it is counted, logged and kept as
`failed` for `/readyz`, and a callback runs on the loop, which ends the process or starts the thread again.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from operations import metrics
from operations.logs import event

log = logging.getLogger(__name__)
JOIN_SECONDS = 5.0


class LoopClosed(Exception):
    """The loop that the thread reads for is closed: the thread ends, and that is no error."""


class ReaderThread:
    """`start()` on the running loop, `await stop()` at the end; after a failure `start()` starts it again."""

    def __init__(self, name: str, read: Callable[[], None], on_failed: Callable[[str], None]) -> None:
        """`name`: one of a few, a metric's label. `read` runs in the thread for as long as `stops` is false.
        `on_failed` is called once, on the loop, with the reason why the thread ended.
        """
        self.name = name
        self.failed: str | None = None
        self._read = read
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.READER_FAILURES.labels(name)  # shown from the start, as 0

    @property
    def runs(self) -> bool:
        return self._thread is not None and self.failed is None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.failed = None
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    # In the thread

    @property
    def stops(self) -> bool:
        return self._stopping.is_set()

    def wait(self, seconds: float) -> bool:
        """Whether it is to stop; waits for that at most so long."""
        return self._stopping.wait(seconds)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """On the event loop's thread, soon. Raises LoopClosed."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError as error:
            raise LoopClosed(self.name) from error

    def _run(self) -> None:
        try:
            self._read()
            if not self.stops:
                raise RuntimeError("it came to its end")
        except LoopClosed:
            log.debug("the event loop closed before the reader of %s", self.name)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        metrics.READER_FAILURES.labels(self.name).inc()
        event(log, f"{self.name}.failed", logging.CRITICAL, error=repr(error))
        try:
            self.call(self._note_failed, f"the reader of {self.name} failed: {error!r}")
        except LoopClosed:
            log.debug("the event loop closed before it knew that the reader of %s failed", self.name)

    def _note_failed(self, reason: str) -> None:
        """Both in one step on the loop: code that sees `failed` may start the thread again."""
        self.failed = reason
        self._on_failed(reason)
