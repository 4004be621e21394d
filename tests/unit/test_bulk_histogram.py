"""A histogram without locks shows what prometheus_client's own shows for the same observations."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from ingest_gateway.latency import BulkHistogram

BUCKETS = (0.001, 0.5, 1.0, 10.0)


def shown(registry: CollectorRegistry) -> list[bytes]:
    """Without the time at which it was made, which only theirs tells."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 10.0, 16.0]), max_size=20))
def test_it_shows_what_the_usual_one_shows(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    bulk = BulkHistogram("some_seconds", "Some.", buckets=BUCKETS, registry=ours)
    usual = Histogram("some_seconds", "Some.", buckets=BUCKETS, registry=theirs)
    for value in values:
        usual.observe(value)
    bulk.observe_all(values[1:])
    for value in values[:1]:
        bulk.observe(value)
    assert shown(ours) == shown(theirs)
