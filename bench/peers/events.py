"""What every gateway is sent: events of 295 bytes, no two alike, and how requests hold them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STREAM = "orders"
PLACES = (1_000, 10_000_000_000, 100_000)
"""An event's number is written in three places: as milliseconds, an order's id and a customer's."""
_EVENT = (
    '{"stream":"@stream@","type":"order.created","occurred_at":"@second@.%03dZ","data":{"order_id":"ord_@run@_%010d",'
    '"amount_cents":1999,"currency":"EUR","customer":"usr_%05d","items":[{"sku":"BK-1042","qty":1},'
    '{"sku":"BK-77","qty":2}],"note":"leave it with the neighbours, please"}}'
)


def event_format(run: str, second: str) -> str:
    """For Lua's `string.format` and for `%`. `run`: what no other run is called; `second`: as 2026-12-01T12:00:00."""
    return _EVENT.replace("@stream@", STREAM).replace("@run@", run).replace("@second@", second)


def event(template: str, number: int) -> bytes:
    """One event of an `event_format`, as load.lua writes it."""
    return (template % tuple(number % place for place in PLACES)).encode()


@dataclass(frozen=True)
class Wrapping:
    """What stands before, between and behind a request's events."""

    opens: str = ""
    parts: str = ""
    closes: str = ""
    content_type: str = "application/json"


ALONE = Wrapping()
ARRAY = Wrapping("[", ",", "]")
MEMBER = Wrapping('{"events":[', ",", "]}")
LINES = Wrapping("", "\n", "\n", "application/x-ndjson")


@dataclass(frozen=True)
class Shape:
    """A way to send events: `size` in each request, over `connections` at once; `keyed`: with an Idempotency-Key."""

    name: str
    title: str
    size: int
    connections: int
    lines: bool = False
    keyed: bool = False


SINGLE = Shape("single", "single events, no key", 1, 64)
KEYED = Shape("keyed", "single events with an Idempotency-Key, the whole machine", 1, 64, keyed=True)
BATCHES = tuple(Shape(f"batch-{size}", f"batches of {size:,} (JSON)", size, 16) for size in (100, 500, 1_000))
NDJSON = Shape("ndjson", "NDJSON, requests of 10,000 events", 10_000, 4, lines=True)
HALF, REST = "half", "rest"
PARTS = {
    REST: "at rest",
    SINGLE.name: SINGLE.title,
    HALF: "single events at half of each gateway's own maximum rate (open loop)",
    **{shape.name: shape.title for shape in (*BATCHES, NDJSON, KEYED)},
}
"""Everything that is measured, in its order, with the title of its table."""


@dataclass(frozen=True)
class Target:
    """Where a gateway takes events, and what it wants them in."""

    single_url: str
    batch_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    batch: Wrapping = ARRAY

    def url(self, shape: Shape) -> str:
        return self.single_url if shape.size == 1 else self.batch_url

    def wrapping(self, shape: Shape) -> Wrapping:
        if shape.lines:
            return LINES
        return ALONE if shape.size == 1 else self.batch
