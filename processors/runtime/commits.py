"""Reads and commits the group's offsets through aiokafka's coordinator, also of partitions outside the subscription.

aiokafka's own `commit` refuses those, and where a topic is gone it asks again for ever and commits nothing any more.
Everything here runs in the membership's thread.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import ensure_aiokafka_TP
from faust.types import TP

from operations.logs import Sparse

sparse = Sparse(logging.getLogger(__name__))
AT_ONCE = 1_000  # partitions; the broker writes what one request commits in one batch
TRIES, AGAIN_SECONDS = 20, 0.1
REBALANCED = (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError)


async def committed_offsets(coordinator: Any, tps: Iterable[TP]) -> dict[TP, int | None]:
    """In one request: aiokafka's `committed` makes one for each partition, which costs a rebalance seconds where there
    are a hundred streams.
    """
    wanted = {ensure_aiokafka_TP(tp): tp for tp in tps}
    while True:
        try:
            found = await coordinator.fetch_committed_offsets(list(wanted))
            break
        except KafkaError as error:  # after answers that it knows, aiokafka itself asks again
            sparse.event("offsets.unreachable", "unreachable", why=repr(error))
            await asyncio.sleep(AGAIN_SECONDS)
    return {tp: found[asked].offset if asked in found else None for asked, tp in wanted.items()}


async def commit_offsets(coordinator: Any, offsets: Mapping[TP, int]) -> set[TP]:
    """Returns the partitions that were committed: none while the group rebalances or its coordinator is away, none of a
    topic that is gone. The others are committed with the next commit, or read again.
    """
    tps, committed = list(offsets), set[TP]()
    for first in range(0, len(tps), AT_ONCE):
        committed |= await _commit(coordinator, {tp: offsets[tp] for tp in tps[first : first + AT_ONCE]})
    return committed


async def _commit(coordinator: Any, offsets: dict[TP, int]) -> set[TP]:
    wanted = {ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
    failed: KafkaError | None = None
    for _ in range(TRIES):
        try:
            async with coordinator._commit_lock:
                await coordinator._do_commit_offsets(None, wanted)
            return set(offsets)
        except UnknownTopicOrPartitionError:
            return await _commit_topic_by_topic(coordinator, offsets)
        except KafkaError as error:
            failed = error
            if not error.retriable:
                break
        await asyncio.sleep(AGAIN_SECONDS)
    if not isinstance(failed, REBALANCED):
        sparse.event("commit.failed", "failed", why=repr(failed))
    return set()


async def _commit_topic_by_topic(coordinator: Any, offsets: dict[TP, int]) -> set[TP]:
    """One of the topics is gone, or the broker has not heard of it yet: only that one is left out, for now."""
    topics = {tp.topic for tp in offsets}
    if len(topics) == 1:
        sparse.event("commit.left_out", "unknown topic", topic=topics.pop(), why="the broker knows no such topic")
        return set()
    committed = set[TP]()
    for topic in topics:
        committed |= await _commit(coordinator, {tp: offset for tp, offset in offsets.items() if tp.topic == topic})
    return committed
