"""Asks the brokers where the partitions of a topic begin and end now.

librdkafka's AdminClient does not recover from an election by itself: it keeps the leader epochs that it once learned,
and its requests then fail with FENCED_LEADER_EPOCH (after an election) or UNKNOWN_LEADER_EPOCH (the topic was
recreated) for as long as it lives (confluent-kafka 2.16.1). A request for the topic's metadata makes it learn them
again, so each question begins with one, and is asked again for a moment where a broker that has just come up does not
know its own epoch yet. A new client would do as well, but a client that failed is kept alive by its
exception's traceback and destroyed by whichever thread collects the garbage.

It also reports no error when a broker has not answered in time: it gives the offset -1001, which no partition has.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from operations.kafka_clients import UNKNOWN_TOPIC, admin_config, code_of

TIMEOUT_SECONDS = 2.0
SHORTEST_SECONDS = 0.1
FIRST_TRY_SHARE = 1 / 3
TOPICS_ONE_BY_ONE = 8
ASK_AGAIN_SECONDS = 0.02
LEADERS_MOVE = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
_Answer = TypeVar("_Answer")
Offsets = dict[int, int]
"""By partition."""
Partition = tuple[str, int]

_FIRST = OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED  # type: ignore[no-untyped-call]
_HIGH = OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED  # type: ignore[no-untyped-call]
_STABLE = OffsetSpec.latest(), IsolationLevel.READ_COMMITTED  # type: ignore[no-untyped-call]


class OffsetRange(NamedTuple):
    """`first`: the oldest offset there is; `end`: the one after the newest that is not in an open transaction."""

    first: int
    end: int


class ReadableEnd(NamedTuple):
    """Of a partition. `stable`: the last stable offset, up to which it can be read; `high`: where it ends. Records in
    between wait for the end of an open transaction.
    """

    stable: int
    high: int


class TopicEnds:
    """Blocking: call it in a thread. Any number of threads may."""

    def __init__(self, bootstrap: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._admin = AdminClient(admin_config(bootstrap))
        self._leaders_are_doubtful = False

    def doubt_leaders(self) -> None:
        """Elections are likely: `readable` and `ranges` first ask for the leaders, as after a failed request."""
        self._leaders_are_doubtful = True

    def ends(self, topic: str) -> Offsets:
        """The end of each partition. Raises KafkaException, also where there is no such topic."""
        (ends,) = self._asked(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return ends

    def spans(self, topic: str) -> dict[int, OffsetRange]:
        """The same with the beginnings."""
        firsts, ends = self._asked(topic, OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: OffsetRange(first, ends[partition]) for partition, first in firsts.items()}

    def readable(self, partitions: Collection[Partition]) -> dict[Partition, ReadableEnd]:
        """Of the partitions that exist; they may be of many topics. Raises KafkaException.

        High first: what is appended between the two questions must not look as if it could not be read.
        """
        high, stable = self._of_those_there(partitions, _HIGH, _STABLE)
        return {tp: ReadableEnd(min(stable[tp], end), end) for tp, end in high.items() if tp in stable}

    def ranges(self, partitions: Collection[Partition]) -> dict[Partition, OffsetRange]:
        """The same for what the log holds, open transactions included."""
        firsts, ends = self._of_those_there(partitions, _FIRST, _HIGH)
        return {tp: OffsetRange(first, ends[tp]) for tp, first in firsts.items() if tp in ends}

    def _of_those_there(
        self, partitions: Collection[Partition], *questions: tuple[OffsetSpec, IsolationLevel]
    ) -> list[dict[Partition, int]]:
        """The partitions may be of a hundred topics, so metadata is asked for only where the requests fail without it.
        Some time is kept for that, since a request to a dead leader takes all the time it is given.
        """
        if not partitions:
            return [{} for _ in questions]
        began = time.monotonic()
        deadline = began + self._timeout_seconds
        if not self._leaders_are_doubtful:
            try:
                return self._answers(partitions, questions, began + self._timeout_seconds * FIRST_TRY_SHARE)
            except KafkaException:
                self._leaders_are_doubtful = True
        topics = {topic for topic, _ in partitions}

        def ask() -> list[dict[Partition, int]]:
            self._learn_leaders(topics, deadline)
            return self._answers(partitions, questions, deadline)

        answers = _while_leaders_move(ask, deadline)
        self._leaders_are_doubtful = False
        return answers

    def _learn_leaders(self, topics: set[str], deadline: float) -> None:
        if len(topics) > TOPICS_ONE_BY_ONE:
            self._admin.list_topics(timeout=_left(deadline))
            return
        for topic in sorted(topics):
            self._admin.list_topics(topic, timeout=_left(deadline))

    def _answers(
        self, partitions: Collection[Partition], questions: Sequence[tuple[OffsetSpec, IsolationLevel]], deadline: float
    ) -> list[dict[Partition, int]]:
        answers = []
        for which, isolation in questions:
            wanted = {TopicPartition(*partition): which for partition in partitions}
            asked = self._admin.list_offsets(wanted, isolation_level=isolation, request_timeout=_left(deadline))
            answers.append(_offsets_there(asked))
        return answers

    def _asked(self, topic: str, *which: OffsetSpec) -> list[Offsets]:
        """All of them at once."""
        deadline = time.monotonic() + self._timeout_seconds
        return _while_leaders_move(lambda: self._asked_once(topic, which, deadline), deadline)

    def _asked_once(self, topic: str, which: Sequence[OffsetSpec], deadline: float) -> list[Offsets]:
        found = self._admin.list_topics(topic, timeout=_left(deadline)).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        left_seconds = _left(deadline)
        asked = [
            self._admin.list_offsets(
                {TopicPartition(topic, partition): one for partition in found.partitions},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=left_seconds,
            )
            for one in which
        ]
        return [_offsets(answers) for answers in asked]


def _while_leaders_move(ask: Callable[[], _Answer], deadline: float) -> _Answer:
    """What `ask` gives, asked again until the deadline where brokers and client do not agree on a leader yet."""
    while True:
        try:
            return ask()
        except KafkaException as error:
            if code_of(error) not in LEADERS_MOVE or time.monotonic() >= deadline:
                raise
        time.sleep(ASK_AGAIN_SECONDS)


def _left(deadline: float) -> float:
    return max(SHORTEST_SECONDS, deadline - time.monotonic())


def _offsets(asked: Mapping[TopicPartition, "Future[Any]"]) -> Offsets:
    return {asked_partition.partition: _offset(future) for asked_partition, future in asked.items()}


def _offsets_there(asked: Mapping[TopicPartition, "Future[Any]"]) -> dict[Partition, int]:
    """Without partitions that are not there."""
    found = {}
    for asked_partition, future in asked.items():
        try:
            found[asked_partition.topic, asked_partition.partition] = _offset(future)
        except KafkaException as error:
            if code_of(error) not in UNKNOWN_TOPIC:
                raise
    return found


def _offset(future: "Future[Any]") -> int:
    offset: int = future.result().offset
    if offset < 0:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "a broker did not answer in time"))
    return offset
