"""Where reading a partition begins: the one rule, for every group and every topic. Pure.

What a group has committed with Kafka counts, while Kafka has it: it is also how an operator moves a group on purpose.
Kafka forgets it a while after the last member left (`offsets.retention.minutes`); then what the group has kept on
`positions` counts. Neither is followed blindly:

| what is known | where reading begins |
|---|---|
| nothing: a new topic, or a group that never had a part in it | at the first record there is |
| the group's position, within what the log has | there |
| a position kept of another topic of the same name | at the first record of this one, whatever else is known |
| a position before the log's first record | at the first record; what retention took before it was read is counted |
| a position behind the log's end: records are gone that were confirmed | nowhere: it is refused |
"""

from enum import StrEnum
from typing import NamedTuple

from faust.types import TP


class Cause(StrEnum):
    """Why reading begins where it does."""

    COMMITTED = "committed"
    KEPT = "kept"
    """The group had no offset any more."""
    SET_BACK = "set_back"
    """The group's offset is before what the group had handled already: somebody wanted it so."""
    NOTHING_KNOWN = "nothing_known"
    RECREATED = "recreated"


class LogRange(NamedTuple):
    """What the broker has of a partition: from the record `first` to the offset before `end`; of which topic."""

    topic_id: str
    first: int
    end: int


class Kept(NamedTuple):
    """A position that the group has kept, and of which topic."""

    topic_id: str
    next_offset: int


class Start(NamedTuple):
    """`missed`: how many offsets before it the group never read, and nobody ever will."""

    offset: int
    cause: Cause
    missed: int = 0


class StartRefused(Exception):
    """Reading can't go on from where the group was; the message says what to do."""


def starting_point(group: str, tp: TP, committed: int | None, kept: Kept | None, log: LogRange) -> Start:
    """Raises StartRefused."""
    if kept is not None and kept.topic_id != log.topic_id:
        return Start(log.first, Cause.RECREATED)
    if committed is not None:
        is_set_back = kept is not None and committed < kept.next_offset
        known, cause = committed, Cause.SET_BACK if is_set_back else Cause.COMMITTED
    elif kept is not None:
        known, cause = kept.next_offset, Cause.KEPT
    else:
        return Start(log.first, Cause.NOTHING_KNOWN)
    if known > log.end:
        raise StartRefused(
            f"{group} has handled {tp.topic}[{tp.partition}] up to offset {known}, but the log ends at {log.end}: "
            f"records that were confirmed are gone. Restore the topic. Or go on without them: stop every process of "
            f"the group, then kafka-consumer-groups --group {group} --topic {tp.topic}:{tp.partition} "
            f"--reset-offsets --to-latest --execute (for projection: atlas rebuild)."
        )
    return Start(max(known, log.first), cause, max(0, log.first - known))
