"""Pages of the spine's events of one org, newest first, with how many there are; and the chain of a correlation id.

`total` is exact up to TOTAL_MAX and counts no further. Patterns of types are matched against the types that the org
has, which an index names in a step each, so the database is asked for whole types and a wildcard never reaches it; an
org with more types than that is searched by LIKE, escaped. Every value is a bound parameter (S9).
What leads: the correlation id, else the source, else few types, else the stream's own order.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, text

from domain.entities.patterns import ANY, PatternTrie
from domain.events.spine_events import SOURCE_TERM, STREAM
from schemas.ids import EVENT as EVENT_PREFIX
from schemas.ids import ULID_TIME_MS_MAX, ulid
from schemas.read_model import scope_of, term_of

TOTAL_MAX = 10_000
OFFSET_MAX = TOTAL_MAX
CHAIN_MAX = 1_000
TYPES_LISTED_MAX = 1_000
TYPES_LED_MAX = 20
SKEW_MS = 300_000
"""By how much a gateway's clock may differ from the log's: ids hold the one, `received_ms` the other."""
COLUMNS = ("id", "type", "received_ms", "occurred_at", "actor", "metadata", "routes", "data_bytes")
SOURCE_COLUMNS = ("source_topic", "source_partition", "source_offset")
CORRELATION = "correlationId"


class SpineFilter(msgspec.Struct, frozen=True):
    """`patterns` empty: every type. Times by when Atlas took the event: from inclusive, to exclusive."""

    patterns: tuple[str, ...] = ()
    source: str | None = None
    correlation_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class SpinePage(NamedTuple):
    """Rows have COLUMNS and SOURCE_COLUMNS."""

    rows: list[Row[Any]]
    total: int


def spine_page(
    connection: Connection, workspace: str, environment: str, chosen: SpineFilter, offset: int, limit: int
) -> SpinePage:
    query = _SpineQuery(connection, workspace, environment, chosen)
    if not query.can_match:
        return SpinePage([], 0)
    return SpinePage(query.rows(offset, limit), query.total())


def spine_chain(connection: Connection, workspace: str, environment: str, correlation_id: str) -> list[Row[Any]]:
    """The newest CHAIN_MAX events with this correlation id, oldest first."""
    query = _SpineQuery(connection, workspace, environment, SpineFilter(correlation_id=correlation_id))
    return query.rows(0, CHAIN_MAX)[::-1]


def spine_since(
    connection: Connection, workspace: str, environment: str, received_ms: int, limit: int
) -> list[Row[Any]]:
    """The oldest events that were received then or later."""
    own = {"scope": scope_of(workspace, environment), "workspace": workspace, "environment": environment}
    return list(connection.execute(_SINCE, own | {"stream": STREAM, "received_ms": received_ms, "limit": limit}).all())


class _SpineQuery:
    def __init__(self, connection: Connection, workspace: str, environment: str, chosen: SpineFilter) -> None:
        self._connection = connection
        own = {"scope": scope_of(workspace, environment), "workspace": workspace, "environment": environment}
        self._values: dict[str, object] = {**own, "stream": STREAM}
        self._conditions = ["e.scope = :scope", "e.workspace = :workspace", "e.environment = :environment"]
        self._conditions.append("e.stream = :stream")
        self._tables = ["events AS e"]
        self._types: list[str] | None = None
        terms = ((CORRELATION, chosen.correlation_id), (SOURCE_TERM, chosen.source))
        given = [term_of(workspace, environment, key, value) for key, value in terms if value is not None]
        self._lead = self._add_terms(given)
        self._add_times(chosen)
        self._add_patterns(chosen.patterns)

    @property
    def can_match(self) -> bool:
        return self._types is None or bool(self._types)

    def rows(self, offset: int, limit: int) -> list[Row[Any]]:
        """Newest first. Few types are each asked for their own newest, so that none is searched among the others."""
        values = {"limit": limit, "offset": offset, "each": offset + limit}
        names = ", ".join(f"e.{name}" for name in (*COLUMNS, *SOURCE_COLUMNS))
        order = f"ORDER BY {self._lead}.received_ms DESC, {self._lead}.id DESC"
        if self._lead == "e" and self._types is not None and 1 < len(self._types) <= TYPES_LED_MAX:
            parts = [
                f"SELECT * FROM ({self._select(names, f'e.type = :type{index}')} {order} LIMIT :each) AS p{index}"
                for index in range(len(self._types))
            ]
            statement = f"{' UNION ALL '.join(parts)} ORDER BY received_ms DESC, id DESC LIMIT :limit OFFSET :offset"
        else:
            statement = f"{self._select(names, self._among_types())} {order} LIMIT :limit OFFSET :offset"
        return list(self._connection.execute(text(statement), self._values | values).all())

    def total(self) -> int:
        """Not counted beyond TOTAL_MAX."""
        counted = f"SELECT count(*) FROM ({self._select('1', self._among_types())} LIMIT {TOTAL_MAX:d}) AS c"
        return int(self._connection.execute(text(counted), self._values).scalar_one())

    def _select(self, names: str, condition: str) -> str:
        conditions = [*self._conditions, condition] if condition else self._conditions
        return f"SELECT {names} FROM {' CROSS JOIN '.join(self._tables)} WHERE {' AND '.join(conditions)}"

    def _add_terms(self, terms: Sequence[int]) -> str:
        """Joined by the metadata's own index, the first of them leading; which table leads."""
        for index, term in enumerate(terms):
            m = f"m{index}"
            self._values[f"term{index}"] = term
            self._conditions += [f"{m}.term = :term{index}", f"{m}.received_ms = e.received_ms", f"{m}.id = e.id"]
        if not terms:
            return "e"
        others = [f"events_metadata AS m{index}" for index in range(1, len(terms))]
        self._tables = ["events_metadata AS m0", "events AS e", *others]
        return "m0"

    def _add_times(self, chosen: SpineFilter) -> None:
        """By the time in the id; the index is by receipt."""
        if chosen.from_ms is not None:
            self._conditions += [f"{self._lead}.received_ms >= :from_ms", "e.id >= :from_id"]
            self._values |= {"from_ms": chosen.from_ms - SKEW_MS, "from_id": _first_id(chosen.from_ms)}
        if chosen.to_ms is not None:
            self._conditions += [f"{self._lead}.received_ms < :to_ms", "e.id < :to_id"]
            self._values |= {"to_ms": chosen.to_ms + SKEW_MS, "to_id": _first_id(chosen.to_ms)}

    def _add_patterns(self, patterns: Iterable[str]) -> None:
        patterns = [pattern for pattern in patterns if pattern != ANY]
        if not patterns:
            return
        if all(ANY not in pattern.split(".") for pattern in patterns):
            self._name_types(sorted(set(patterns)))
            return
        known = self._known_types()
        if len(known) <= TYPES_LISTED_MAX:
            trie = PatternTrie((pattern, "") for pattern in patterns)
            self._name_types([kind for kind in known if trie.match(kind)])
            return
        likes = [f"e.type LIKE :like{index} ESCAPE '!'" for index in range(len(patterns))]
        self._values |= {f"like{index}": _like(pattern) for index, pattern in enumerate(patterns)}
        self._conditions.append(f"({' OR '.join(likes)})")

    def _name_types(self, types: list[str]) -> None:
        self._types = types
        self._values |= {f"type{index}": kind for index, kind in enumerate(types)}

    def _among_types(self) -> str:
        if self._types is None:
            return ""
        return f"e.type IN ({', '.join(f':type{index}' for index in range(len(self._types)))})"

    def _known_types(self) -> list[str]:
        """The org's, one step in the index each."""
        return [row.type for row in self._connection.execute(_TYPES, self._values) if row.type is not None]


