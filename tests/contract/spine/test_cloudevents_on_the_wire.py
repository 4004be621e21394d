"""CloudEvents over HTTP whose heads no client library makes: without a content type, with bytes beyond ASCII."""

import pytest

from tests.contract.http.wire import Answer, Wire
from tests.contract.spine.test_cloudevents import sent_on
from tests.support.cloudevents import BAD, DATA, Bad, Binary, headers_of
from tests.support.spine_surface import SpineSurface

STRUCTURED = b"application/cloudevents+json"
EVENT = b'{"specversion":"1.0","id":"in","source":"/in","type":"a.b","data":{"a":1}}'
TYPE_AND_DATA = ("datacontenttype", "data", "data_base64")


async def publish(
    spine: SpineSurface, attributes: list[tuple[str, bytes]], content_type: bytes | None, body: bytes
) -> Answer:
    head = [
        b"POST /v1/events HTTP/1.1",
        b"Host: atlas",
        b"Authorization: Bearer " + spine.tokens["live"].encode(),
        b"Content-Length: %d" % len(body),
        *(b"ce-%b: %b" % (name.encode(), value) for name, value in attributes),
    ]
    if content_type is not None:
        head.append(b"Content-Type: " + content_type)
    async with Wire(int(spine.url.rpartition(":")[2])) as wire:
        await wire.send(b"\r\n".join(head) + b"\r\n\r\n" + body)
        return await wire.answer()


@pytest.mark.requirement("S-004", "X-12")
@pytest.mark.parametrize("case", DATA, ids=[case.what for case in DATA])
async def test_data_of_any_type_or_none_is_taken_and_sent_on_as_it_came(spine: SpineSurface, case: Binary) -> None:
    answer = await publish(spine, headers_of(list(case.attributes.items())), case.content_type, case.data)
    assert answer.status == 201, answer.body
    back = sent_on(spine)
    assert {name: back[name] for name in TYPE_AND_DATA if name in back} == case.back


@pytest.mark.requirement("S3", "S-014", "X-12")
@pytest.mark.parametrize("form", ["raw", "percent-encoded"])
@pytest.mark.parametrize("case", BAD, ids=[case.what for case in BAD])
async def test_an_attribute_that_has_no_one_value_is_refused_and_named(
    spine: SpineSurface, case: Bad, form: str
) -> None:
    written = [
        (name, value if form == "raw" else b"".join(b"%%%02X" % byte for byte in value)) for name, value in case.headers
    ]
    answer = await publish(spine, headers_of(written), b"application/json", b"{}")
    assert (answer.status, answer.json["error"]["field"]) == (400, case.field)
    assert not spine.log.records


@pytest.mark.requirement("S-014")
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro €".encode(), "Euro €"),
        (b'"quoted \\"once\\""', 'quoted "once"'),
        (b'"half', '"half'),
        (b"50%", "50%"),
        (b"%zz", "%zz"),
        (b"%2525", "%25"),
    ],
)
async def test_header_values_are_decoded_once(spine: SpineSurface, written: bytes, read: str) -> None:
    answer = await publish(spine, headers_of([("id", written)]), b"application/json", b"{}")
    assert answer.status == 201 and sent_on(spine)["id"] == read


@pytest.mark.requirement("S-004", "X-12")
async def test_an_event_in_one_piece_may_have_its_attributes_in_headers_too(spine: SpineSurface) -> None:
    """The HTTP binding's 3.2.3: the content type says which form it is."""
    answer = await publish(spine, headers_of([("id", b"in")]), STRUCTURED, EVENT)
    assert answer.status == 201 and sent_on(spine)["data"] == {"a": 1}
    batch = await publish(spine, headers_of([]), b"application/cloudevents-batch+json", b"[" + EVENT + b"]")
    told = {"status": 201, "decision": "replay", "event": answer.json}
    assert batch.status == 200 and batch.json["results"] == [told]


@pytest.mark.parametrize(
    "kind", [b"application/cloudevents+avro", b"application/cloudevents+xml", b"application/cloudevents"]
)
async def test_formats_that_are_not_read_are_no_binary_mode(spine: SpineSurface, kind: bytes) -> None:
    answer = await publish(spine, headers_of([]), kind, EVENT)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


async def test_bytes_in_one_piece_have_no_type_unless_it_is_said(spine: SpineSurface) -> None:
    event = EVENT.replace(b'"data":{"a":1}', b'"data_base64":"AP8="')
    assert (await publish(spine, [], STRUCTURED, event)).status == 201
    assert "datacontenttype" not in sent_on(spine) and sent_on(spine)["data_base64"] == "AP8="
