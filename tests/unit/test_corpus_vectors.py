"""What the code derives from a text, a key or an event is what it derived when the corpus was recorded."""

import pytest

from tests.corpus import files, secrets_adapter, vectors


def test_what_is_derived_is_what_it_was() -> None:
    assert vectors.made() == files.read_json(files.VECTORS)["made"]


@pytest.mark.parametrize("kind", ["cursor", "position", "secret"])
def test_what_was_closed_opens(kind: str) -> None:
    closed = files.read_json(files.VECTORS)["closed"][kind]
    assert len(closed) >= 5
    for text, each in closed.items():
        assert secrets_adapter.opened(vectors.MASTER_KEY, kind, each, vectors.NOW_MS) == text


@pytest.mark.parametrize("kind", ["cursor", "position", "secret"])
def test_what_was_closed_opens_with_its_key_alone(kind: str) -> None:
    for each in files.read_json(files.VECTORS)["closed"][kind].values():
        with pytest.raises(Exception, match=r"cursor|not opened|secret"):
            secrets_adapter.opened(bytes(32), kind, each, vectors.NOW_MS)
