"""Projects and tasks in the control agent's table: how they are looked up and changed."""

from domain.control.values import CommandChanges
from domain.tables import KeyValueTable
from schemas.records import Entity
from schemas.work import Item, Project, Task, item_of


class ItemState:
    """The keys are listed in state.py."""

    def __init__(self, table: KeyValueTable) -> None:
        self._table = table

    def project(self, workspace: str, environment: str, project_id: str) -> Project | None:
        found = self._item(f"project/{project_id}", workspace, environment)
        return found if isinstance(found, Project) else None

    def task(self, workspace: str, environment: str, task_id: str) -> Task | None:
        found = self._item(f"task/{task_id}", workspace, environment)
        return found if isinstance(found, Task) else None

    def dependents(self, task_id: str) -> list[str]:
        prefix = _link(task_id, "")
        return [key[len(prefix) :].decode() for key, _ in self._table.scan(prefix)]

    def apply_items(self, changes: CommandChanges) -> list[tuple[bytes, bytes | None]]:
        """Changes the table and returns the records for `items`. A command read again never undoes a later change."""
        return [self._put_item(entity) for entity in changes.items] + [self._drop(item) for item in changes.items_gone]

    def _put_item(self, entity: Entity) -> tuple[bytes, bytes | None]:
        newer = self._newer_item(entity)
        if newer is None:
            newer = entity.encode()
            self._link(entity)
            self._table.put(b"m\0" + entity.key, newer)
        return entity.key, newer

    def _drop(self, entity: Entity) -> tuple[bytes, bytes | None]:
        newer = self._newer_item(entity)
        if newer is None:
            self._unlink(entity.key)
            self._table.delete(b"m\0" + entity.key)
        return entity.key, newer

    def _newer_item(self, entity: Entity) -> bytes | None:
        value = self._table.get(b"m\0" + entity.key)
        return value if value is not None and Entity.decode(value).version > entity.version else None

    def _link(self, entity: Entity) -> None:
        self._unlink(entity.key)
        item = item_of(entity)
        for dependency in item.depends_on if isinstance(item, Task) else ():
            self._table.put(_link(dependency, entity.id), b"")

    def _unlink(self, key: bytes) -> None:
        value = self._table.get(b"m\0" + key)
        before = None if value is None else item_of(Entity.decode(value))
        if isinstance(before, Task):
            for dependency in before.depends_on:
                self._table.delete(_link(dependency, before.id))

    def _item(self, key: str, workspace: str, environment: str) -> Item | None:
        value = self._table.get(b"m\0" + key.encode())
        if value is None:
            return None
        entity = Entity.decode(value)
        return item_of(entity) if (entity.workspace, entity.environment) == (workspace, environment) else None


def _link(task_id: str, dependent: str) -> bytes:
    return f"d\0{task_id}\0{dependent}".encode()
