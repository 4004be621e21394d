"""What holds for every agent: each is a case in tests/support/agent_cases.py, with records of its own.

A poisoned record goes to the dead letters alone; records handled again tell the same and change nothing; what comes
out keeps the order that went in.
"""

import importlib
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from processors.__main__ import GROUPS
from schemas.log_records import LogRecord
from schemas.records import DeadLetter
from schemas.topics import Topic
from tests.support.agent_cases import CASES, Case
from tests.support.agent_rig import Rig, Sent
from tests.support.receiver import Receiver

POISON = b"\xff\xfe no record of ours"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


class Rigs:
    """Of one case, each in a directory of its own; all get the same records."""

    def __init__(self, case: Case, directory: Path, url: str) -> None:
        self._case, self._directory, self._url = case, directory, url
        self._made: list[Rig] = []
        self.records = case.records(self.new().settings)

    def new(self) -> Rig:
        home = self._directory / f"rig-{len(self._made)}"
        home.mkdir()
        case = self._case
        self._made.append(Rig(case.build, home, case.entities(self._url), case.env, case.finished))
        return self._made[-1]

    async def stop(self) -> None:
        for rig in self._made:
            await rig.stop()

    async def told(self, rig: Rig, records: Sequence[LogRecord]) -> Counter[Hashable]:
        """What the world is told by these records, or shown after them, dead letters apart."""
        sent = await rig.handle(records)
        if self._case.shown is not None:
            return await self._case.shown(rig.settings, records[-1].offset + 1)
        return Counter(told for one in sent if (told := self.of_one(one)) is not None)

    def of_one(self, sent: Sent) -> Hashable | None:
        return None if sent.topic == Topic.DEAD_LETTERS else self._case.told(sent)


@pytest.fixture
async def rigs(case: Case, tmp_path: Path, receiver: Receiver) -> AsyncIterator[Rigs]:
    rigs = Rigs(case, tmp_path, receiver.url)
    yield rigs
    await rigs.stop()


def letters(rig: Rig) -> list[DeadLetter]:
    """Not of those that say that a record contradicts another one."""
    read = [DeadLetter.decode(one.value) for one in rig.sent if one.topic == Topic.DEAD_LETTERS]
    return [letter for letter in read if letter.reason != "conflict"]


async def test_there_is_a_case_of_each_agent(tmp_path: Path) -> None:
    """As the processes declare them."""
    declared = set[str]()
    for group in GROUPS:
        (home := tmp_path / group).mkdir()
        rig = Rig(importlib.import_module(f"processors.{group}.agent").build, home)
        declared |= set(rig.agents)
        await rig.stop()
    assert declared == {case.name.partition(",")[0] for case in CASES}


@pytest.mark.requirement("F18")
async def test_a_record_that_cannot_be_read_is_set_aside_alone(rigs: Rigs) -> None:
    records = rigs.records
    middle = len(records) // 2
    sick = replace(records[middle], value=POISON)
    without = [*records[:middle], *records[middle + 1 :]]
    rig = rigs.new()
    assert await rigs.told(rig, [*records[:middle], sick, *records[middle + 1 :]]) == await rigs.told(
        rigs.new(), without
    )
    assert [(letter.topic, letter.offset, letter.value) for letter in letters(rig)] == [
        (sick.topic, sick.offset, POISON)
    ]


@pytest.mark.requirement("F18")
@pytest.mark.parametrize("case", [case for case in CASES if case.deciding], ids=lambda case: case.name, indirect=True)
async def test_a_record_at_which_the_agent_fails_is_set_aside_alone(
    case: Case, rigs: Rigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = rigs.records
    middle = len(records) // 2
    expected = await rigs.told(rigs.new(), [*records[:middle], *records[middle + 1 :]])
    rig = rigs.new()
    poison(monkeypatch, case, middle)
    assert await rigs.told(rig, records) == expected
    assert [(letter.offset, letter.value) for letter in letters(rig)] == [(middle, records[middle].value)]


@pytest.mark.requirement("F15", "F20")
@pytest.mark.parametrize(
    ("case", "crash"),
    [
        pytest.param(case, crash, id=f"{case.name}, {'after a crash' if crash else 'in one life'}")
        for case in CASES
        for crash in (False, True)
        if crash or not case.forgets
    ],
    indirect=["case"],
)
async def test_records_handled_again_tell_the_same_and_change_nothing(case: Case, rigs: Rigs, crash: bool) -> None:
    """All of them, and from any place on."""
    rig, records = rigs.new(), rigs.records
    first = await rigs.told(rig, records)
    assert first
    for start in (0,) if case.forgets else (0, len(records) // 3, len(records) - 1):
        if crash:
            await rig.crash()
        assert (await rigs.told(rig, records[start:])).keys() <= first.keys()


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_cut_into_batches_anyhow_the_same_comes_out_in_the_same_order(case: Case, rigs: Rigs, size: int) -> None:
    """Within each lane, as from one batch of all."""
    together, in_parts = rigs.new(), rigs.new()
    at_once = last = await rigs.told(together, rigs.records)
    for start in range(0, len(rigs.records), size):
        last = await rigs.told(in_parts, rigs.records[start : start + size])
    if case.shown is not None:
        assert last == at_once
    found, expected = lanes(case, rigs, in_parts), lanes(case, rigs, together)
    assert expected or case.shown is not None
    if case.tells_once_a_batch:
        assert found.keys() == expected.keys() and all(len(told) == 1 for told in expected.values())
    else:
        assert found == expected


def lanes(case: Case, rigs: Rigs, rig: Rig) -> dict[Hashable, list[Hashable]]:
    found: dict[Hashable, list[Hashable]] = {}
    for one in rig.sent:
        told = rigs.of_one(one)
        if told is not None:
            found.setdefault(case.lane(one), []).append(told)
    return found


def poison(patch: pytest.MonkeyPatch, case: Case, at: int) -> None:
    """The function that looks at the records raises at the one that stands there."""
    assert case.deciding is not None
    module, _, name = case.deciding.rpartition(".")
    home = importlib.import_module(module) if not module.endswith("Ledger") else _ledger(module)
    real, seen = getattr(home, name), iter(range(1_000))

    def poisoned(*arguments: object) -> object:
        if next(seen) == at:
            raise ZeroDivisionError("poisoned")
        return real(*arguments)

    patch.setattr(home, name, poisoned)


def _ledger(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
