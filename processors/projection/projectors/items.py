"""`items`: each project and task is one row, for as long as it is there.

The marker behind each batch's items says how far they reach into `commands`: reads can wait for a command by it.
"""

import msgspec

from processors.projection.changes import Changes, Gone, ProjectedRecord, key_text, plain_text
from schemas.read_model import ProjectRow, SourcePosition, TaskRow, projects, tasks
from schemas.records import Entity
from schemas.topics import Topic
from schemas.work import PASSED_KIND, Passed, Project, Task, item_body, item_of

TABLES = {Project.kind: projects, Task.kind: tasks}


def apply(changes: Changes, record: ProjectedRecord) -> None:
    kind, _, item_id = (record.key or b"").decode().partition("/")
    if record.value is None:
        if kind in TABLES:
            changes.gone[TABLES[kind]].append(Gone((key_text(item_id),), record.offset))
        return
    entity = Entity.decode(record.value)
    if entity.kind == PASSED_KIND:
        _pass_commands(changes, record, msgspec.json.decode(entity.state, type=Passed))
        return
    item = item_of(entity)
    owner = key_text(entity.workspace), plain_text(entity.environment)
    match item:
        case Project():
            changes.rows[projects].append(
                ProjectRow(key_text(item.id), *owner, item.sequence, _body(item), record.offset)
            )
        case Task():
            changes.rows[tasks].append(_task_row(item, owner, record.offset))


def _task_row(task: Task, owner: tuple[str, str], offset: int) -> TaskRow:
    return TaskRow(
        key_text(task.id),
        *owner,
        task.sequence,
        key_text(task.project_id),
        task.status,
        task.priority,
        None if task.assignee_id is None else plain_text(task.assignee_id),
        task.due_ms,
        _body(task),
        offset,
    )


def _body(item: Project | Task) -> str:
    return plain_text(item_body(item).decode())


def _pass_commands(changes: Changes, record: ProjectedRecord, passed: Passed) -> None:
    partition = Topic.COMMANDS.value, record.partition
    changes.sources[partition] = SourcePosition(*partition, "", passed.next_offset, record.offset)
