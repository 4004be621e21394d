"""Writes docs/deliveries.md from domain/delivery/states.py: the life of a delivery as a picture and tables.

What a state or an input means stands below its name in that file; one without a meaning raises MeaningMissing.
tests/unit/test_docs.py fails while the page differs from what would be written.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from enum import StrEnum

from domain.delivery import states
from domain.delivery.states import (
    FIRST_STATE,
    KEPT_BY,
    TRANSITIONS,
    DeliveryInput,
    DeliveryState,
    Keeper,
    WaitReason,
    shown_states,
)
from tests.traceability.catalogue import ROOT

PAGE_PATH = ROOT / "docs" / "deliveries.md"
BOXES = {Keeper.LOG: "kept by the log", Keeper.TABLE: "kept by the retry table"}
FOUND_IN = (
    ("the states and transitions", "`domain/delivery/states.py`"),
    ("what an answer means for its delivery", "`domain/delivery/decide.py`"),
    ("when the next attempt is due, and what `Retry-After` changes", "`domain/delivery/retry_schedule.py`"),
    ("the entries of what waits", "`domain/delivery/retry_table.py`"),
    ("which endpoint's delivery starts next", "`domain/delivery/endpoint_queues.py`"),
    ("whether an endpoint is sent to now", "`domain/delivery/endpoint_gates.py`, `circuit_breaker.py`"),
    ("the delivery in memory, with its state", "`processors/delivery/loaded.py`"),
    ("queue, store, set aside, release", "`processors/delivery/agent.py`"),
    ("load, postpone", "`processors/delivery/due_loader.py`"),
    ("start, finish", "`processors/delivery/attempts.py`"),
    ("stored, recorded", "`processors/delivery/recorder.py`"),
)


class MeaningMissing(Exception):
    """A member of an enum in domain/delivery/states.py has no text below its name."""


def page() -> str:
    """The whole page. Raises MeaningMissing."""
    sections = (_introduction, _picture, _states, _inputs, _transitions, _reasons, _places)
    return "\n\n".join("\n".join(section()) for section in sections) + "\n"


def _introduction() -> Iterator[str]:
    yield "# The life of a delivery"
    yield ""
    yield "A delivery is one event on its way to one route. This page shows its states, from the record that admission"
    yield "writes to the end. `make docs` writes it from `domain/delivery/states.py`: edit that file, not the page."
    yield "Attempts that fail are repeated on the [retry schedule](glossary.md#from-an-event-to-its-receivers)."
    yield ""
    yield "A delivery is kept by its record on the log, whose offset is not committed as long as that is so, or by its"
    yield "entry in the retry table. What a worker has in memory is a copy. If the worker stops, dies or loses the"
    yield "partition (`release`), the next owner of the partition continues with what is kept. An attempt that was"
    yield "running is made again, under the same number: a receiver may get an attempt twice. A second record of a"
    yield "delivery that is known already changes nothing."


def _picture() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for keeper, title in BOXES.items():
        yield f'    state "{title}" as by_{keeper} {{'
        yield from (f"        {state}" for state in DeliveryState if KEPT_BY[state] is keeper)
        yield "    }"
    yield f"    [*] --> {FIRST_STATE}"
    for state, inputs in TRANSITIONS.items():
        for received, following in inputs.items():
            if received is not DeliveryInput.RELEASE:
                yield f"    {state} --> {following}: {received}"
        if not inputs:
            yield f"    {state} --> [*]"
    yield "```"
    yield ""
    yield "Not in the picture: `release`, which leads from every state in memory back to `unread` or `waiting`."


def _states() -> Iterator[str]:
    shown = shown_states()
    yield "## States"
    yield ""
    yield "The last column is the status of the route in the API: `queued`, and from the first recorded attempt on the"
    yield "status of the last one. A delivery that waits for a disabled endpoint is shown as `disabled` too, as long as"
    yield "the endpoint is. A replay is a delivery of its own: until its first attempt is recorded, the route keeps the"
    yield "status that it had. The event's status follows from its routes (`domain/events/status.py`)."
    yield ""
    yield from _heading("state", "meaning", "kept by", "route shows")
    for state, meaning in meanings(DeliveryState).items():
        statuses = ", ".join(f"`{status}`" for status in sorted(shown[DeliveryState(state)]))
        yield _row(f"`{state}`", meaning, KEPT_BY[DeliveryState(state)], statuses)


def _inputs() -> Iterator[str]:
    yield "## Inputs"
    yield ""
    yield "What the log, the endpoint, the broker and the worker do to a delivery."
    yield ""
    yield from _heading("input", "meaning")
    for received, meaning in meanings(DeliveryInput).items():
        yield _row(f"`{received}`", meaning)


def _transitions() -> Iterator[str]:
    yield "## Transitions"
    yield ""
    yield "Any other input in a state is an error of the program, and ends the process."
    yield ""
    yield from _heading("state", "input", "next state")
    for state, inputs in TRANSITIONS.items():
        for received, following in inputs.items():
            yield _row(f"`{state}`", f"`{received}`", f"`{following}`")


def _reasons() -> Iterator[str]:
    yield "## Why a delivery waits"
    yield ""
    yield "A delivery that is `waiting` stays in the retry table for the first of these reasons that holds for its"
    yield "endpoint and its partition. They are states of the endpoint or of the process, not of the delivery."
    yield ""
    yield from _heading("reason", "meaning")
    for reason, meaning in meanings(WaitReason).items():
        yield _row(f"`{reason}`", meaning)


def _places() -> Iterator[str]:
    yield "## Where it is in the code"
    yield ""
    yield from _heading("what", "where")
    for what, where in FOUND_IN:
        yield _row(what, where)


def meanings(of: type[StrEnum]) -> dict[str, str]:
    """By value, in the order of the code. Raises MeaningMissing."""
    found = {}
    for defined in ast.parse(inspect.getsource(states)).body:
        if isinstance(defined, ast.ClassDef) and defined.name == of.__name__:
            for member, text in zip(defined.body, defined.body[1:], strict=False):
                if (
                    isinstance(member, ast.Assign)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    found[str(ast.literal_eval(member.value))] = " ".join(str(text.value.value).split())
    missing = [str(member) for member in of if member not in found]
    if missing:
        raise MeaningMissing(f"{of.__name__}: {', '.join(missing)}")
    return found


def _heading(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    written = page()
    changed = not PAGE_PATH.exists() or PAGE_PATH.read_text(encoding="utf-8") != written
    PAGE_PATH.write_text(written, encoding="utf-8")
    print(f"{PAGE_PATH.relative_to(ROOT)}: {'written' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
