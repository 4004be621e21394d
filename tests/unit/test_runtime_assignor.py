"""Partitions are shared out evenly, by number, with as little moving as can be; the same on every member."""

import json

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.assignor import CopartitionAssignor, assign_evenly

MEMBERS = st.dictionaries(
    st.text(min_size=1, max_size=3), st.lists(st.integers(-2, 40), max_size=12), min_size=1, max_size=6
)


@pytest.mark.parametrize(
    ("partitions", "before", "after"),
    [
        (4, {"a": []}, {"a": [0, 1, 2, 3]}),
        (4, {"a": [0, 1, 2, 3], "b": []}, {"a": [0, 1], "b": [2, 3]}),
        (4, {"a": [0, 1], "b": [2, 3]}, {"a": [0, 1], "b": [2, 3]}),
        (5, {"a": [0, 1, 2], "b": [3, 4]}, {"a": [0, 1, 2], "b": [3, 4]}),
        (5, {"a": [0, 1], "b": [2, 3, 4]}, {"a": [0, 1], "b": [2, 3, 4]}),
        (4, {"a": [0, 1], "b": [1, 2]}, {"a": [0, 1], "b": [2, 3]}),
        (2, {"a": [], "b": [], "c": [0]}, {"a": [1], "b": [], "c": [0]}),
        (0, {"a": [0, 1]}, {"a": []}),
        (2, {"a": [7, -1]}, {"a": [0, 1]}),
    ],
    ids=[
        "the first takes all",
        "a second joins and gets half",
        "nothing changes when it is even",
        "nor when one has one more",
        "whichever that is",
        "what two claim stays with one",
        "more members than partitions",
        "nothing to share",
        "claims of partitions that are not there",
    ],
)
def test_who_gets_what(partitions: int, before: dict[str, list[int]], after: dict[str, list[int]]) -> None:
    assert assign_evenly(partitions, before) == after


@given(st.integers(0, 40), MEMBERS)
def test_every_partition_has_one_owner_and_loads_differ_by_one_at_most(
    partitions: int, before: dict[str, list[int]]
) -> None:
    shares = assign_evenly(partitions, before)
    assert shares.keys() == before.keys()
    assert sorted(number for numbers in shares.values() for number in numbers) == list(range(partitions))
    loads = [len(numbers) for numbers in shares.values()]
    assert max(loads) - min(loads) <= 1


@given(st.integers(0, 40), MEMBERS)
def test_every_member_computes_the_same_and_doing_it_again_moves_nothing(
    partitions: int, before: dict[str, list[int]]
) -> None:
    shares = assign_evenly(partitions, before)
    assert assign_evenly(partitions, dict(reversed(list(before.items())))) == shares
    assert assign_evenly(partitions, shares) == shares


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 4))
def test_no_more_moves_than_balance_needs(partitions: int, count: int, leaver: int) -> None:
    """One joins: only its share moves. One leaves: only what it had moves."""
    members = [f"m{number}" for number in range(count)]
    settled = assign_evenly(partitions, {member: [] for member in members})

    joined = assign_evenly(partitions, {**settled, "new": []})
    assert moved(settled, joined) == set(joined["new"])

    if count > 1:
        gone = members[leaver % count]
        left = {member: numbers for member, numbers in settled.items() if member != gone}
        assert moved(left, assign_evenly(partitions, left)) == set(settled[gone])


def moved(before: dict[str, list[int]], after: dict[str, list[int]]) -> set[int]:
    return {number for member, numbers in after.items() for number in set(numbers) - set(before.get(member, []))}


class Cluster(ClusterMetadata):  # type: ignore[misc]
    """What of the cluster an assignor asks for."""

    def __init__(self, topics: dict[str, int]) -> None:
        super().__init__()
        self._counts = topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def assigned(cluster: Cluster, members: dict[str, tuple[list[str], bytes]]) -> dict[str, dict[str, list[int]]]:
    metadata = {
        name: ConsumerProtocolMemberMetadata(0, topics, user_data) for name, (topics, user_data) in members.items()
    }
    shares = CopartitionAssignor.assign(cluster, metadata)
    return {name: dict(share.assignment) for name, share in shares.items()}


def test_partition_p_of_every_topic_has_one_owner() -> None:
    cluster = Cluster({"a": 4, "b": 4, "short": 3})
    shares = assigned(cluster, {"one": (["a", "b", "short"], b"[0,1]"), "two": (["a", "b", "short"], b"[2,3]")})
    assert shares == {
        "one": {"a": [0, 1], "b": [0, 1], "short": [0, 1]},
        "two": {"a": [2, 3], "b": [2, 3], "short": [2]},
    }


def test_a_topic_that_only_some_follow_yet_is_nobodys() -> None:
    cluster = Cluster({"old": 4, "new": 4})
    shares = assigned(cluster, {"one": (["old", "new"], b"[]"), "two": (["old"], b"[]")})
    assert all(share.keys() == {"old"} for share in shares.values())


def test_beside_members_of_an_older_version_nobody_has_a_topic_that_goes_by_rule_now() -> None:
    """A rolling upgrade: an older member follows streams by subscription. Those of its partitions wait for its end."""
    cluster = Cluster({"admission": 4, "events.a": 4, "events.b": 4})
    older, newer = ["admission", "events.a", "events.b"], ["admission"]
    shares = assigned(cluster, {"older": (older, b"[0,1]"), "newer": (newer, b"[2,3]")})
    assert shares == {"older": {"admission": [0, 1]}, "newer": {"admission": [2, 3]}}


def test_a_topic_that_is_not_there_yet_is_nobodys() -> None:
    shares = assigned(Cluster({"old": 2}), {"one": (["old", "new"], b"")})
    assert shares == {"one": {"old": [0, 1]}}


@pytest.mark.parametrize("user_data", [b"", b"nonsense", b"{}", b'["0"]', b"[[1]]", b"null"])
def test_what_a_member_says_wrongly_of_itself_counts_as_nothing(user_data: bytes) -> None:
    assert assigned(Cluster({"t": 2}), {"one": (["t"], user_data)}) == {"one": {"t": [0, 1]}}


def test_a_member_tells_the_group_what_it_had() -> None:
    before = CopartitionAssignor.owned
    try:
        shares = CopartitionAssignor.assign(
            Cluster({"t": 3, "u": 3}), {"one": ConsumerProtocolMemberMetadata(0, ["t", "u"], b"")}
        )
        CopartitionAssignor.on_assignment(shares["one"])
        assert json.loads(CopartitionAssignor.metadata(["t"]).user_data) == [0, 1, 2]
    finally:
        CopartitionAssignor.owned = before
