"""What one look for a record in a range of offsets says of another range."""

import pytest

from ingest_gateway.log.stream_ends import _Seen

NOTHING, RECORD_AT_7 = _Seen(3, 10, None), _Seen(3, 10, 7)


@pytest.mark.parametrize(
    ("seen", "asked", "says"),
    [
        (NOTHING, (3, 10), False),
        (NOTHING, (5, 9), False),
        (NOTHING, (3, 11), None),
        (NOTHING, (2, 10), None),
        (RECORD_AT_7, (3, 10), True),
        (RECORD_AT_7, (3, 99), True),
        (RECORD_AT_7, (7, 8), True),
        (RECORD_AT_7, (3, 7), False),
        (RECORD_AT_7, (8, 10), None),
        (RECORD_AT_7, (0, 10), None),
    ],
)
def test_whether_there_is_a_record(seen: _Seen, asked: tuple[int, int], says: bool | None) -> None:
    assert seen.says(asked) is says
