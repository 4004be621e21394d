"""Reads thousands of Avro records of one schema at once, field by field with numpy: a quarter of avro_reader's time.

All values are joined into one array of bytes. For each field, begin and end are computed for all records together, and
texts are cut out of the array. It reads the usual records and says which they are: `regular` are those whose strings
are ASCII without NUL, whose lengths fit in three bytes, and whose arrays have up to 16 items. avro_reader reads the
others one by one. Tests hold both to the same values.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
Marks = np.ndarray[tuple[int], np.dtype[np.bool_]]

ROOM = b"\x00" * 16  # so that reading a number behind the last record's end stays within the array
LENGTH_BYTES_MAX = 3
LONG_BYTES_MAX = 9
ITEMS_MAX = 16
NULL, PRESENT = 0, 2


class FieldSpans(NamedTuple):
    """Of one field in each record: where it starts, where what it holds begins (-1: it is null), and where it ends."""

    start: Numbers
    begin: Numbers
    end: Numbers


class Columns:
    """The fields of the records that are `regular` (their indexes among all, ascending), each a list in that order."""

    def __init__(
        self, whole: bytes, spans: dict[str, FieldSpans], numbers: dict[str, Numbers], regular: Numbers
    ) -> None:
        self._whole, self._text = whole, whole.decode("latin-1")
        self._spans, self._numbers, self._regular = spans, numbers, regular
        self.regular: list[int] = regular.tolist()
        self._cut: dict[str, list[str]] = {}  # some are asked for twice

    def __len__(self) -> int:
        return len(self.regular)

    def only(self, chosen: Sequence[bool]) -> "Columns":
        """Those of the regular ones that are chosen."""
        return Columns(self._whole, self._spans, self._numbers, self._regular[np.array(chosen, np.bool_)])

    def texts(self, name: str) -> list[str]:
        """Of a string."""
        if name not in self._cut:
            text, (_, begins, ends) = self._text, self._spans[name]
            self._cut[name] = [text[begin:end] for begin, end in self._each(begins, ends)]
        return self._cut[name]

    def encoded(self, first: str, last: str) -> list[str]:
        """From one field to the end of another, as their bytes are in the records, as Latin-1."""
        name = f"{first}-{last}"
        if name not in self._cut:
            text, starts, ends = self._text, self._spans[first].start, self._spans[last].end
            self._cut[name] = [text[start:end] for start, end in self._each(starts, ends)]
        return self._cut[name]

    def maybe_texts(self, name: str) -> list[str | None]:
        """Of a string or null."""
        text, (_, begins, ends) = self._text, self._spans[name]
        return [None if begin < 0 else text[begin:end] for begin, end in self._each(begins, ends)]

    def maybe_bytes(self, name: str) -> list[bytes | None]:
        whole, (_, begins, ends) = self._whole, self._spans[name]
        return [None if begin < 0 else whole[begin:end] for begin, end in self._each(begins, ends)]

    def numbers(self, name: str) -> list[int]:
        """Of an int, long or boolean (0, 1)."""
        found: list[int] = self._numbers[name][self._regular].tolist()
        return found

    def maybe_numbers(self, name: str) -> list[int | None]:
        there = (self._spans[name].begin[self._regular] >= 0).tolist()
        return [number if present else None for number, present in zip(self.numbers(name), there, strict=True)]

    def all_null(self, *names: str) -> bool:
        """Whether none of these records has any of these fields."""
        return not any((self._spans[name].begin[self._regular] >= 0).any() for name in names)

    def _each(self, starts: Numbers, ends: Numbers) -> Iterable[tuple[int, int]]:
        return zip(starts[self._regular].tolist(), ends[self._regular].tolist(), strict=True)


class ColumnReader:
    """Of one record schema, as parsed JSON; the types that avro_reader knows."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._kinds = [(field["name"], *_kind(field["type"])) for field in schema["fields"]]

    @classmethod
    def of_text(cls, schema: str) -> "ColumnReader":
        return cls(json.loads(schema))

    def read(self, values: Sequence[bytes | None], prefix: bytes) -> Columns:
        """Those of the values that begin with `prefix` and are one record behind it."""
        whole = b"".join([value for value in values if value]) + ROOM
        lengths = np.fromiter([len(value) if value else 0 for value in values], np.int64, len(values))
        ends = np.cumsum(lengths)
        walk = _Walk(np.frombuffer(whole, np.uint8), ends - lengths, ends)
        walk.skip(prefix)
        spans: dict[str, FieldSpans] = {}
        numbers: dict[str, Numbers] = {}
        for name, kind, or_null in self._kinds:
            start = walk.at
            there = walk.present() if or_null else None
            begin = walk.at
            if kind in ("string", "bytes"):
                begin = walk.sized(there, plain=kind == "string")
            elif kind == "array":
                walk.strings()
            elif kind == "boolean":
                numbers[name] = walk.boolean()
            else:
                numbers[name] = walk.long(there)
            spans[name] = FieldSpans(start, begin if there is None else np.where(there, begin, -1), walk.at)
        return Columns(whole, spans, numbers, walk.done())


