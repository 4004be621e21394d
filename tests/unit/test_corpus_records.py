"""Every record of the corpus (tests/corpus) is read today as it was read when it was written, and written the same."""

from collections import Counter
from functools import cache

import pytest

from tests.corpus import adapter, files
from tests.corpus.installation import EVENT_TYPES, Kept, control_of, kept_records
from tests.corpus.story.client import PARTITIONS

NOT_IN_IT: dict[str, str] = {}
"""Kinds of records that no installation of the corpus has written, and why."""


@cache
def records() -> list[Kept]:
    return kept_records()


def of_topic(topic: str) -> list[Kept]:
    return [one for one in records() if one.topic == topic and one.value is not None]


@pytest.fixture(scope="module")
def master_key() -> bytes:
    return bytes.fromhex(files.read_json(files.FACTS)["master key"])


def test_every_record_is_read_as_it_was_and_written_the_same() -> None:
    for record, was in zip(records(), files.read_lines(files.READ), strict=True):
        place = record.topic, record.partition, record.offset
        read = record.read()
        assert [[one.types, one.value] for one in read] == was, place
        packed = len(read) != 1 or record.key == b"packed"
        if not packed and read[0].again is not None:
            assert read[0].again == record.value, place


def test_nothing_that_is_written_is_missing() -> None:
    seen = Counter(kind for was in files.read_lines(files.READ) for types, _ in was for kind in types)
    assert adapter.known_types() - seen.keys() == NOT_IN_IT.keys()
    topics = {one.topic for one in records()}
    assert adapter.fixed_topics() | adapter.topics_of_tables() <= topics
    assert any(topic.startswith("events.") for topic in topics) and any(topic.startswith("routes.") for topic in topics)


def test_a_new_kind_of_record_would_be_missed() -> None:
    assert "Command/stream.create" in adapter.known_types() and "Entity/policy" in adapter.known_types()


def test_a_gateways_signature_and_ids_are_those_of_today(master_key: bytes) -> None:
    signed = 0
    for record in records():
        if not record.topic.startswith("events.") or record.value is None:
            continue
        event = record.read()[0].value
        digest = adapter.sealed_hash(master_key, record.topic, record.value, record.headers)
        if digest is None:
            continue
        signed += 1
        assert record.partition == adapter.partition_of(record.key or b"", PARTITIONS)
        _, workspace, environment, stream = record.topic.split(".")
        if stream in ("spine", "work"):
            continue
        body = _body(event)
        identifier, again, _ = adapter.id_of_event(workspace, environment, body, None, record.timestamp)
        assert (identifier, again) == (event["id"], digest)
    assert signed >= 20


def _body(event: dict[str, str]) -> bytes:
    """As its producer sent it, the key inside."""
    parts = [f'"{name}":{event[name]}' for name in ("data", "actor", "metadata") if event[name] is not None]
    texts = ("stream", "type", "occurred_at", "idempotency_key")
    parts += [f'"{name}":"{event[name]}"' for name in texts if event[name] is not None]
    return f"{{{','.join(parts)}}}".encode()


def test_a_delivery_has_the_id_that_follows_from_its_decision() -> None:
    deliveries = {one.read()[0].value["delivery_id"] for one in of_topic("deliveries")}
    found = 0
    for one in of_topic("decisions"):
        decision = one.read()[0].value
        for route in decision["routes"]:
            place = (decision[name] for name in ("topic", "topic_id", "partition", "offset", "received_ms"))
            assert adapter.id_of_delivery(*place, route, 0) in deliveries
            found += 1
    assert found >= 10


def test_admissions_table_has_an_event_under_the_key_of_today() -> None:
    seen = {
        key
        for one in records()
        if one.topic == "admission-seen-changelog" and one.key == b"packed"
        for key, _ in adapter.changes_in(one.value or b"")
    }
    found = 0
    for one in of_topic("decisions"):
        decision = one.read()[0].value
        if decision["outcome"] == "admitted":
            _, workspace, environment, stream = decision["topic"].split(".")
            surface = stream if stream in ("spine", "work") else "events"
            key = decision["idempotency_key"]
            assert adapter.table_key_of_event(workspace, environment, surface, key, decision["event_id"]) in seen
            found += 1
    assert found >= 20


def test_commands_stand_on_their_workspaces_partition_and_name_who_waits() -> None:
    waiting = 0
    for one in of_topic("commands"):
        value = one.read()[0].value
        if value is not None and value["workspace"] and value["kind"] != "topics.resume":
            assert one.partition == adapter.partition_of(value["workspace"].encode(), PARTITIONS)
        for name, header in one.headers:
            if name == "atlas-reply":
                reply = adapter.reply_of(header or b"")
                assert reply is not None and reply[0] < 64
                waiting += 1
    assert waiting >= 20


def test_a_record_that_was_moved_says_where_it_stood_first(master_key: bytes) -> None:
    moved = of_topic("admission")
    assert moved
    for one in moved:
        first = adapter.stood_first(master_key, one.value or b"", one.headers)
        assert first is not None
        (original,) = [each for each in records() if (each.topic, each.partition, each.offset) == first]
        assert original.value == one.value


def test_a_reader_of_control_knows_what_it_knew() -> None:
    assert adapter.control_summary(control_of(records()), EVENT_TYPES) == files.read_json(files.FACTS)["control"]


def test_a_callers_secret_opens(master_key: bytes) -> None:
    facts = files.read_json(files.FACTS)
    sealed = adapter.sealed_secrets([one.value for one in of_topic("control") if one.value])
    assert sealed
    for each in sealed:
        assert adapter.opened_secret(master_key, *each) == facts["callers secret"]


def test_what_endpoints_got_verifies(master_key: bytes) -> None:
    """With the secrets that the installation's key gives today, and with those of callers."""
    facts = files.read_json(files.FACTS)
    verified: Counter[str] = Counter()
    for one in facts["sent"]:
        wanted = one["headers"].get("x-atlas-signature") or one["headers"]["x-signature"]
        body, identifier = one["body"].encode(), one["headers"]["webhook-id"]
        timestamp = int(one["headers"]["webhook-timestamp"])
        for secret in facts["secrets"][one["path"]]:
            signed = adapter.signatures(secret, identifier, timestamp, body)
            if wanted in signed.values() and one["headers"]["webhook-signature"] in signed.values():
                verified[one["path"]] += 1
                break
    sent = Counter(one["path"] for one in facts["sent"])
    assert verified.keys() == sent.keys()
    once = {path for path in sent if len(facts["secrets"][path]) == 1}
    assert once and all(verified[path] == sent[path] for path in once), "those signed with two secrets at a time aside"


def test_keys_are_found_by_their_tokens(master_key: bytes) -> None:
    facts = files.read_json(files.FACTS)
    for name, token in facts["keys"].items():
        if name != "session":
            assert adapter.hash_of_token(master_key, token) in facts["control"]["keys by hash"]
