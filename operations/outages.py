"""Logs a question that is repeated until brokers answer it: one line when answers begin to fail, one for each new
reason, and one when there is an answer again.
"""

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from operations.kafka_clients import error_of
from operations.logs import event


class Outage:
    """`about` names the lines: `<about>.unreachable`, `<about>.reachable`. Used from one thread."""

    def __init__(self, logger: logging.Logger, about: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._about = about
        self._clock = clock
        self._reasons: set[int] = set()
        self._began_seconds = 0.0
        self._tries = 0

    def failed(self, error: KafkaException) -> None:
        """Again there was no answer. Kafka's error code tells reasons apart; the wording may vary."""
        reason = error_of(error)
        if not self._tries:
            self._began_seconds = self._clock()
        self._tries += 1
        if reason.code() not in self._reasons:
            self._reasons.add(reason.code())
            event(self._logger, f"{self._about}.unreachable", logging.WARNING, error=reason.str())

    def answered(self) -> None:
        if self._tries:
            seconds = round(self._clock() - self._began_seconds, 1)
            event(self._logger, f"{self._about}.reachable", seconds=seconds, tries=self._tries)
        self._reasons.clear()
        self._tries = 0