class _Walk:
    """Goes through all records at once. `at`: where each has come to; `fine`: those that are regular so far."""

    def __init__(self, data: np.ndarray[tuple[int], np.dtype[np.uint8]], begins: Numbers, ends: Numbers) -> None:
        self._data = data
        self._ends = ends
        self._last = len(data) - len(ROOM)
        odd = (data >= 128) | (data == 0)
        self._odd_before = np.concatenate((np.zeros(1, np.int32), np.cumsum(odd, dtype=np.int32)))
        self.at = begins
        self.fine: Marks = ends > begins

    def skip(self, prefix: bytes) -> None:
        width = len(prefix)
        self._to(self.at)
        found = self._data[np.minimum(self.at, self._last)[:, None] + np.arange(width)]
        self.fine &= (found == np.frombuffer(prefix, np.uint8)).all(axis=1)
        self._to(self.at + width)

    def present(self) -> Marks:
        branch = self._data[self.at]
        there: Marks = branch == PRESENT
        self.fine &= there | (branch == NULL)
        self._to(self.at + 1)
        return there

    def boolean(self) -> Numbers:
        found: Numbers = (self._data[self.at] != 0).astype(np.int64)
        self._to(self.at + 1)
        return found

    def long(self, there: Marks | None = None) -> Numbers:
        """Up to nine bytes, which are 63 bits; a longer one is not regular."""
        raw, width, more = self._varint(there, LONG_BYTES_MAX)
        self.fine &= ~more
        if there is not None:
            width = np.where(there, width, 0)
        self._to(self.at + width)
        return (raw >> 1) ^ -(raw & 1)

    def sized(self, there: Marks | None = None, *, plain: bool) -> Numbers:
        """A string or bytes; where what it holds begins. `plain`: it must be ASCII without NUL."""
        begin, length = self._length(there)
        self._to(begin + length)
        if plain:
            self.fine &= self._odd_before[self.at] == self._odd_before[np.minimum(begin, self.at)]
        return begin

    def strings(self) -> None:
        """An array of strings: no item, or one block of some."""
        count = self._data[self.at].astype(np.int64)
        self.fine &= (count & 1 == 0) & (count <= 2 * ITEMS_MAX)
        left = np.where(self.fine, count >> 1, 0)
        some = left > 0
        self._to(self.at + 1)
        while (there := left > 0).any():
            self.sized(there, plain=True)
            left -= there
        self.fine &= ~some | (self._data[self.at] == 0)
        self._to(self.at + some)

    def done(self) -> Numbers:
        """The indexes of the regular ones."""
        return np.flatnonzero(self.fine & (self.at == self._ends))

    def _length(self, there: Marks | None) -> tuple[Numbers, Numbers]:
        """Where the bytes begin, and how many they are."""
        raw, width, more = self._varint(there, LENGTH_BYTES_MAX)
        odd = more | (raw & 1 == 1)  # too long, or negative
        length = np.where(odd, 0, raw >> 1)
        if there is None:
            self.fine &= ~odd
            return self.at + width, length
        self.fine &= ~(odd & there)
        return self.at + np.where(there, width, 0), np.where(there, length, 0)

    def _varint(self, there: Marks | None, bytes_max: int) -> tuple[Numbers, Numbers, Marks]:
        """The number before it is unfolded, its width in bytes, and where it goes on behind `bytes_max` of them."""
        byte = self._data[self.at].astype(np.int64)
        raw = byte & 127
        more: Marks = byte > 127 if there is None else (byte > 127) & there
        width = np.ones_like(raw)
        for place in range(1, bytes_max):
            if not more.any():
                break
            byte = self._data[self.at + place].astype(np.int64)
            raw = np.where(more, raw | (byte & 127) << 7 * place, raw)
            width += more
            more &= byte > 127
        return raw, width, more

    def _to(self, at: Numbers) -> None:
        """On; never behind the last record, whatever the bytes say. A record that was left is not regular."""
        self.fine &= at <= self._ends
        self.at = np.minimum(at, self._last)


def _kind(of: Any) -> tuple[str, bool]:
    if isinstance(of, dict):
        assert (of["type"], of["items"]) == ("array", "string"), "no other arrays"
        return "array", False
    if isinstance(of, str):
        return of, False
    null, other = of
    assert null == "null", "null comes first"
    return other, True
