"""CloudEvents 1.0 on publish: the Python SDK's events, the conformance suite's samples, and what is none."""

import base64
import json
import warnings
from typing import Any

import orjson
import pytest

from domain.events.cloudevents import render_structured
from schemas.codec import EVENT
from tests.support.spine_surface import ORG, SpineSurface

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from cloudevents.v1.conversion import to_binary, to_structured
    from cloudevents.v1.http import CloudEvent

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
SAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "subject": None,
    "id": "C234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "application/json",
    "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
}


def sent_on(spine: SpineSurface, index: int = -1) -> dict[str, Any]:
    """The stored event as a subscription that asked for CloudEvents gets it."""
    record = EVENT.decode(spine.log.records[index].value)
    event: dict[str, Any] = orjson.loads(render_structured(record["id"], record))
    return event


async def publish(spine: SpineSurface, body: bytes, headers: dict[str, str]) -> Any:
    return await spine.publish(body, **{name.replace("-", "_"): value for name, value in headers.items()})


@pytest.mark.parametrize("data", [{"message": "Hello World!"}, [1, 2], "text", 7, None, {"deep": [{"a": None}]}])
@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_python_sdks_events_are_accepted_and_come_back_as_they_were(
    spine: SpineSurface, mode: str, data: Any
) -> None:
    event = CloudEvent({"type": "com.example.sampletype1", "source": "https://example.com/event-producer"}, data)
    headers, body = to_structured(event) if mode == "structured" else to_binary(event)
    headers.setdefault("content-type", "application/json")
    content = body if isinstance(body, bytes) else (body or "").encode()
    answer = await publish(spine, content, {name.title(): value for name, value in headers.items()})
    assert answer.status == 201, answer.body
    back = sent_on(spine)
    assert {name: back[name] for name in ("id", "source", "type", "specversion")} == {
        "id": event["id"],
        "source": "https://example.com/event-producer",
        "type": "com.example.sampletype1",
        "specversion": "1.0",
    }
    assert back["time"] == event["time"]
    assert back.get("data") == data


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"subject": "larger-context"},
        {"data": '<much wow="xml"/>', "datacontenttype": "text/xml"},
        {"data": [1, "2", None]},
        {"datacontenttype": "application/vnd.apache.thrift.binary", "data": ..., "data_base64": "aGVsbG8="},
        {"data": ...},
        {"dataschema": "https://example.com/schema", "time": "2018-04-05T17:31:00.123456789+02:00"},
        {"type": "com.github.pull_request.opened", "source": "https://github.com/cloudevents/spec/pull"},
        {"id": "Euro € 😀"},
        {"topic": "orders", "pubsubname": "pubsub", "traceparent": "00-1-2-01", "tracestate": ""},  # Dapr
        {"subject": "5\u00a0€ for 👩\u200d💻"},
    ],
)
async def test_samples_of_the_json_format_are_accepted_whole(spine: SpineSurface, change: dict[str, Any]) -> None:
    sample = {name: value for name, value in {**SAMPLE, **change}.items() if value is not ...}
    answer = await spine.publish(json.dumps(sample).encode(), Content_Type=STRUCTURED)
    assert answer.status == 201, answer.body
    back = sent_on(spine)
    expected = {name: value for name, value in sample.items() if value is not None}
    if "data" not in sample and "data_base64" not in sample:
        del expected["datacontenttype"]
    assert back == expected


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json; charset=utf-8", b'{"message": "Hello World!"}', {"data": {"message": "Hello World!"}}),
        ("application/xml", b'<much wow="xml"/>', {"data": '<much wow="xml"/>'}),
        ("text/plain", "Grüße".encode(), {"data": "Grüße"}),
        ("application/octet-stream", b"\x00\xff", {"data_base64": base64.b64encode(b"\x00\xff").decode()}),
        ("application/octet-stream", b"", {}),
    ],
)
@pytest.mark.requirement("S-004")
async def test_binary_mode_takes_any_data(spine: SpineSurface, content_type: str, body: bytes, data: Any) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "com.example.someevent",
        "ce-time": "2018-04-05T03:56:24Z",
        "ce-id": "1234-1234-1234",
        "ce-source": "/mycontext/subcontext",
        "ce-comexampleextension": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "Content-Type": content_type,
    }
    answer = await publish(spine, body, headers)
    assert answer.status == 201, answer.body
    back = sent_on(spine)
    assert back["comexampleextension"] == "Euro € 😀" and back["source"] == "/mycontext/subcontext"
    assert {name: back[name] for name in ("data", "data_base64") if name in back} == data


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"specversion": "0.3"}, "invalid_request", "specversion"),
        ({"specversion": ...}, "missing_required_field", "specversion"),
        ({"id": ...}, "missing_required_field", "id"),
        ({"id": ""}, "invalid_request", "id"),
        ({"source": ...}, "missing_required_field", "source"),
        ({"type": ...}, "missing_required_field", "type"),
        ({"type": "Opened"}, "invalid_event_type", "type"),
        ({"time": "yesterday"}, "invalid_request", "time"),
        ({"data_base64": "aGVsbG8="}, "invalid_request", "data_base64"),
        ({"data": ..., "data_base64": "not base64!"}, "invalid_request", "data_base64"),
        ({"BadName": "x"}, "invalid_request", "BadName"),
        ({"ext": {"a": 1}}, "invalid_request", "ext"),
        ({"ext": 2**31}, "invalid_request", "ext"),
        ({"orgid": "org_xyz"}, "forbidden", "metadata.orgId"),
    ],
)
@pytest.mark.requirement("S3", "S-048", "S-049", "X-12")
async def test_what_is_no_cloudevent(spine: SpineSurface, change: dict[str, Any], code: str, field: str) -> None:
    sample = {name: value for name, value in {**SAMPLE, **change}.items() if value is not ...}
    answer = await spine.publish(json.dumps(sample).encode(), Content_Type=STRUCTURED)
    assert (answer.code, answer.json["error"]["field"]) == (code, field)
    assert not spine.log.records


