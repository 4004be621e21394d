"""What callers carry for us: nobody reads it, makes it up or uses it for something else."""

import struct

import pytest

from domain.security.encrypted_tokens import Cover

KEY = bytes(range(32))
PLACE = struct.pack(">Iq", 3, 1_234_567)


@pytest.mark.requirement("S8")
def test_what_was_covered_is_opened_for_its_own_use_alone() -> None:
    cover = Cover(KEY, "position")
    covered = cover.close(b"ws_1/live", PLACE)
    assert cover.open(b"ws_1/live", covered) == PLACE
    assert cover.close(b"ws_1/live", PLACE) == covered
    for other, bound_to in (
        (cover, b"ws_2/live"),
        (cover, b"ws_1/test"),
        (cover, b""),
        (Cover(KEY, "cursor"), b"ws_1/live"),
        (Cover(bytes(32), "position"), b"ws_1/live"),
    ):
        assert other.open(bound_to, covered) is None


@pytest.mark.requirement("A7", "S8")
def test_it_shows_nothing_of_what_it_covers() -> None:
    """Neither two places that follow one another nor one place for two tenants look alike."""
    cover = Cover(KEY, "position")
    places = [cover.close(bound_to, struct.pack(">Iq", 0, n)) for bound_to in (b"a", b"b") for n in range(200)]
    assert len({place[16:] for place in places}) == len(places)
    assert len({place[:4] for place in places}) == len(places)


def test_anything_else_is_not_ours() -> None:
    cover = Cover(KEY, "position")
    covered = cover.close(b"a", PLACE)
    changed = [bytes([*covered[:n], covered[n] ^ 1, *covered[n + 1 :]]) for n in range(len(covered))]
    for one in (b"", b"x", covered[:-1], covered + b"x", bytes(40), *changed):
        assert cover.open(b"a", one) is None
