"""What stands around every request: ids, faults into answers, logs, metrics, queries. Rows H23, J16, S14."""

import logging

import pytest
from prometheus_client import REGISTRY

from ingest_gateway.http.server import SurfaceRunner
from schemas.ids import is_id
from tests.contract.http.small_surface import SURFACE
from tests.contract.http.wire import Wire, get, post, request


def counted(operation: str, status: int) -> float:
    labels = {"surface": SURFACE, "operation": operation, "status": str(status)}
    return REGISTRY.get_sample_value("atlas_http_requests_total", labels) or 0.0


def unreadable(reason: str) -> float:
    labels = {"surface": SURFACE, "reason": reason}
    return REGISTRY.get_sample_value("atlas_http_unreadable_total", labels) or 0.0


@pytest.mark.requirement("A-071")
async def test_every_answer_carries_an_id_of_its_own(port: int) -> None:
    seen = set()
    async with Wire(port) as wire:
        for target in ("/things/1", "/nowhere", "/boom", "/faulty", "/redirect"):
            await wire.send(get(target))
            answer = await wire.answer()
            seen.add(answer.headers["x-request-id"])
            assert answer.headers["server"] == "atlas"
            if answer.status >= 400:
                assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
    assert len(seen) == 5
    assert all(is_id(one, "req_") for one in seen)


async def test_an_unexpected_error_is_a_500_that_tells_nothing_and_is_logged_once(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire(port) as wire:
        await wire.send(get("/boom"))
        answer = await wire.answer()
        assert (answer.status, answer.kind) == (500, "INTERNAL")
        assert b"secret" not in answer.body
        assert await wire.is_open()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.__dict__["facts"] == {
        "request_id": answer.headers["x-request-id"],
        "surface": SURFACE,
        "operation": "boom",
    }
    assert record.exc_info is not None


@pytest.mark.requirement("J16")
async def test_a_refusal_tells_twenty_faults_and_counts_the_rest(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(get("/faulty"))
        answer = await wire.answer()
        fields = answer.json["error"]["fields"]
        assert fields[:20] == [[f"f{number}", "is wrong"] for number in range(20)]
        assert fields[20:] == [["", "and 4980 more"]]
        assert answer.json["details"] == {"hint": 7}
        assert answer.headers["retry-after"] == "3"


async def test_a_redirect_passes(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(get("/redirect"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["location"]) == (302, "/things/1")


async def test_head_is_get_without_its_body(port: int) -> None:
    async with Wire(port) as wire:
        await wire.send(request("HEAD", "/things/1"))
        assert await wire.line() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.requirement("S14")
@pytest.mark.parametrize(
    ("sent", "operation", "status"),
    [
        (get("/things/1"), "thing", 200),
        (get("/nowhere/at/all"), "other", 404),
        (request("PUT", "/things/1"), "other", 405),
        (get("/redirect"), "other", 302),
        (get("/boom"), "boom", 500),
        (post("/unread", b""), "unread", 401),
        (get("/things/1", host="a b"), "other", 400),
    ],
)
async def test_requests_are_counted_by_operation_and_status(
    port: int, sent: bytes, operation: str, status: int
) -> None:
    before = counted(operation, status)
    async with Wire(port) as wire:
        await wire.send(sent)
        assert (await wire.answer()).status == status
    assert counted(operation, status) == before + 1


@pytest.mark.requirement("H10", "S14")
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x00\xa5", "method"),
        (b"GET / HTTP/3.7\r\n\r\n", "version"),
        (get("/" + "x" * 9_000), "line_too_long"),
        (b"GET http:// HTTP/1.1\r\n\r\n", "target"),
        (b"GET / HTTP/1.1\r\n\r\n", "message"),
        (get("/things/1", "X : 1"), "message"),
    ],
)
async def test_what_is_no_request_is_counted_and_neither_quoted_nor_logged(
    port: int, sent: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = unreadable(reason)
    async with Wire(port) as wire:
        await wire.send(sent)
        answer = await wire.answer()
        assert answer.headers["content-type"].startswith("application/json")
        assert sent[:9] not in answer.body
    assert unreadable(reason) == before + 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.requirement("F38")
async def test_a_head_that_never_ends_is_counted(impatient: SurfaceRunner) -> None:
    before = unreadable("head_timeout")
    async with Wire(impatient.port) as wire:
        await wire.send(b"GET /slow")
        assert (await wire.answer()).status == 408
    assert unreadable("head_timeout") == before + 1


QUERIES = [
    ("limit=25&a=b", 200, {"limit": 25, "a": "b"}),
    ("", 200, {"limit": 25}),
    ("&&a=&", 200, {"limit": 25, "a": ""}),
    ("a=%C3%A9+x%26", 200, {"limit": 25, "a": "é x&"}),
    ("%61=1", 200, {"limit": 25, "a": "1"}),
    ("limit=100", 200, {"limit": 100}),
    ("a=%ff", 400, "a"),
    ("a=%zz", 400, "a"),
    ("a=%00", 400, "a"),
    ("a=%0a", 400, "a"),
    ("a=1&a=2", 400, "a"),
    ("a=1&a=1", 400, "a"),
    ("a=1&%61=2", 400, "a"),
    ("b=1", 400, "b"),
    ("%ff=1", 400, ""),
    ("limit=0", 400, "limit"),
    ("limit=101", 400, "limit"),
    ("limit=-1", 400, "limit"),
    ("limit=+1", 400, "limit"),
    ("limit=1e3", 400, "limit"),
    ("limit=1.0", 400, "limit"),
    ("limit=", 400, "limit"),
    ("limit=%D9%A3", 400, "limit"),
    ("limit=1" + "0" * 30, 400, "limit"),
    ("limit=1_0", 400, "limit"),
    ("limit=%201", 400, "limit"),
]


@pytest.mark.requirement("H23")
@pytest.mark.parametrize(("query", "status", "told"), QUERIES)
async def test_queries_are_read_strictly(port: int, query: str, status: int, told: object) -> None:
    async with Wire(port) as wire:
        await wire.send(get(f"/things?{query}"))
        answer = await wire.answer()
        assert answer.status == status
        if status == 200:
            assert answer.json == told
        else:
            assert [field for field, _ in answer.json["error"]["fields"]] == [told]
        assert await wire.is_open()


@pytest.mark.requirement("H23")
async def test_raw_bytes_and_many_parameters_are_refused(port: int) -> None:
    for query in (b"a=\xff", b"a=\xc3\xa9", b"&".join([b"x=1"] * 1_000)):
        async with Wire(port) as wire:
            await wire.send(b"GET /things?%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % query)
            assert (await wire.answer()).status in (400, 404)
