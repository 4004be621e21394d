"""Records of projection's topics become rows of the read model, topic by topic (projectors).

Records that can't become rows are named, one by one.
Leaves out: SQL (store.py) and which of two rows is the newer (schemas/read_model).
"""

from collections.abc import Container, Sequence

from processors.projection.changes import Changes, ProjectedRecord
from processors.projection.projectors import PROJECTORS
from schemas.read_model import LogPosition
from schemas.topics import Topic


def project(records: Sequence[ProjectedRecord], without: Container[int] = ()) -> Changes:
    """The rows of these records (one partition's, at least one, in order); `without` names offsets to leave out."""
    last = records[-1]
    changes = Changes(LogPosition(last.topic, last.partition, last.offset + 1))
    chosen = [record for record in records if record.offset not in without] if without else records
    PROJECTORS[Topic(last.topic)](changes, chosen)
    return changes
