"""Assigns partitions: partition p of every topic belongs to one member, so that tables co-partition with the topics.

Sticky: a member keeps its partitions while the load stays even. A topic stays unassigned until all members subscribe to
it: while members of two versions run, no two of them can own the same partition number of different topics.
"""

import json
from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def assign_evenly(partitions: int, owned_before: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Assigns each partition number to one member: evenly (± 1), and to the member that had it where possible. The same
    input gives the same result on every member.
    """
    members = sorted(owned_before)
    most, extra = divmod(partitions, len(members))
    kept: dict[str, list[int]] = {member: [] for member in members}
    free = set(range(partitions))
    for member in members:
        for partition in sorted(set(owned_before[member]) & free)[: most + (1 if extra else 0)]:
            kept[member].append(partition)
            free.discard(partition)
    _trim_to_even(kept, free, most, extra)
    for partition in sorted(free):
        kept[min(members, key=lambda name: (len(kept[name]), name))].append(partition)
    return {member: sorted(numbers) for member, numbers in kept.items()}


def _trim_to_even(kept: dict[str, list[int]], free: set[int], most: int, extra: int) -> None:
    """Only `extra` members may hold one more than the others."""
    for member in sorted(kept):
        if len(kept[member]) > most:
            if extra > 0:
                extra -= 1
            else:
                free.add(kept[member].pop())


class CopartitionAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """aiokafka calls it on the group's leader; the members' user data lists the partition numbers that each had."""

    name = "atlas-copartition"
    owned: frozenset[int] = frozenset()

    @classmethod
    def assign(
        cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        followed_by_all = set.intersection(*(set(metadata.subscription) for metadata in members.values()))
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in followed_by_all}
        numbers_of = assign_evenly(
            max(counts.values(), default=0), {name: _owned_before(m.user_data) for name, m in members.items()}
        )
        return {
            member: ConsumerProtocolMemberAssignment(
                0,
                sorted(
                    (topic, mine)
                    for topic, count in counts.items()
                    if (mine := [partition for partition in numbers_of[member] if partition < count])
                ),
                b"",
            )
            for member in members
        }

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(0, list(topics), json.dumps(sorted(cls.owned)).encode())

    @classmethod
    def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
        cls.owned = frozenset(number for _topic, partitions in assignment.assignment for number in partitions)


def _owned_before(user_data: bytes) -> list[int]:
    try:
        numbers = json.loads(user_data or b"[]")
    except ValueError:
        return []
    return [number for number in numbers if isinstance(number, int)] if isinstance(numbers, list) else []
