"""Bodies of streams and workflows as tables: what is taken, what is refused, and which field is named for it."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from ingest_gateway.http.errors import Refused
from ingest_gateway.surfaces.events.entity_forms import (
    DEFAULT_ROUTES_MAX,
    read_new_stream,
    read_new_workflow,
    read_stream_changes,
)
from schemas.commands.streams import CreateStream, UpdateStream
from schemas.commands.workflows import CreateWorkflow

HOOK = "https://hooks.example.com/atlas"


def body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def fields_of(read: Any, value: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        read(body(value))
    return [fault.field for fault in refused.value.fields]


def workflow(value: bytes) -> CreateWorkflow:
    return read_new_workflow(value, allow_private=False, topic_prefix="routes.ws_1.live.")


TOPIC = "routes.ws_1.live.orders"


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"kind": "kafka", "topic": TOPIC}, []),
        ({"kind": "kafka", "topic": TOPIC, "url": None}, []),
        ({"kind": "http", "url": HOOK}, []),
        ({"kind": None, "url": HOOK, "topic": None}, []),
        ({"kind": "kafka"}, ["topic"]),
        ({"kind": "kafka", "url": HOOK}, ["topic", "url"]),
        ({"kind": "kafka", "topic": TOPIC, "url": HOOK}, ["url"]),
        ({"topic": TOPIC}, ["url", "topic"]),
        ({"url": HOOK, "topic": TOPIC}, ["topic"]),
        ({"kind": "Kafka", "url": HOOK}, ["kind"]),
        ({"kind": 1, "url": HOOK}, ["kind"]),
        *(({"kind": "kafka", "topic": topic}, ["topic"]) for topic in (TOPIC + ".a", TOPIC + "\n", "control", 7)),
    ],
)
def test_a_workflow_leads_to_a_url_or_to_a_topic(given: dict[str, Any], fields: list[str]) -> None:
    given = {"name": "Lake", **given}
    if fields:
        assert fields_of(workflow, given) == fields
    else:
        read = workflow(body(given))
        assert (read.url, read.topic) == ((HOOK, "") if given.get("url") else ("", TOPIC))


@pytest.mark.parametrize("name", ["abc", "a" * 64, "orders-prod", "0-9", "---"])
@pytest.mark.requirement("A-018")
def test_names_that_are_taken(name: str) -> None:
    assert read_new_stream(body({"name": name})) == CreateStream(name=name)


@pytest.mark.parametrize(
    "name",
    [
        *("ab", "a" * 65, "", "-", "Orders", "a_b", "a.b", "..", "a b", "abc\n", "\nabc", "abc\u0000"),
        *("ａｂｃ", "öre", "abc​", "orders/prod"),
        *(None, 7, True, ["abc"], {"name": "abc"}),
    ],
)
@pytest.mark.requirement("A-018", "S1")
def test_names_that_are_refused(name: Any) -> None:
    assert fields_of(read_new_stream, {"name": name}) == ["name"]


@pytest.mark.parametrize(
    ("given", "days"), [({}, 14), ({"retention_days": None}, 14), *[({"retention_days": n}, n) for n in (1, 30, 90)]]
)
@pytest.mark.requirement("A-020")
def test_retention(given: dict[str, Any], days: int) -> None:
    assert read_new_stream(body({"name": "orders", **given})).retention_days == days


@pytest.mark.parametrize("days", [0, -1, 91, 2**64, 14.0, 1.5, True, "14", [14]])
@pytest.mark.requirement("A-020")
def test_retention_that_is_refused(days: Any) -> None:
    assert fields_of(read_new_stream, {"name": "orders", "retention_days": days}) == ["retention_days"]


@pytest.mark.parametrize(
    ("description", "taken"),
    [
        *((None, True), ("", True), ("x" * 1_000, True), ("line\r\nline\x1b", True)),
        *(("x" * 1_001, False), ("a\0b", False), (7, False), (["x"], False)),
    ],
)
@pytest.mark.requirement("A-019", "S13")
def test_descriptions(description: Any, taken: bool) -> None:
    given = {"name": "orders", "description": description}
    if taken:
        assert read_new_stream(body(given)).description == description
    else:
        assert fields_of(read_new_stream, given) == ["description"]


@pytest.mark.parametrize(
    ("routes", "fields"),
    [
        ([], []),
        (None, []),
        (["wf_compliance_archive", "wf_01HX9Z0F8C5G3R8K2V1NQ7M4WP"], []),
        ([f"wf_{n}" for n in range(DEFAULT_ROUTES_MAX)], []),
        ([f"wf_{n}" for n in range(DEFAULT_ROUTES_MAX + 1)], ["default_routes"]),
        ("wf_a", ["default_routes"]),
        ({"0": "wf_a"}, ["default_routes"]),
        (["wf_a", 7, None], ["default_routes[1]", "default_routes[2]"]),
        (["wf_a", "wf_a"], ["default_routes[1]"]),
        (["archive", "wf_", "wf_" + "a" * 65, "wf_a\n"], [f"default_routes[{n}]" for n in range(4)]),
    ],
)
@pytest.mark.requirement("A-021")
def test_default_routes(routes: Any, fields: list[str]) -> None:
    given = {"name": "orders", "default_routes": routes}
    if fields:
        assert fields_of(read_new_stream, given) == fields
    else:
        assert read_new_stream(body(given)).default_routes == (routes or [])


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (b"", ["body"]),
        (b"[]", ["body"]),
        (b"null", ["body"]),
        (b'{"name":"orders"} x', ["body"]),
        (b'{"name":"orders","name":"other"}', ["name"]),
        (b'{"name":"\xff\xff\xff"}', ["body"]),
        ({"name": "orders", "Name": "orders"}, ["Name"]),
        ({"name": "orders", "workspace_id": "ws_2", "status": "active"}, ["workspace_id", "status"]),
        ({}, ["name"]),
    ],
)
@pytest.mark.requirement("A-037", "A8", "J1", "J3", "J10", "J15")
def test_bodies_that_are_no_stream(value: Any, fields: list[str]) -> None:
    assert fields_of(read_new_stream, value) == fields


@pytest.mark.requirement("J16")
def test_many_wrong_fields_are_counted_beyond_twenty() -> None:
    named = fields_of(read_new_stream, {f"field_{n}": 1 for n in range(5_000)})
    assert len(named) == 21


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ({}, {}),
        ({"description": None}, {"description": None}),
        ({"retention_days": 30}, {"retention_days": 30}),
        ({"retention_days": None}, {"retention_days": 14}),
        ({"default_routes": ["wf_a"], "description": "d"}, {"default_routes": ["wf_a"], "description": "d"}),
        ({"default_routes": None}, {"default_routes": []}),
    ],
)
@pytest.mark.requirement("A-026")
def test_what_is_absent_stays_as_it_is(value: Any, changes: dict[str, Any]) -> None:
    unset = {"description": UNSET, "retention_days": UNSET, "default_routes": UNSET}
    assert read_stream_changes("orders", body(value)) == UpdateStream(stream="orders", **{**unset, **changes})


def test_a_name_is_not_changed() -> None:
    assert fields_of(lambda text: read_stream_changes("orders", text), {"name": "other"}) == ["name"]


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (HOOK, True),
        ("https://hooks.example.com:8443/a?b=c", True),
        ("HTTPS://HOOKS.example.com/A", True),
        ("http://hooks.example.com/", False),
        ("https://user@hooks.example.com/", False),
        ("https://user:secret@hooks.example.com/", False),
        ("https://hooks.example.com/#part", False),
        ("https://hooks.example.com:22/", False),
        ("https://hooks.example.com:0/", False),
        ("https:\\\\hooks.example.com\\", False),
        ("https://hooks.example.com/\t", False),
        ("https://hooks.exa\nmple.com/", False),
        ("//hooks.example.com/", False),
        ("hooks.example.com", False),
        ("ftp://hooks.example.com/", False),
        ("file:///etc/passwd", False),
        ("https://127.0.0.1/", False),
        ("https://2130706433/", False),
        ("https://0x7f000001/", False),
        ("https://localhost/", False),
        ("https://[::1]/", False),
        ("https://169.254.169.254/", False),
        ("https://１２７.0.0.1/", False),
        ("https://hooks.example.com/" + "a" * 2_048, False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
@pytest.mark.requirement("W1", "W2", "W3", "W5")
def test_urls_that_events_may_be_sent_to(url: Any, taken: bool) -> None:
    given = {"name": "Hook", "url": url}
    if taken:
        assert workflow(body(given)).url.startswith("https://hooks.example.com")
    else:
        assert fields_of(workflow, given) == ["url"]


def test_the_url_is_kept_as_it_is_dialled() -> None:
    assert workflow(body({"name": "Hook", "url": "HTTPS://HOOKS.example.com:443"})).url == "https://hooks.example.com/"


@pytest.mark.parametrize(
    ("workflow_id", "taken"),
    [
        *(("wf_billing", True), ("wf_01HX9Z0F8C5G3R8K2V1NQ7M4WP", True), (None, True), ("wf_" + "a" * 64, True)),
        *(("billing", False), ("wf_", False), ("wf_a-b", False), ("wf_a/b", False), ("wf_a\n", False), (7, False)),
    ],
)
@pytest.mark.requirement("A-023")
def test_ids_of_workflows(workflow_id: Any, taken: bool) -> None:
    given = {"id": workflow_id, "name": "Hook", "url": HOOK}
    if taken:
        assert workflow(body(given)).id == workflow_id
    else:
        assert fields_of(workflow, given) == ["id"]


@pytest.mark.parametrize("name", [None, "", "  ", "x" * 201, 7, "a\0"])
def test_names_of_workflows_that_are_refused(name: Any) -> None:
    assert fields_of(workflow, {"name": name, "url": HOOK}) == ["name"]
