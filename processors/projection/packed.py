"""What a batch changes, as bytes for another process: `marshal` writes plain tuples twice as fast as pickle.

Both processes are of one version of Python and of this code; nothing of it is kept.
"""

import marshal
from collections.abc import Sequence
from typing import Any

from processors.projection.changes import Changes, Gone
from processors.projection.log_batches import LogBatch
from schemas.read_model import LogPosition, SourcePosition, metadata


def packed(batch: LogBatch) -> bytes:
    changes = batch.changes
    topic, partition, next_offset = changes.position
    parts: Any = (
        *batch[:-1],
        (str(topic), partition, next_offset),
        {str(table.name): _plain(rows) for table, rows in changes.rows.items()},
        {str(table.name): _plain(gone) for table, gone in changes.gone.items()},
        _plain(list(changes.sources.values())),
    )
    return marshal.dumps(parts)


def unpacked(data: bytes) -> LogBatch:
    first_offset, first_ms, last_ms, records, position, rows, gone, sources = marshal.loads(data)
    changes = Changes(LogPosition(*position))
    changes.rows |= {metadata.tables[name]: of_table for name, of_table in rows.items()}
    changes.gone |= {metadata.tables[name]: [Gone(*one) for one in of_table] for name, of_table in gone.items()}
    changes.sources |= {(source[0], source[1]): SourcePosition(*source) for source in sources}
    return LogBatch(first_offset, first_ms, last_ms, records, changes)


def _plain(rows: Sequence[Any]) -> Sequence[Any]:
    """Rows with names are no plain tuples. All of a table's are of one kind."""
    return rows if not rows or type(rows[0]) is tuple else [tuple(row) for row in rows]
