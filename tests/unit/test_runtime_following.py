"""What is followed beside the subscription: by partition number, of topics that there are, and looked at again."""

import asyncio
from collections.abc import Collection
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations.topic_admin import PartitionsChanged, TopicAdmin
from processors.runtime import following as module
from processors.runtime.following import Following
from tests.support.until import until

A, B = "events.ws.live.a", "events.ws.live.b"


class Cluster:
    """As much of an admin client as is asked."""

    def __init__(self, **topics: int) -> None:
        self.topics = {f"events.ws.live.{name}": count for name, count in topics.items()}
        self.asked: list[set[str]] = []
        self.away = 0

    async def partition_counts(self, names: Collection[str]) -> dict[str, int]:
        if self.away:
            self.away -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self.asked.append(set(names))
        return {name: self.topics[name] for name in names if name in self.topics}


def following(cluster: Cluster, *topics: str) -> Following:
    made = Following(lambda: cast(TopicAdmin, cluster), 4)
    made.add("agent", topics)
    return made


async def test_partition_p_of_each_goes_with_p() -> None:
    followed = following(Cluster(a=4, b=4), A, B)
    assert await followed.partitions_of({1, 3}) == {(A, 1), (A, 3), (B, 1), (B, 3)}
    assert await followed.partitions_of(set()) == set()


async def test_what_is_not_there_or_shorter_is_left_out_and_what_is_known_not_asked_again() -> None:
    cluster = Cluster(a=2)
    followed = following(cluster, A, B)
    assert await followed.partitions_of({1, 3}) == {(A, 1)}
    cluster.topics[B] = 4
    assert await followed.partitions_of({1, 3}) == {(A, 1), (B, 1), (B, 3)}
    assert cluster.asked == [{A, B}, {B}]


async def test_one_that_is_discarded_and_named_again_is_asked_for_again() -> None:
    cluster = Cluster(a=4)
    followed = following(cluster, A)
    await followed.partitions_of({0})
    followed.discard([A, B])
    assert await followed.partitions_of({0}) == set()
    followed.add("agent", [A])
    assert await followed.partitions_of({0}) == {(A, 0)}
    assert cluster.asked[-1] == {A}


@pytest.mark.requirement("F12")
async def test_more_partitions_than_before_are_refused() -> None:
    with pytest.raises(PartitionsChanged, match=r"events\.ws\.live\.b has more partitions than ATLAS_PARTITIONS"):
        await following(Cluster(a=4, b=5), A, B).partitions_of({0})


async def test_it_looks_when_something_changed_and_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new topic that no broker knows yet, a broker that is away, a rebalance under way: again, soon."""
    monkeypatch.setattr(module, "MISSING_AGAIN_SECONDS", 0.001)
    cluster = Cluster(a=4)
    followed = following(cluster, A)
    read: list[set[tuple[str, int]]] = []
    refused = 2

    async def look() -> bool:
        nonlocal refused
        found = await followed.partitions_of({0})
        refused -= 1
        if refused >= 0:
            return False
        read.append(found)
        return True

    keeping = asyncio.create_task(followed.keep(look))
    await until(lambda: read == [{(A, 0)}])
    cluster.away = 3
    followed.add("agent", [B])
    await until(lambda: len(read) >= 3)
    cluster.topics[B] = 4
    await until(lambda: read[-1] == {(A, 0), (B, 0)})
    keeping.cancel()
    count = len(read)
    await asyncio.sleep(0.02)
    assert len(read) == count
