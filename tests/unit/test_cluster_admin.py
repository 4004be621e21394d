"""What every request gets over: a controller that is gone, a broker that is behind, what is done already."""

from collections.abc import Iterable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations.cluster_admin import ClusterAdmin
from schemas.topics import TopicSpec

KNOWN: Any = SimpleNamespace(topic_id="id", partitions=[0, 1])


class Scripted:
    """As much of an AdminClient as is asked: answers in their order, errors by their codes; `asked` names requests."""

    def __init__(self, answers: Iterable[Any]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def list_topics(self, timeout: float) -> None:
        self.asked.append("metadata")

    def describe_topics(self, _topics: Any, request_timeout: float) -> dict[str, "Future[Any]"]:
        return self._answered("describe", ["orders"])

    def create_topics(self, new: list[Any], **_timeouts: float) -> dict[str, "Future[Any]"]:
        return self._answered("create", [topic.topic for topic in new])

    def delete_topics(self, names: list[str], request_timeout: float) -> dict[str, "Future[Any]"]:
        return self._answered("delete", names)

    def _answered(self, request: str, names: Iterable[str]) -> dict[str, "Future[Any]"]:
        self.asked.append(request)
        return {name: answered(self._answers.pop(0)) for name in names}


def answered(answer: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    if isinstance(answer, int):
        future.set_exception(KafkaException(KafkaError(answer)))
    else:
        future.set_result(answer)
    return future


def admin_of(*answers: Any) -> tuple[ClusterAdmin, Scripted]:
    admin, scripted = ClusterAdmin("127.0.0.1:1"), Scripted(answers)
    admin._client = scripted  # type: ignore[assignment]
    return admin, scripted


@pytest.mark.requirement("F1")
def test_after_a_controller_that_gave_no_answer_the_next_request_asks_who_it_is() -> None:
    admin, cluster = admin_of(KafkaError._TIMED_OUT, KNOWN, KNOWN)
    with pytest.raises(KafkaException):
        admin.present(["orders"])
    assert admin.present(["orders"]) == admin.present(["orders"]) == {"orders": KNOWN}
    assert cluster.asked == ["describe", "metadata", "describe", "describe"]
    admin.doubt_controller()
    cluster._answers.append(KNOWN)
    admin.present(["orders"])
    assert cluster.asked[-2:] == ["metadata", "describe"]


def test_one_that_was_made_is_waited_for_until_the_broker_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.cluster_admin.AGAIN_SECONDS", 0.0)
    unknown = KafkaError.UNKNOWN_TOPIC_OR_PART
    admin, _cluster = admin_of(unknown, unknown, KNOWN)
    assert admin.described("orders", 20.0) is KNOWN
    admin, _cluster = admin_of(unknown)
    with pytest.raises(KafkaException, match="orders is not known"):
        admin.described("orders", 0.0)
    admin, _cluster = admin_of(KafkaError._TRANSPORT)
    with pytest.raises(KafkaException, match="_TRANSPORT"):
        admin.described("orders", 20.0)


def test_what_was_done_before_is_done() -> None:
    admin, _cluster = admin_of(None, KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert admin.create([TopicSpec("new", 1, {}), TopicSpec("old", 1, {})]) == {"new"}
    admin.delete("gone")
    admin, _cluster = admin_of(KafkaError.INVALID_CONFIG)
    with pytest.raises(KafkaException, match="INVALID_CONFIG"):
        admin.create([TopicSpec("new", 1, {})])


def test_of_what_may_not_be_seen_somebody_is_told_or_it_is_raised() -> None:
    told: list[str] = []
    admin, _cluster = admin_of(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert admin.present(["orders"], lambda topic, _error: told.append(topic)) == {}
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        admin.present(["orders"])
    assert told == ["orders"]
