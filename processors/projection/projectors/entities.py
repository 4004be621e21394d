"""`control`: each entity is one row with its whole state, for as long as it is there.

Of kinds that this version does not know, too: the state stays JSON.
"""

import msgspec

from processors.projection.changes import Changes, Gone, ProjectedRecord, json_text, key_text, plain_text
from schemas.read_model import EntityRow, entities
from schemas.records import Entity

HIDDEN = frozenset({"token_hash"})
"""Keyed hashes of tokens have no reader here."""


def apply(changes: Changes, record: ProjectedRecord) -> None:
    kind, of_key, entity_id = plain_text((record.key or b"").decode()).partition("/")
    if not of_key:
        raise ValueError("the key is not that of an entity: kind/id")
    key = key_text(kind), key_text(entity_id)
    if record.value is None:
        changes.gone[entities].append(Gone(key, record.offset))
        return
    entity = Entity.decode(record.value)
    owner = key_text(entity.workspace), plain_text(entity.environment)
    row = EntityRow(*key, *owner, entity.version, _shown(entity.state), record.offset)
    changes.rows[entities].append(row)


def _shown(state: bytes) -> str:
    members = msgspec.json.decode(state, type=dict[str, msgspec.Raw])
    if HIDDEN.isdisjoint(members):
        return json_text(state) or ""
    return json_text(msgspec.json.encode({name: members[name] for name in members if name not in HIDDEN})) or ""