@pytest.mark.requirement("S-025", "S-008")
async def test_its_correlation_id_and_org_are_the_spines(spine: SpineSurface) -> None:
    sample = {**SAMPLE, "correlationid": "run-gh-001", "orgid": ORG}
    assert (await spine.publish(json.dumps(sample).encode(), Content_Type=STRUCTURED)).status == 201
    assert json.loads(EVENT.decode(spine.log.records[0].value)["metadata"]) == {"correlationId": "run-gh-001"}
    assert sent_on(spine)["correlationid"] == "run-gh-001"


@pytest.mark.requirement("S-014")
async def test_id_and_source_name_an_event(spine: SpineSurface) -> None:
    first, again = [await spine.publish(json.dumps(SAMPLE).encode(), Content_Type=STRUCTURED) for _ in range(2)]
    assert first.json == again.json and again.headers["Atlas-Decision"] == "replay"
    other = await spine.publish(json.dumps({**SAMPLE, "source": "/other"}).encode(), Content_Type=STRUCTURED)
    assert other.status == 201 and other.json["eventId"] != first.json["eventId"]
    changed = await spine.publish(json.dumps({**SAMPLE, "data": {}}).encode(), Content_Type=STRUCTURED)
    assert (changed.status, changed.code) == (409, "duplicate_event")


async def test_a_batch_has_a_result_an_event(spine: SpineSurface) -> None:
    batch = [SAMPLE, {**SAMPLE, "id": "2"}, {**SAMPLE, "id": ""}, SAMPLE, 7]
    answer = await spine.publish(json.dumps(batch).encode(), Content_Type=BATCH)
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["status"] for result in results] == [201, 201, 400, 201, 400]
    assert {**results[0], "decision": "replay"} == results[3] != results[1]
    assert results[2]["error"]["field"] == "id"


@pytest.mark.parametrize("body", [b"[]", b"{}", b"[", b"", json.dumps([SAMPLE] * 101).encode()])
async def test_what_is_no_batch(spine: SpineSurface, body: bytes) -> None:
    answer = await spine.publish(body, Content_Type=BATCH)
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_an_event_of_the_documents_form_is_sent_on_as_a_cloudevent(spine: SpineSurface) -> None:
    event = {"type": "code.x", "source": "github.action", "data": {"a": 1.0}, "metadata": {"correlationId": "c"}}
    published = (await spine.publish(json.dumps(event).encode())).json
    assert sent_on(spine) == {
        "specversion": "1.0",
        "id": published["eventId"],
        "source": "github.action",
        "type": "code.x",
        "time": published["timestamp"],
        "datacontenttype": "application/json",
        "correlationid": "c",
        "data": {"a": 1.0},
    }


async def test_other_content_types_are_refused(spine: SpineSurface) -> None:
    answer = await spine.publish(b"{}", Content_Type="text/plain")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
