"""Reads docs/requirements.md: every row with its id, its statement and how it is shown.

A row is a table line whose first cell is an id (`A-001`, `H4`). Its last cell says how it is shown: `test`,
`prose: <reason>`, or `with <ids>` (shown when those rows are). Whatever else stands on the page is text for people.
Raises CatalogueInvalid, naming the line, for a row that says none of these, an id met twice, or a `with`
that leads nowhere.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS_PATH = ROOT / "docs" / "requirements.md"

_ROW_ID = re.compile(r"[A-Z]-?[0-9]+")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


class CatalogueInvalid(Exception):
    """docs/requirements.md can't be read; the message names the line and what is wrong with it."""


@dataclass(frozen=True)
class Row:
    """One statement. `prose_reason` says why no test can show it; `with_ids` names the rows that show it together."""

    id: str
    document: str
    statement: str
    prose_reason: str | None = None
    with_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """All rows by id, in the page's order."""

    rows: dict[str, Row]

    def documents(self) -> dict[str, list[Row]]:
        """Rows by the heading they stand under."""
        grouped: dict[str, list[Row]] = {}
        for row in self.rows.values():
            grouped.setdefault(row.document, []).append(row)
        return grouped

    def unknown(self, ids: set[str]) -> list[str]:
        return sorted(ids - self.rows.keys())


def read_catalogue(path: Path = REQUIREMENTS_PATH) -> Catalogue:
    return parse_catalogue(path.read_text(encoding="utf-8"))


def parse_catalogue(text: str) -> Catalogue:
    """The rows of a page in Markdown. Raises CatalogueInvalid."""
    rows: dict[str, Row] = {}
    document = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("## "):
            document = line.removeprefix("## ").strip()
        row = _row(line, number, document)
        if row is None:
            continue
        if row.id in rows:
            raise CatalogueInvalid(f"line {number}: {row.id} stands twice")
        rows[row.id] = row
    for row in rows.values():
        if missing := [other for other in row.with_ids if other not in rows]:
            raise CatalogueInvalid(f"{row.id} is shown with {', '.join(missing)}, which stands nowhere")
    return Catalogue(rows)


def _row(line: str, number: int, document: str) -> Row | None:
    if not line.startswith("|"):
        return None
    cells = [cell.strip() for cell in _CELL_BORDER.split(line)[1:-1]]
    if not cells or not _ROW_ID.fullmatch(cells[0]):
        return None
    if len(cells) < 3 or not all(cells):
        raise CatalogueInvalid(f"line {number}: {cells[0]} lacks a cell")
    row_id, *statement, shown_by = cells
    prose_reason: str | None = None
    with_ids: tuple[str, ...] = ()
    if shown_by.startswith("prose: "):
        prose_reason = shown_by.removeprefix("prose: ").strip()
    elif shown_by.startswith("with "):
        with_ids = tuple(shown_by.removeprefix("with ").split(", "))
    elif shown_by != "test":
        raise CatalogueInvalid(f"line {number}: {row_id} is shown by {shown_by!r}; say test, prose: … or with …")
    return Row(row_id, document, " → ".join(statement), prose_reason, with_ids)
