"""A day in the life of an installation: all four APIs, Kafka producers, endpoints that fail, guardrails that trip.

It speaks HTTP, Kafka and the command line only, as users do, so that it says the same to every release. What it makes
is recorded by tests/corpus/installation.py; tests/unit/test_corpus_records.py says which kinds of records are missing.
"""

from tests.corpus.story.burn import burn
from tests.corpus.story.client import Story
from tests.corpus.story.events import events
from tests.corpus.story.kafka_producers import kafka_producers
from tests.corpus.story.spine import spine
from tests.corpus.story.the_end import limits_and_keys, what_comes_by_itself, what_waits
from tests.corpus.story.work import work

PARTS = (events, kafka_producers, spine, work, burn, limits_and_keys, what_waits, what_comes_by_itself)


async def live_a_day(story: Story) -> None:
    for part in PARTS:
        await part(story)