def _first_id(time_ms: int) -> str:
    """The least id of an event of that time."""
    return EVENT_PREFIX + ulid(min(max(time_ms, 0), ULID_TIME_MS_MAX), bytes(10))


def _like(pattern: str) -> str:
    """One or more segments are one or more characters: a type has no empty segment."""
    segments = ("_%" if part == ANY else _escaped(part) for part in pattern.split("."))
    return ".".join(segments)


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


_SINCE = text(
    f"SELECT {', '.join(f'e.{name}' for name in (*COLUMNS, *SOURCE_COLUMNS))} FROM events AS e"
    " WHERE e.scope = :scope AND e.workspace = :workspace AND e.environment = :environment AND e.stream = :stream"
    " AND e.received_ms >= :received_ms ORDER BY e.received_ms, e.id LIMIT :limit"
)
_OWN = "scope = :scope"
_TYPES = text(
    f"WITH RECURSIVE kinds(type) AS (SELECT min(type) FROM events WHERE {_OWN}"
    f" UNION ALL SELECT (SELECT min(e.type) FROM events AS e WHERE {_OWN} AND e.type > kinds.type)"
    f" FROM kinds WHERE kinds.type IS NOT NULL) SELECT type FROM kinds LIMIT {TYPES_LISTED_MAX + 2:d}"
)
