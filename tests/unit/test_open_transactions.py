"""Records behind an open transaction: how many, and since when the last stable offset has not moved."""

from faust.types import TP

from processors.runtime.open_transactions import OpenTransaction, open_transactions

A, B = TP("events.a", 0), TP("events.b", 1)


def test_what_is_held_back_and_since_when() -> None:
    looks = [
        ("nothing behind the end", {A: (5, 5)}, {}),
        ("seen for the first time", {A: (5, 9), B: (2, 2)}, {A: OpenTransaction(4, 5, 1.0)}),
        ("more comes behind it", {A: (5, 12)}, {A: OpenTransaction(7, 5, 1.0)}),
        ("it ended, and the next was open already", {A: (9, 12)}, {A: OpenTransaction(3, 9, 3.0)}),
        ("all of it can be read", {A: (12, 12)}, {}),
    ]
    before: dict[TP, OpenTransaction] = {}
    for number, (story, ends, expected) in enumerate(looks):
        before = open_transactions(ends, before, float(number))
        assert before == expected, story
