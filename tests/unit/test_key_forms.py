"""Bodies of /v1/keys, what a key may hand on, and how keys are shown."""

from typing import Any

import msgspec
import orjson
import pytest

from domain.security.principals import ADMIN, EVENTS_READ, EVENTS_WRITE, Principal, beyond, principal_of
from ingest_gateway.http.errors import Refused
from ingest_gateway.surfaces.events.key_forms import read_new_key, read_rotation
from ingest_gateway.surfaces.events.key_views import key_view
from ingest_gateway.surfaces.shared.contract import load_document
from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT
from schemas.commands.keys import CreateKey
from schemas.entities import Key, KeyKind
from tests.support.openapi import breaches

NOW_MS = 1_779_114_131_482
SECRET = {"kind": "secret", "name": "billing"}
PAGE = {"kind": "publishable", "name": "shop", "streams": ["web"], "origins": ["https://shop.example.com"]}


def a_key(**changes: Any) -> Key:
    values = {"id": "key_01JV2X3Y4Z5A6B7C8D9E0F1G2H", "workspace": "ws_1", "created_ms": NOW_MS, "environment": "live"}
    return Key(**{**values, "key_kind": KeyKind.SECRET, "name": "k", "token_hash": "", **changes})  # type: ignore[arg-type]


MAKER = principal_of(a_key())


def read(body: Any, maker: Principal = MAKER) -> CreateKey:
    return read_new_key(orjson.dumps(body), maker, NOW_MS)


def faults(body: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        read(body)
    return [fault.field for fault in refused.value.fields]


@pytest.mark.requirement("A-008", "A-012")
def test_what_is_asked_for() -> None:
    limits = {"streams": ["orders-prod"], "scopes": ["events:write"], "allowed_ips": ["203.0.113.0/24", "2001:db8::1"]}
    asked = read({**SECRET, **limits, "expires_at": "2027-05-18T00:00:00Z"})
    assert asked == CreateKey(
        name="billing", environment="live", key_kind=KeyKind.SECRET, expires_ms=1_810_598_400_000, **limits
    )
    assert read({"name": "all"}) == CreateKey(name="all", environment="live", key_kind=KeyKind.SECRET)
    assert read(PAGE).origins == ["https://shop.example.com"]
    assert read(SECRET, principal_of(a_key(environment="test"))).environment == "test"


@pytest.mark.requirement("A8", "A-012", "A-072")
@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": ""}, ["name"]),
        ({"name": None}, ["name"]),
        ({"kind": "abn"}, ["kind"]),
        ({"kind": "pat"}, ["kind"]),
        ({"id": "key_mine"}, ["id"]),
        ({"workspace_id": "ws_2", "environment": "test"}, ["environment", "workspace_id"]),
        ({"token_hash": "00", "secret": "atlas_live_sk_x", "revoked_ms": None}, ["revoked_ms", "secret", "token_hash"]),
        ({"scopes": ["everything"]}, ["scopes[0]"]),
        ({"scopes": ["tasks:read"]}, ["scopes[0]"]),
        ({"scopes": "admin"}, ["scopes"]),
        ({"scopes": [7, "admin", "admin"]}, ["scopes[0]", "scopes[2]"]),
        ({"streams": ["Orders"]}, ["streams[0]"]),
        ({"streams": ["orders"] * 101}, ["streams"]),
        ({"allowed_ips": ["203.0.113.7/24", "example.com", "::1%lo"]}, [f"allowed_ips[{n}]" for n in range(3)]),
        ({"origins": ["https://shop.example.com"]}, ["origins"]),
        ({"expires_at": "2027-05-18"}, ["expires_at"]),
        ({"expires_at": "2026-05-18T00:00:00Z"}, ["expires_at"]),
        ({"expires_at": 1_810_598_400}, ["expires_at"]),
    ],
)
def test_what_is_refused(change: dict[str, Any], fields: list[str]) -> None:
    assert sorted(faults({**SECRET, **change})) == fields


@pytest.mark.requirement("A-012")
@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"streams": []}, ["streams"]),
        ({"scopes": ["events:read"]}, ["scopes[0]"]),
        ({"scopes": ["admin"]}, ["scopes[0]"]),
        ({"origins": ["*"]}, ["origins[0]"]),
        ({"origins": ["null"]}, ["origins[0]"]),
        ({"origins": ["https://shop.example.com/"]}, ["origins[0]"]),
        ({"origins": ["https://Shop.example.com", "shop.example.com"]}, ["origins[0]", "origins[1]"]),
    ],
)
def test_a_key_for_pages_is_narrow(change: dict[str, Any], fields: list[str]) -> None:
    assert faults({**PAGE, **change}) == fields


