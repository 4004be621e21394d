"""What a batch changes in the read model, and the forms that text takes in it.

Text goes in as it came, but for NUL, which PostgreSQL can't hold in text: it is shown as U+FFFD (F51).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Table

from schemas.codec import Undecodable
from schemas.read_model import LogPosition, SourcePosition

KEY_CHARACTERS_MAX = 255  # far above any id of ours; PostgreSQL's index rows end at 2,704 bytes
Row = tuple[Any, ...]


class ProjectedRecord(Protocol):
    """What projection reads of a Kafka record. Not merged with LogRecord, which fits it: a rebuild reads millions of
    records (log_batches.LogRead) and leaves out their headers.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class UnreadableRecord(NamedTuple):
    record: ProjectedRecord
    why: str


class Gone(NamedTuple):
    """The row with this key leaves, unless one that is newer than `newest` (in the column `newer_by`) is there."""

    key: Row
    newest: int


@dataclass
class Changes:
    """What one batch of one partition changes. `sources` go into the table of their name."""

    position: LogPosition
    rows: dict[Table, list[Row]] = field(default_factory=lambda: defaultdict(list))
    gone: dict[Table, list[Gone]] = field(default_factory=lambda: defaultdict(list))
    sources: dict[tuple[str, int], SourcePosition] = field(default_factory=dict)
    unreadable: list[UnreadableRecord] = field(default_factory=list)


Projector = Callable[[Changes, Sequence[ProjectedRecord]], None]
"""Adds what these records (one partition's, in order) change; `unreadable` names each record that it can't read."""


def each(apply: Callable[[Changes, ProjectedRecord], None]) -> Projector:
    """A projector from what one record changes. It raises Undecodable, ValueError or TypeError for an unreadable one,
    before it changes anything.
    """

    def projector(changes: Changes, records: Sequence[ProjectedRecord]) -> None:
        for record in records:
            try:
                apply(changes, record)
            except (Undecodable, ValueError, TypeError) as error:
                changes.unreadable.append(UnreadableRecord(record, str(error)))

    return projector


def key_text(text: str) -> str:
    """An id, a part of a key. Raises ValueError."""
    if not 0 < len(text) <= KEY_CHARACTERS_MAX:
        raise ValueError(f"an id has {len(text)} characters; 1 to {KEY_CHARACTERS_MAX} are possible")
    return plain_text(text)


def plain_text(text: str) -> str:
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def json_text(document: bytes | None) -> str | None:
    return None if document is None else plain_text(document.decode("utf-8", "replace"))
