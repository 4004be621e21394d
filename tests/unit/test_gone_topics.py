"""When a topic counts as gone: not because one broker knows nothing of it."""

import pytest
from confluent_kafka import KafkaException

from operations.gone_topics import believed


@pytest.mark.parametrize(
    ("unknown_to", "gone"),
    [
        ([True], True),
        ([True, True, True], True),
        ([True, True, None], True),  # one is down
        ([True, False, True], False),  # two are behind
        ([True, True, False], False),
        ([None, None, False], False),
        ([True, None, None], None),
        ([True, None], None),
        ([None], None),
    ],
)
def test_what_the_brokers_come_to(unknown_to: list[bool | None], gone: bool | None) -> None:
    if gone is not None:
        assert believed(unknown_to) is gone
        return
    with pytest.raises(KafkaException, match="too few brokers"):
        believed(unknown_to)
