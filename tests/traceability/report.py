"""`python -m tests.traceability.report`: which rows of docs/requirements.md are shown, and which are not yet.

It reads the record of the last run of each test (`.cache/requirements.json`); with `--static` it reads the tests'
source instead and says which rows carry a marker, whatever the tests come to. `--brief` prints the totals alone.
A result whose test no longer stands in the source is left out.
Exit status 1 when a marked test failed, 2 when there is no record to read.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tests.traceability.catalogue import Catalogue, Row, read_catalogue
from tests.traceability.markers import scan_tests
from tests.traceability.results import Result, function_of, load_results

TEXT_WIDTH = 96


@dataclass(frozen=True)
class Standing:
    """How many tests of a row passed, failed and were skipped; `static` counts markers that were only read."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    static: int = 0

    @property
    def shown(self) -> bool:
        return (self.passed > 0 and self.failed == 0) or self.static > 0

    def __str__(self) -> str:
        counts = (
            ("passing", self.passed),
            ("FAILING", self.failed),
            ("skipped", self.skipped),
            ("marked", self.static),
        )
        return ", ".join(f"{count} {word}" for word, count in counts if count)


def standings_of_run(results: dict[str, Result], places: dict[str, set[str]]) -> dict[str, Standing]:
    """Standing by id from recorded results, without those of tests that are gone."""
    counts: dict[str, Counter[str]] = {}
    names = {place.rsplit("::", 1)[-1] for place in places}  # by name: a suite's tests run under other classes' names
    for node, result in results.items():
        file, _, test = function_of(node).partition("::")
        if file in places and test.rsplit("::", 1)[-1] in names:
            for row_id in result.requirements:
                counts.setdefault(row_id, Counter())[result.outcome] += 1
    return {row_id: Standing(count["passed"], count["failed"], count["skipped"]) for row_id, count in counts.items()}


def standings_of_source(places: dict[str, set[str]]) -> dict[str, Standing]:
    """Standing by id from the markers in the source."""
    counts = Counter(row_id for ids in places.values() for row_id in ids)
    return {row_id: Standing(static=count) for row_id, count in counts.items()}


def is_shown(row: Row, catalogue: Catalogue, standings: dict[str, Standing]) -> bool:
    """By a test of its own, or, for a `with` row, when each row it names is shown."""
    own = standings.get(row.id)
    if own is not None:
        return own.shown
    return bool(row.with_ids) and all(is_shown(catalogue.rows[other], catalogue, standings) for other in row.with_ids)


def lines(catalogue: Catalogue, standings: dict[str, Standing], brief: bool = False) -> Iterable[str]:
    """The report, document by document, then the totals."""
    totals: list[str] = []
    word = "marked" if any(standing.static for standing in standings.values()) else "shown"  # read, or run
    for document, rows in catalogue.documents().items():
        prose = [row for row in rows if row.prose_reason and row.id not in standings]
        shown = [row for row in rows if is_shown(row, catalogue, standings)]
        left = [row for row in rows if row not in shown and row not in prose]
        totals.append(f"{document:<42} {len(shown):>4} {word} {len(left):>4} not yet {len(prose):>4} prose")
        if brief:
            continue
        yield f"\n{document}: {len(shown)} {word}, {len(left)} not yet, {len(prose)} prose"
        yield from (f"  {word:<8} {row.id:<6} {_clip(row)}  ({_by(row, standings)})" for row in shown)
        yield from (f"  not yet  {row.id:<6} {_clip(row)}{_why(row, standings)}" for row in left)
        yield from (f"  prose    {row.id:<6} {row.prose_reason}" for row in prose)
    yield ""
    yield from totals


def failing(standings: dict[str, Standing]) -> list[str]:
    return sorted(row_id for row_id, standing in standings.items() if standing.failed)


def _clip(row: Row) -> str:
    return row.statement if len(row.statement) <= TEXT_WIDTH else row.statement[: TEXT_WIDTH - 1] + "…"


def _by(row: Row, standings: dict[str, Standing]) -> str:
    return str(standings[row.id]) if row.id in standings else "with " + ", ".join(row.with_ids)


def _why(row: Row, standings: dict[str, Standing]) -> str:
    return f"  ({standings[row.id]})" if row.id in standings else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.traceability.report", description=__doc__)
    parser.add_argument("--static", action="store_true", help="read the markers in the source, not the last run")
    parser.add_argument("--brief", action="store_true", help="print the totals alone")
    options = parser.parse_args(arguments)
    places = scan_tests()
    results = load_results()
    if not options.static and not results:
        print("No recorded run: start the tests first (make test), or ask for --static.", file=sys.stderr)
        return 2
    standings = standings_of_source(places) if options.static else standings_of_run(results, places)
    print("\n".join(lines(read_catalogue(), standings, options.brief)))
    if failed := failing(standings):
        print(f"\nFailing tests stand at: {', '.join(failed)}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
