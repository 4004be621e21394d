"""Projectors that take a batch's records together where they are many (schemas/avro_columns.py).

What is usual is put together in one go; all else is left to the projector that goes record by record, and says the
same of each. Tests hold the two together.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from processors.projection.changes import Changes, ProjectedRecord, Projector, each, json_text
from schemas.avro_columns import ColumnReader, Columns
from schemas.codec import Codec

TOGETHER_MIN = 48
"""Fewer are read faster one by one."""


class ByColumns(NamedTuple):
    """`usual`: which records it takes. `add`: what those change; the records in the order of the columns. Text in the
    columns is ASCII without NUL.
    """

    usual: Callable[[Columns], Sequence[bool]]
    add: Callable[[Changes, Columns, Sequence[ProjectedRecord]], None]


def together(codec: Codec, by_columns: ByColumns, apply: Callable[[Changes, ProjectedRecord], None]) -> Projector:
    one_by_one = each(apply)
    reader = ColumnReader.of_text(codec.schema.text)

    def projector(changes: Changes, records: Sequence[ProjectedRecord]) -> None:
        if len(records) < TOGETHER_MIN:
            one_by_one(changes, records)
            return
        columns = reader.read([record.value for record in records], _prefix(codec, records[0].value))
        usual = by_columns.usual(columns)
        if not all(usual):
            columns = columns.only(usual)
        if len(columns) == len(records):
            by_columns.add(changes, columns, records)
            return
        if len(columns):
            by_columns.add(changes, columns, [records[index] for index in columns.regular])
        taken = set(columns.regular)
        one_by_one(changes, [record for index, record in enumerate(records) if index not in taken])

    return projector


def documents(values: Sequence[bytes | None]) -> Iterable[str | None]:
    """`json_text` of each."""
    joined = b"".join([value for value in values if value])
    if joined.isascii() and b"\x00" not in joined:
        return [None if value is None else value.decode() for value in values]
    return [json_text(value) for value in values]


def _prefix(codec: Codec, first: bytes | None) -> bytes:
    """A batch's records mostly have one; those that have another are read one by one."""
    mark = codec.schema.mark
    return mark if first is None or first.startswith(mark) else codec.prefix
