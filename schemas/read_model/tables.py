"""What all tables of the read model share: one MetaData, and for each table the rules that its rows follow."""

from typing import NamedTuple

from sqlalchemy import MetaData, Table

metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"},
)


class Rules(NamedTuple):
    """`Table(…, info={"rules": Rules(…)})`: how rows of one key follow each other, and when they leave.

    `key`: the columns that tell rows apart, where those aren't the primary key's.
    `newer_by`: the row that is higher in this column stays, of equal ones the one written later; None: the first stays.
    `compacted`: records of its topic may take rows away, so a batch that was applied before is not applied again: what
    a later batch took away would come back.
    `kept_days` after its column `time` (milliseconds; it needs an index) a row leaves; None: not by its own age.
    """

    newer_by: str | None = None
    time: str = ""
    kept_days: int | None = None
    compacted: bool = False
    key: tuple[str, ...] = ()


def key_of(table: Table) -> tuple[str, ...]:
    """The names of the columns that tell its rows apart."""
    return rules_of(table).key or tuple(table.primary_key.columns.keys())


def rules_of(table: Table) -> Rules:
    """KeyError for a table that has none: it is not made of the log's records."""
    rules = table.info["rules"]
    assert isinstance(rules, Rules)
    return rules
