"""The control agent's decisions over a log of commands in memory: ask, read again, crash between any two changes."""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.commands.decide import decide, token_hash_by
from domain.control.state import ControlState
from domain.control.values import CommandEffects, CommandRequest, TokenHash, TopicTask, TopicWork
from domain.security.callers import CallerContext
from domain.tables import MemoryTable
from operations.new_commands import new_command
from processors.control.topics import finished, report_of
from schemas.commands import decode_payload
from schemas.commands.payload import Payload
from schemas.commands.workspaces import CreateWorkspace
from schemas.entities import State, Stream, Workflow, state_of
from schemas.records import Audit, Command, Entity, Verdict
from schemas.replies import ReplyTo

MASTER_KEY = b"\x07" * 32
WORKSPACE = "ws_4F9KQ2C7Z1"
START_MS = 1_779_114_131_482  # 2026-05-18T14:22:11.482Z
TOPIC_ID = "AAAAAAAAAAEAAAAAAAAAAg"
TOKEN_HASH: TokenHash = token_hash_by(MASTER_KEY)


class TableWithChangelog(MemoryTable):
    """Made from a changelog, and keeps its own."""

    def __init__(self, changelog: Sequence[tuple[bytes, bytes | None]] = ()) -> None:
        super().__init__()
        self.changelog: list[tuple[bytes, bytes | None]] = []
        for key, value in changelog:
            if value is None:
                self.delete(key)
            else:
                self.put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        self.changelog.append((key, value))
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        self.changelog.append((key, None))
        super().delete(key)


class CommandsLog:
    """One partition of `commands` and what its agent makes of it. Time moves only when a test moves `now_ms`."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.log: list[CommandRequest] = []
        self.changes_before: list[int] = []
        """Of each record: how many entries the changelog had before it was decided."""
        self.table = TableWithChangelog()
        self.control: dict[bytes, bytes] = {}
        self.items: dict[bytes, bytes] = {}
        self.audits: dict[str, Audit] = {}
        self.verdicts: dict[bytes, list[Verdict]] = {}

    @property
    def state(self) -> ControlState:
        return ControlState(self.table)

    # Asking

    def ask(self, payload: Payload, **how: Any) -> Verdict | None:
        """The verdict on this very request; None while it waits."""
        reply = self.send(payload, **how)
        answered = self.verdicts.get(reply.correlation, [])
        return answered[-1] if answered else None

    def send(
        self,
        payload: Payload,
        *,
        key: str | None = None,
        workspace: str = WORKSPACE,
        environment: str = "live",
        surface: str = "events",
        actor: str = "key_1",
    ) -> ReplyTo:
        command = new_command(
            payload,
            workspace=workspace,
            environment=environment,
            caller=CallerContext(actor),
            now_ms=self.now_ms,
            idempotency_key=key,
            surface=surface,
        )
        reply = ReplyTo(0, len(self.log).to_bytes(16, "big"))
        self.append(command, reply)
        return reply

    def append(self, command: Command, reply: ReplyTo | None = None) -> CommandEffects:
        asked = CommandRequest(command, decode_payload(command), self.now_ms, len(self.log), reply)
        self.log.append(asked)
        self.changes_before.append(len(self.table.changelog))
        return self.decide(asked)

    def decide(self, asked: CommandRequest) -> CommandEffects:
        effects = decide(self.state, asked, TOKEN_HASH)
        for key, value in self.state.apply(effects):
            if value is None:
                self.control.pop(key, None)
            else:
                self.control[key] = value
        for key, value in self.state.apply_items(effects.changes):
            if value is None:
                self.items.pop(key, None)
            else:
                self.items[key] = value
        for _, verdict in effects.verdicts:
            self.verdicts.setdefault(verdict.correlation, []).append(verdict)
        if effects.audit is not None:
            self.audits[effects.audit.id] = effects.audit
        return effects

    # What happens by itself

    def topics_done(self, *, failed: str | None = None, taken: str | None = None) -> int:
        """Every task that is due ends; gives how many."""
        due = [work for work in self.state.unfinished() if work.due_ms <= self.now_ms]
        for work in due:
            self.report(work, failed=failed, taken=taken)
        return len(due)

    def report(self, work: TopicWork, *, failed: str | None = None, taken: str | None = None) -> CommandEffects:
        topic_id = TOPIC_ID if work.task is TopicTask.CREATE and failed is None else ""
        return self.append(report_of(work, finished(work, topic_id=topic_id, failed=failed, taken=taken)))

    def read_again(self, offset: int, changes_kept: int | None = None) -> None:
        """A crash: the table has the changelog's first entries, and all records from `offset` on are read again."""
        kept = len(self.table.changelog) if changes_kept is None else changes_kept
        self.table = TableWithChangelog(self.table.changelog[:kept])
        for asked in self.log[offset:]:
            self.decide(asked)

    # What is there

    def entities(self) -> list[State]:
        """As a reader of `control` sees them."""
        states = [state_of(Entity.decode(value)) for _, value in sorted(self.control.items())]
        return [state for state in states if state is not None]

    def streams(self) -> list[Stream]:
        return [state for state in self.entities() if isinstance(state, Stream)]

    def workflows(self) -> list[Workflow]:
        return [state for state in self.entities() if isinstance(state, Workflow)]


def a_workspace() -> CommandsLog:
    log = CommandsLog()
    assert outcome(log.ask(CreateWorkspace(name="Acme"))) == 201
    return log


def outcome(verdict: Verdict | None) -> int | str | None:
    """A done verdict's status, a refusal's code, None while there is no verdict."""
    if verdict is None:
        return None
    if verdict.outcome == "done":
        return verdict.status
    code: str = msgspec.json.decode(verdict.body)["code"]
    return code


def without_correlation(verdict: Verdict | None) -> Verdict | None:
    return verdict and msgspec.structs.replace(verdict, correlation=b"")
