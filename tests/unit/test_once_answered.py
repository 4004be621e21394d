"""What a process asks the brokers at its start is asked again until they answer, unless they never will."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations import topic_admin
from operations.topic_admin import once_answered


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_admin, "ONCE_ANSWERED_SECONDS", 0.0)


async def test_what_passes_is_asked_again() -> None:
    refusals = [KafkaError._TIMED_OUT, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._ALL_BROKERS_DOWN]

    def ask(name: str) -> str:
        if refusals:
            raise KafkaException(KafkaError(refusals.pop()))
        return f"{name} is there"

    assert await once_answered(ask, "a changelog") == "a changelog is there"


async def test_what_is_refused_for_good_is_raised() -> None:
    def ask() -> None:
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        await once_answered(ask)
