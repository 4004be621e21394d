"""A session that no broker takes is refused at the start, with what one may be."""

import pytest

from operations.session_limits import SessionRefused, refuse_session
from tests.support.ports import free_port


@pytest.mark.parametrize("seconds", [6.0, 20.0, 1_800.0])
def test_what_the_brokers_take(kafka: str, seconds: float) -> None:
    refuse_session(kafka, seconds)


@pytest.mark.parametrize("seconds", [1.0, 5.9, 1_801.0])
def test_what_they_do_not(kafka: str, seconds: float) -> None:
    with pytest.raises(SessionRefused, match=r"ATLAS_SESSION_SECONDS is .* of 6 to 1800 s \(group\.min"):
        refuse_session(kafka, seconds)


def test_where_nobody_says_the_group_itself_has_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.session_limits.ANSWER_SECONDS", 0.2)
    refuse_session(f"127.0.0.1:{free_port()}", 1.0)
