"""Where the time between a task's POST and its 201 went, read back from the log after the run.

The answer names its task; the task carries its command's place as its version on `items`, and the command's reply
header the verdict's correlation. Append times are the broker's, in whole milliseconds of this machine's clock.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from bench.figures import Figures, figures_of
from bench.hops import appended_ns, records_of
from operations.message_headers import headers_of
from schemas.records import Entity, Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from schemas.topics import Topic
from schemas.work import PASSED_KIND

ITEM = "(command → task on the log)"
HOPS = ("  request → command on the log", "  → verdict on the log", "  → answer", f"  {ITEM}")


class Posted(NamedTuple):
    """One request that was answered with 201; wall clock in nanoseconds. `task`: its answer's id."""

    due_ns: int
    answered_ns: int
    task: str


def hops_of(bootstrap: str, posted: Iterable[Posted]) -> dict[str, Figures]:
    """The parts of "request → answer", in their order, and beside them when the task was on the log."""
    commands: dict[int, tuple[int, bytes]] = {}
    for message in records_of(bootstrap, Topic.COMMANDS):
        reply = decode_reply(dict(headers_of(message)).get(REPLY_HEADER))
        if reply is not None:
            commands[message.offset() or 0] = appended_ns(message), reply.correlation
    tasks = {}
    for message in records_of(bootstrap, Topic.ITEMS):
        entity = Entity.decode(message.value() or b"")
        if entity.kind != PASSED_KIND:
            tasks[entity.id] = entity.version - 1, appended_ns(message)
    verdicts = {
        Verdict.decode(message.value()).correlation: appended_ns(message)
        for message in records_of(bootstrap, Topic.VERDICTS)
    }
    parts: dict[str, list[int]] = {name: [] for name in HOPS}
    for one in posted:
        place, task_ns = tasks[one.task]
        command_ns, correlation = commands[place]
        points = one.due_ns, command_ns, verdicts[correlation], one.answered_ns
        hops = [end - start for start, end in pairwise(points)]
        for times, hop in zip(parts.values(), [*hops, task_ns - command_ns], strict=True):
            times.append(hop)
    return {name: figures_of(times) for name, times in parts.items()}
