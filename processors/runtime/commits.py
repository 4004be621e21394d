"""The group's offsets, through aiokafka's coordinator, for partitions that aiokafka was not given as well.

aiokafka's own `commit` refuses those, and where a topic is gone it asks again for ever and commits nothing any more.
All run in the membership's thread.
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
    """In one request: `committed` makes one a partition, which with a hundred streams takes a rebalance seconds."""
    wanted = {ensure_aiokafka_TP(tp): tp for tp in tps}
    while True:
        try:
            found = await coordinator.fetch_committed_offsets(list(wanted))
            break
        except KafkaError as error:  # aiokafka itself asks again after the answers that it knows
            sparse.event("offsets.unreachable", "unreachable", why=repr(error))
            await asyncio.sleep(AGAIN_SECONDS)
    return {tp: found[asked].offset if asked in found else None for asked, tp in wanted.items()}


async def commit_offsets(coordinator: Any, offsets: Mapping[TP, int]) -> set[TP]:
    """Returns those that the group has now: none while it rebalances or its coordinator is away, none of a topic that
    is gone. What is left out is committed with the next commit, or read again.
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
    """One of them is gone, or the broker has not heard of it yet: that one alone is left out, for now."""
    topics = {tp.topic for tp in offsets}
    if len(topics) == 1:
        sparse.event("commit.left_out", "unknown topic", topic=topics.pop(), why="the broker knows no such topic")
        return set()
    committed = set[TP]()
    for topic in topics:
        committed |= await _commit(coordinator, {tp: offset for tp, offset in offsets.items() if tp.topic == topic})
    return committed
