"""Where reading a partition begins: one rule for every group and every topic.

The offset that a group has committed with Kafka counts as long as Kafka has it: so an operator can move a group on
purpose. Kafka forgets offsets a while after the last member left (`offsets.retention.minutes`); then the position that
the group has kept on the topic `positions` counts. Neither is followed blindly:

| what is known | where reading begins |
|---|---|
| nothing: a new topic, or a group that never read it | at the first record |
| the group's position, within what the log has | there |
| a kept position of an earlier topic of the same name | at the first record of this one, whatever else is known |
| a position before the log's first record | at the first record; what retention removed unread is counted |
| a position behind the log's end: confirmed records are gone | nowhere: the start is refused |
"""

from enum import StrEnum
from typing import NamedTuple

from faust.types import TP

from processors.runtime.errors import StartRefused


class StartCause(StrEnum):
    """Why reading begins where it does."""

    COMMITTED = "committed"
    KEPT = "kept"
    """The group had no offset any more."""
    SET_BACK = "set_back"
    """The group's offset is before what the group had handled already: an operator moved it."""
    NOTHING_KNOWN = "nothing_known"
    RECREATED = "recreated"


class LogRange(NamedTuple):
    """The offsets that the broker has of a partition, from `first` to before `end`, and the topic's id."""

    topic_id: str
    first: int
    end: int


class KeptOffset(NamedTuple):
    """A position that the group has kept on `positions`, and the id of its topic."""

    topic_id: str
    next_offset: int


class StartingPoint(NamedTuple):
    """`missed`: how many offsets before it were never read by the group, and are gone."""

    offset: int
    cause: StartCause
    missed: int = 0


def starting_point(group: str, tp: TP, committed: int | None, kept: KeptOffset | None, log: LogRange) -> StartingPoint:
    """Raises StartRefused."""
    if kept is not None and kept.topic_id != log.topic_id:
        return StartingPoint(log.first, StartCause.RECREATED)
    if committed is not None:
        is_set_back = kept is not None and committed < kept.next_offset
        known, cause = committed, StartCause.SET_BACK if is_set_back else StartCause.COMMITTED
    elif kept is not None:
        known, cause = kept.next_offset, StartCause.KEPT
    else:
        return StartingPoint(log.first, StartCause.NOTHING_KNOWN)
    if known > log.end:
        raise StartRefused(
            f"{group} has handled {tp.topic}[{tp.partition}] up to offset {known}, but the log ends at {log.end}: "
            f"records that were confirmed are gone. Restore the topic. Or go on without them: stop every process of "
            f"the group, then kafka-consumer-groups --group {group} --topic {tp.topic}:{tp.partition} "
            f"--reset-offsets --to-latest --execute (for projection: atlas rebuild)."
        )
    return StartingPoint(max(known, log.first), cause, max(0, log.first - known))
