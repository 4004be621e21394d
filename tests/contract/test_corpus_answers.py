"""What the APIs answered when the corpus was recorded (tests/corpus), they answer today, but for words to people."""

from collections import defaultdict

import pytest

from tests.corpus import answers
from tests.support.access import Contract

SURFACES = ("events", "work", "spine", "burn")
NOT_HERE = {
    ("spine", "stream_events"): "its good answer does not end",
    (
        "work",
        "replay_webhook_delivery",
    ): "it reads from a broker; tests/corpus/story does it",
}


async def test_what_was_asked_is_answered_as_it_was() -> None:
    wrong = []
    bound = answers.Bound()
    async with answers.client() as client:
        for number, wanted in enumerate(answers.recorded()):
            asked = bound.filled(wanted.asked)
            differences = bound.differences(wanted, await client.ask(asked))
            wrong += [f"{number}: {asked.surface} {asked.method} {asked.path}\n   {one}" for one in differences]
    assert not wrong, "\n".join(wrong[:20]) + f"\n{len(wrong)} in all"


def test_every_operation_is_in_it_with_success_and_with_errors() -> None:
    statuses: dict[tuple[str, str], set[int]] = defaultdict(set)
    for one in answers.recorded():
        statuses[one.asked.surface, one.operation].add(one.status)
    operations = {(surface, one.name) for surface in SURFACES for one in Contract(surface).operations}
    good = {place for place, seen in statuses.items() if min(seen) < 300}
    bad = {place for place, seen in statuses.items() if max(seen) >= 400}
    assert operations - good == NOT_HERE.keys()
    assert operations - bad == set()


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ('{"id":"‹0›"}', '{"id":"evt_1"}', True),
        ('{"id":"‹0›","of":"‹0›"}', '{"id":"evt_1","of":"evt_2"}', False),
        ('{"id":"‹0›","n":1}', '{"id":"evt_1","n":2}', False),
        ('{"id":"‹0›"}', '{"id": "evt_1"}', False),
    ],
)
def test_a_difference_is_found(wanted: str, found: str, same: bool) -> None:
    asked = answers.Asked("events", "GET", "/")
    before, after = (answers.Exchange("", asked, 200, {}, body) for body in (wanted, found))
    assert (not answers.Bound().differences(before, after)) is same
