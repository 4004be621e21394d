"""Histories of commands against a model of a few lines; and a crash anywhere in one changes nothing in the end."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.commands.payload import Payload
from schemas.commands.streams import CreateStream, DeleteStream, UpdateStream
from schemas.commands.workflows import CreateWorkflow, DeleteWorkflow
from schemas.topics import DAY_MS
from tests.support.commands_log import CommandsLog, a_workspace, outcome

NAMES, ROUTES, KEYS = ("orders", "audit"), ("wf_a", "wf_b"), ("k1", "k2")
names, routes = st.sampled_from(NAMES), st.sampled_from(ROUTES)
days = st.integers(1, 3)

payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(CreateStream, name=names, retention_days=days, default_routes=st.lists(routes, max_size=1)),
    st.builds(UpdateStream, stream=names, retention_days=days),
    st.builds(DeleteStream, stream=names),
    st.builds(CreateWorkflow, id=routes, name=st.just("A"), url=st.just("https://example.com")),
    st.builds(DeleteWorkflow, id=routes),
)


@dataclass(frozen=True)
class Ask:
    payload: Payload
    key: str | None


@dataclass(frozen=True)
class TopicsDone:
    failed: str | None


@dataclass(frozen=True)
class Wait:
    milliseconds: int


asks = st.builds(Ask, payloads, st.none() | st.sampled_from(KEYS))
steps = st.one_of(
    asks,
    asks,
    st.builds(TopicsDone, st.sampled_from([None, None, None, "never"])),
    st.builds(Wait, st.sampled_from([1, DAY_MS - 1, DAY_MS])),
)


@dataclass
class Answered:
    payload: Payload
    result: Any
    at_ms: int


@dataclass
class Model:
    """Streams by name: status, retention and, once deleted, when the name is free. The newest answer under each key."""

    now_ms: int = 0
    streams: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    workflows: set[str] = field(default_factory=set)
    answers: dict[str, Answered] = field(default_factory=dict)
    creating: dict[str, Answered] = field(default_factory=dict)

    def ask(self, payload: Payload, key: str | None) -> Any:
        known = self.answers.get(key) if key else None
        if known is not None and known.result != "failed" and self.now_ms < known.at_ms + DAY_MS:
            return known.result if known.payload == payload else "idempotency_key_reused"
        answered = Answered(payload, self.decide(payload), self.now_ms)
        if key is not None:
            self.answers[key] = answered
        if answered.result is None:
            self.creating[payload.name] = answered  # type: ignore[attr-defined]
        return answered.result

    def decide(self, payload: Payload) -> Any:
        match payload:
            case CreateStream():
                if payload.name in self.streams:
                    return "stream_exists"
                if not set(payload.default_routes) <= self.workflows:
                    return "invalid_request"
                self.streams[payload.name] = ("creating", payload.retention_days, 0)
                return None
            case UpdateStream() | DeleteStream():
                status, retention_days, _ = self.streams.get(payload.stream, ("gone", 0, 0))
                if status != "active":
                    return "stream_not_found"
                if isinstance(payload, UpdateStream):
                    self.streams[payload.stream] = ("active", int(payload.retention_days), 0)  # type: ignore[arg-type]
                    return 200
                self.streams[payload.stream] = ("deleted", retention_days, self.now_ms + retention_days * DAY_MS)
                return 204
            case CreateWorkflow():
                taken = payload.id in self.workflows
                self.workflows.add(str(payload.id))
                return "workflow_exists" if taken else 201
            case DeleteWorkflow():
                there = payload.id in self.workflows
                self.workflows.discard(payload.id)
                return 204 if there else "workflow_not_found"
        raise AssertionError(payload)

    def topics_done(self, failed: str | None) -> None:
        for name, (status, retention_days, free_ms) in list(self.streams.items()):
            if status == "creating" and failed is None:
                self.streams[name] = ("active", retention_days, 0)
            elif status == "creating" or (status == "deleted" and free_ms <= self.now_ms):
                del self.streams[name]
            else:
                continue
            if name in self.creating:
                self.creating.pop(name).result = 201 if failed is None else "failed"


def play(history: list[Any]) -> tuple[CommandsLog, Model]:
    log, model = a_workspace(), Model()
    for step in history:
        match step:
            case Ask(payload, key):
                assert outcome(log.ask(payload, key=key)) == model.ask(payload, key)
            case TopicsDone(failed):
                log.topics_done(failed=failed)
                model.topics_done(failed)
            case Wait(milliseconds):
                log.now_ms += milliseconds
                model.now_ms += milliseconds
        assert {s.name: (str(s.status), s.retention_days) for s in log.streams()} == {
            name: stream[:2] for name, stream in model.streams.items()
        }
        assert {workflow.id for workflow in log.workflows()} == model.workflows
    return log, model


@pytest.mark.requirement("A-029")
@settings(max_examples=80, deadline=None)
@given(st.lists(steps, max_size=25))
def test_every_history_goes_as_the_model_says(history: list[Any]) -> None:
    play(history)


@pytest.mark.requirement("F20")
@settings(max_examples=80, deadline=None)
@given(st.lists(steps, max_size=25), st.data())
def test_a_crash_between_any_two_changes_leads_to_the_same_end(history: list[Any], data: st.DataObject) -> None:
    """Records from an offset on are read again, with any part of what they had changed in the table already."""
    log, _ = play(history)
    entries, control, audits = dict(log.table.entries), dict(log.control), dict(log.audits)
    offset = data.draw(st.integers(0, len(log.log) - 1))
    kept = data.draw(st.integers(log.changes_before[offset], len(log.table.changelog)))
    log.read_again(offset, kept)
    assert (log.table.entries, log.control, log.audits) == (entries, control, audits)
    for answers in log.verdicts.values():
        assert len({msgspec.json.encode(answer) for answer in answers}) == 1
