"""The directory of an installation of an earlier release (tests/corpus): its tables, read model and spool are those of
today. tests/pipeline/test_corpus_installation.py starts it.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import adapter, files
from tests.corpus.installation import kept_records, rows_of, spooled

READ_MODEL = "read-model.sqlite"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus") / "home"
    files.unpack(files.INSTALLATION, directory)
    return directory


def changes() -> Iterator[tuple[str, int, bytes, bytes | None]]:
    """Every change of every table, as the changelogs have it."""
    for one in kept_records():
        if one.topic.endswith("-changelog") and one.key != b"\x00stamp":
            packed = [(one.key or b"", one.value)]
            for key, value in adapter.changes_in(one.value or b"") if one.key == b"packed" else packed:
                yield one.topic.removesuffix("-changelog"), one.partition, key, value


def test_tables_open_and_hold_what_their_changelogs_say(home: Path) -> None:
    wanted: dict[tuple[str, int], dict[bytes, bytes]] = defaultdict(dict)
    for table, partition, key, value in changes():
        if value is None:
            wanted[table, partition].pop(key, None)
        else:
            wanted[table, partition][key] = value
    found = {(table, partition): entries for table, partition, entries in adapter.tables_of(home) if entries}
    assert found == {place: entries for place, entries in wanted.items() if entries}
    assert {table for table, _ in found} == set(adapter.TABLES)


def test_the_read_model_opens_and_has_the_rows_that_it_had(home: Path) -> None:
    adapter.prepared_read_model(home / READ_MODEL)
    was = files.read_json(files.FACTS)["rows"]
    assert rows_of(home / READ_MODEL) == was
    assert min(len(was[table]) for table in ("events", "attempts", "audit_log", "tasks", "model_calls")) > 0


def test_a_spool_is_read(home: Path) -> None:
    told = spooled(home)
    assert told and told == files.read_json(files.FACTS)["spool"]
