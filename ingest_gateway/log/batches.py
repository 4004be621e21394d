"""The records of one batch on their way to the broker, with one waiter for all their delivery reports.

`EventLog.append_all` makes one. librdkafka reports each record on the poll thread; the loop is woken once, when the
last report is in. So nothing here needs a lock: only the poll thread appends to `_reports`, and only the loop reads on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message

from operations.kafka_clients import UNCONFIRMED, delivery_error

REPEATS_MAX = 3


class RecordReport(msgspec.Struct, gc=False):
    """What became of record `number`: stored at `offset`, or `error`."""

    number: int
    at_seconds: float
    error: KafkaError | None
    partition: int = 0
    offset: int = 0
    timestamp_ms: int = 0


class BatchAppend:
    """`queued`: how many of the records librdkafka has taken, the first ones; `refusal` says why it took no more, and
    is then LogBusy or LogUnavailable. `started_seconds`: by `time.perf_counter`.
    """

    def __init__(
        self,
        topic: str,
        keys: Sequence[bytes],
        values: Sequence[bytes],
        headers: Sequence[Any],
        produce: Callable[..., Any],
        when_done: Callable[["BatchAppend"], None],
        read: Callable[["BatchAppend"], None],
    ) -> None:
        """`when_done` is called on the poll thread once all reports are in. `read` is called on the loop when they are
        given up before: it reads those that are here.
        """
        self.topic = topic
        self.records = records = len(values)
        self.queued = records
        self._keys, self._values, self._headers, self._produce = keys, values, headers, produce
        self.refusal: Exception | None = None
        self.started_seconds = time.perf_counter()
        self.is_given_up = False
        self._when_done, self._read_now = when_done, read
        self._expected = records
        self._unconfirmed: list[int] = []
        self._rounds = 0
        self._reports: list[RecordReport] = []
        self._read = 0
        self._times_ms: list[int | None] = [None] * records
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, number: int) -> None:
        """Queues record `number`. Raises what `Producer.produce` raises."""
        callback = partial(self._report, number)
        headers = self._headers[number]
        self._produce(self.topic, self._values[number], self._keys[number], on_delivery=callback, headers=headers)

    def refuse_from(self, index: int, refusal: Exception) -> bool:
        """No record from `index` on was queued. Returns whether all others have been reported already."""
        self.refusal = refusal
        self.queued = self._expected = index
        return len(self._reports) == index

    def to_repeat(self) -> list[int]:
        """The numbers of those records of which nobody knows whether they are stored: the caller queues each once more
        and says by `not_repeated` how many were not taken. On the loop.
        """
        numbers, self._unconfirmed = self._unconfirmed, []
        if self.is_given_up or self._rounds == REPEATS_MAX:
            return []
        self._rounds += 1
        self._expected += len(numbers)
        return numbers

    def not_repeated(self, records: int) -> bool:
        """Returns whether all others have been reported already."""
        self._expected -= records
        return len(self._reports) == self._expected

    async def wait(self, deadline_seconds: float) -> None:
        """Returns when all that were queued are reported, or at the deadline (of the loop's clock). Reports that come
        later change no answer.
        """
        try:
            async with asyncio.timeout_at(deadline_seconds):
                await asyncio.shield(self._done)
        except TimeoutError:
            self._read_now(self)
            self.is_given_up = True

    def timestamp_ms(self, index: int) -> int | None:
        """When the broker stored the record; None while it is not confirmed, and where it never will be."""
        return self._times_ms[index]

    def read_reports(self) -> list[RecordReport]:
        """Those that came since. On the loop."""
        new = self._reports[self._read :]
        self._read += len(new)
        if not self.is_given_up:
            for report in new:
                if report.error is None:
                    self._times_ms[report.number] = report.timestamp_ms
                elif report.error is UNCONFIRMED:
                    self._unconfirmed.append(report.number)
        return new

    def end(self) -> None:
        """All reports are in, or none will come any more. What became of the records stays; they themselves need not be
        kept. On the loop.
        """
        self._keys = self._values = self._headers = ()
        if not self._done.done():
            self._done.set_result(None)

    def withdraw(self) -> None:
        """Nothing is promised any more, not even what is stored."""
        self._times_ms = [None] * self.records

    def _report(self, number: int, error: KafkaError | None, message: Message) -> None:
        at_seconds = time.perf_counter()
        error = delivery_error(error, message)
        if error is not None:
            report = RecordReport(number, at_seconds, error)
        else:
            place = message.partition() or 0, message.offset() or 0
            report = RecordReport(number, at_seconds, None, *place, message.timestamp()[1])
        self._reports.append(report)
        if len(self._reports) == self._expected:
            self._when_done(self)
