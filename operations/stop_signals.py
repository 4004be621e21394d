"""SIGTERM and SIGINT of a process: the first one asks it to end, a second one ends it at once."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from operations import logs

log = logging.getLogger("atlas.process")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
KILLED = 128
"""And the signal's number: the exit code of a process that a signal ended, as shells have it."""


def on_stop_signals(asked: Callable[[signal.Signals], None]) -> None:
    """`asked` is called once, on the running loop, with the signal that came. Nothing is lost by the second signal but
    what was not acknowledged: a kill must not lose more.
    """
    came: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        came.append(number)
        if len(came) == 1:
            asked(number)
            return
        logs.event(log, "process.ended_at_once", logging.WARNING, signal=number.name)
        os._exit(KILLED + number)

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
