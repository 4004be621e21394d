"""Durable tables as the rules see them: one partition of a key-value table, its keys in the order of their bytes.

A batch changes a `KeyValueTable` (processors/runtime/table.py: `TableView`). Code that runs alongside batches reads a
`CommittedTable` (`TablePartition`) and can't change it. `MemoryTable` is both, for simulations and tests.
"""

from collections.abc import Iterator
from typing import Protocol


class ReadableTable(Protocol):
    """What both kinds of tables offer."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys with that prefix and their values, ascending."""
        ...


class KeyValueTable(ReadableTable, Protocol):
    """The table within a unit of work: what was committed, with the work's own changes on top."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None:
        """Does nothing where the key is absent."""
        ...


class CommittedTable(ReadableTable, Protocol):
    """What was committed, and nothing else. Not merged with KeyValueTable: a reader outside of a unit of work must not
    change the table, and it can go on in the middle of a scan, which a unit of work with changes of its own can't.
    """

    def scan(self, prefix: bytes, since: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """As above, from the key `since` on."""
        ...


class MemoryTable:
    """Mutable: a table that lasts as long as its process."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.entries[key] = value

    def delete(self, key: bytes) -> None:
        self.entries.pop(key, None)

    def scan(self, prefix: bytes, since: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Of the table as it is now: changes made while it is iterated over do not show."""
        found = sorted(key for key in self.entries if key >= since and key.startswith(prefix))
        return iter([(key, self.entries[key]) for key in found])
