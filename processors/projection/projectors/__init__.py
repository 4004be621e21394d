"""The registry of projectors: which topics projection reads, and what rows each becomes. The one list.

A projector is a pure function: a batch of one partition's records in, rows of the read model out (`Changes`). All else
follows from the list: projection subscribes to its topics, writes their rows and positions in one transaction,
`atlas rebuild` replays them, `atlas verify` compares their tables, and reads can wait for their positions.

To add a kind of record:
1. `schemas/read_model/<kind>.py`: a NamedTuple and a Table with the same columns, the key's first, with
   `info={"rules": Rules("log_offset")}`: of two rows of one key the one that is later on its partition stays (a key's
   records must be on one partition). With `compacted=True` records may delete rows; with `time` and
   `kept_days` old rows are deleted in slices. Add the pair to `ROWS` in `schemas/read_model/__init__.py`.
2. `processors/projection/migrations/versions/<next number>_….py`: create the table (a test compares it with the code).
   Its topics are new to the read model, so they are read from their beginning; for a further column of a known topic
   delete that topic's `log_positions` as well.
3. `processors/projection/projectors/<kind>.py`: `apply(changes, record)` decodes and appends:
   `changes.rows[table].append(Row(…))`, and for a record that deletes an entity
   `changes.gone[table].append(Gone(key, record.offset))`. Ids through `key_text`, other text through `plain_text` or
   `json_text`. A record that can't be read raises (Undecodable, ValueError) and becomes a dead letter on its own.
4. A line below: `Topic.X: each(<kind>.apply)`.
The topic has as many partitions as all others (`schemas/topics.py`). Beside records of its own a topic may carry others
(`burn.telemetry`): `apply` just returns for those.
"""

from processors.projection.changes import Projector, each
from processors.projection.columns import together
from processors.projection.projectors import attempts, audit, calls, entities, events, items
from schemas.codec import DECISION, OUTCOME
from schemas.topics import Topic

PROJECTORS: dict[Topic, Projector] = {
    Topic.DECISIONS: together(DECISION, events.BY_COLUMNS, events.apply),
    Topic.OUTCOMES: together(OUTCOME, attempts.BY_COLUMNS, attempts.apply),
    Topic.AUDIT: each(audit.apply),
    Topic.CONTROL: each(entities.apply),
    Topic.ITEMS: each(items.apply),
    Topic.BURN_TELEMETRY: each(calls.apply),
}