# (body, seconds; or the fields at fault)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", OVERLAP_SECONDS_DEFAULT),
        (b"{}", OVERLAP_SECONDS_DEFAULT),
        (b'{"overlap_seconds":null}', OVERLAP_SECONDS_DEFAULT),
        (b'{"overlap_seconds":0}', 0),
        (b'{"overlap_seconds":2592000}', 2_592_000),
        (b'{"overlap_seconds":2592001}', ["overlap_seconds"]),
        (b'{"overlap_seconds":-1}', ["overlap_seconds"]),
        (b'{"overlap_seconds":true}', ["overlap_seconds"]),
        (b'{"overlap_seconds":"60"}', ["overlap_seconds"]),
        (b'{"id":"key_2"}', ["id"]),
        (b"[]", ["body"]),
    ],
)
def test_a_rotation(body: bytes, expected: object) -> None:
    if isinstance(expected, int):
        asked = read_rotation("key_1", body)
        assert (asked.id, asked.overlap_seconds) == ("key_1", expected)
    else:
        with pytest.raises(Refused) as refused:
            read_rotation("key_1", body)
        assert [fault.field for fault in refused.value.fields] == expected


# (the maker's limits, the made key's limits, what goes beyond)
@pytest.mark.requirement("A3", "A8")
@pytest.mark.parametrize(
    ("maker", "made", "fields"),
    [
        ({}, {}, []),
        ({}, {"scopes": [EVENTS_READ], "streams": ["a"], "allowed_ips": ["::/0"], "expires_ms": 1}, []),
        ({"scopes": [ADMIN]}, {}, ["scopes"]),
        ({"scopes": [ADMIN, EVENTS_READ]}, {"scopes": [EVENTS_READ, EVENTS_WRITE]}, ["scopes"]),
        ({"scopes": [ADMIN, EVENTS_READ]}, {"scopes": [EVENTS_READ]}, []),
        ({"scopes": [ADMIN]}, {"key_kind": KeyKind.PUBLISHABLE, "streams": ["a"]}, ["scopes"]),
        ({"streams": ["a", "b"]}, {"streams": ["b"]}, []),
        ({"streams": ["a", "b"]}, {"streams": ["b", "c"]}, ["streams"]),
        ({"streams": ["a"]}, {}, ["streams"]),
        ({"allowed_ips": ["203.0.113.0/24"]}, {"allowed_ips": ["203.0.113.7"]}, []),
        ({"allowed_ips": ["203.0.113.0/24"]}, {"allowed_ips": ["203.0.113.7", "0.0.0.0/0"]}, ["allowed_ips"]),
        ({"allowed_ips": ["203.0.113.0/24"]}, {}, ["allowed_ips"]),
        ({"expires_ms": 10}, {"expires_ms": 10}, []),
        ({"expires_ms": 10}, {"expires_ms": 11}, ["expires_at"]),
        ({"expires_ms": 10}, {}, ["expires_at"]),
        ({"rotated_to": "key_2", "overlap_until_ms": 10}, {}, ["expires_at"]),
    ],
)
def test_no_key_makes_a_stronger_one(maker: dict[str, Any], made: dict[str, Any], fields: list[str]) -> None:
    assert beyond(principal_of(a_key(**maker)), principal_of(a_key(**made))) == fields


@pytest.mark.parametrize(
    ("changes", "status", "expires_at"),
    [
        ({}, "active", None),
        ({"expires_ms": NOW_MS + 1_000}, "active", "2026-05-18T14:22:12Z"),
        ({"expires_ms": NOW_MS}, "expired", "2026-05-18T14:22:11Z"),
        ({"rotated_to": "key_2", "overlap_until_ms": NOW_MS + 1_000}, "rotated", "2026-05-18T14:22:12Z"),
        ({"rotated_to": "key_2", "overlap_until_ms": NOW_MS}, "expired", "2026-05-18T14:22:11Z"),
        ({"revoked_ms": NOW_MS, "last_used_ms": NOW_MS}, "revoked", None),
    ],
)
def test_how_a_key_is_shown(changes: dict[str, Any], status: str, expires_at: str | None) -> None:
    document = load_document("events")
    key = a_key(**changes)
    view = key_view(key, NOW_MS)
    assert (view["status"], view["expires_at"]) == (status, expires_at)
    assert list(breaches(document, {"$ref": "#/components/schemas/Key"}, view)) == []
    shown = key_view(key, NOW_MS, "atlas_live_sk_" + "0" * 32)
    assert list(breaches(document, {"$ref": "#/components/schemas/NewKeyShown"}, shown)) == []
    assert "token_hash" not in view and "secret" not in view
    assert msgspec.json.decode(msgspec.json.encode(view)) == view
