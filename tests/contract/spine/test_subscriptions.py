"""`/v1/events/subscriptions`: made, listed, deleted; what is refused; the secret that nobody sees again."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.security.sealed_secrets import SecretBox
from schemas.entities import Subscription
from tests.support.events_surface import MASTER_KEY, Answer
from tests.support.spine_surface import WORKSPACE, SpineSurface, spine_surface

PATH = "/v1/events/subscriptions"
SECRET = "whsec_xxxxxxxx"
SUBSCRIPTION: dict[str, Any] = {
    "eventTypes": ["code.*", "lead.*", "contract.*"],
    "webhookUrl": "https://your-app.com/webhooks/events",
    "secret": SECRET,
    "description": "Code, leads and contracts",
}
ABSENT = object()


async def subscribe(spine: SpineSurface, **changes: Any) -> Answer:
    how = {name: changes.pop(name) for name in ("key", "Idempotency_Key") if name in changes}
    asked = {name: value for name, value in {**SUBSCRIPTION, **changes}.items() if value is not ABSENT}
    return await spine.request("POST", PATH, json.dumps(asked).encode(), **how)


def stored(spine: SpineSurface) -> list[Subscription]:
    return spine.control.view.subscriptions_of(WORKSPACE, "live", "spine")


@pytest.mark.requirement("S-026", "S-027", "S-030", "S-031", "S-033", "X-39")
async def test_a_subscription_is_made_listed_and_deleted(spine: SpineSurface) -> None:
    made = await subscribe(spine)
    assert made.status == 201
    assert made.json["subscriptionId"].startswith("sub_")
    assert made.json | {"subscriptionId": "", "createdAt": ""} == {
        "subscriptionId": "",
        "eventTypes": ["code.*", "lead.*", "contract.*"],
        "webhookUrl": "https://your-app.com/webhooks/events",
        "description": "Code, leads and contracts",
        "format": "native",
        "status": "active",
        "createdAt": "",
    }
    assert (await spine.request("GET", PATH)).json == {"subscriptions": [made.json]}
    one = f"{PATH}/{made.json['subscriptionId']}"
    assert (await spine.request("DELETE", one)).status == 204
    again = await spine.request("DELETE", one)
    assert (again.status, again.code) == (404, "not_found")
    assert (await spine.request("GET", PATH)).json == {"subscriptions": []}


@pytest.mark.requirement("S-029", "W14")
async def test_the_callers_secret_is_stored_encrypted_and_never_shown(spine: SpineSurface) -> None:
    made = await subscribe(spine, Idempotency_Key="once")
    listed = await spine.request("GET", PATH)
    (mine,) = stored(spine)
    for told in (made.body, listed.body, *(command.encode() for command in spine.commands.commands)):
        assert SECRET.encode() not in told
    assert SECRET.encode() not in mine.to_entity().encode()
    assert SecretBox(MASTER_KEY).open(mine.sealed_secret, WORKSPACE, "live") == SECRET
    assert (await subscribe(spine, Idempotency_Key="once")).json == made.json, "a repeat is the same request"
    other = await subscribe(spine, Idempotency_Key="once", secret=SECRET + "y")
    assert (other.status, other.code) == (409, "idempotency_key_reused")


@pytest.mark.requirement("S-045", "X-41")
async def test_the_eleventh_subscription_is_refused(spine: SpineSurface) -> None:
    for _ in range(10):
        assert (await subscribe(spine)).status == 201
    eleventh = await subscribe(spine)
    assert (eleventh.status, eleventh.code) == (409, "subscription_limit_reached")
    assert eleventh.json["error"]["field"] is None
    assert (await subscribe(spine, key="other")).status == 201, "an org of its own"


NO_PATTERNS = ("**", "a.b*", "(a+)+$", "%", "a", "A.*")
SECRETS = ("12345678", "x" * 256, "no base64 at all ☃", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"eventTypes": ABSENT}, "invalid_request", "eventTypes"),
    ({"eventTypes": []}, "invalid_request", "eventTypes"),
    ({"eventTypes": "code.*"}, "invalid_request", "eventTypes"),
    ({"eventTypes": ["code.*"] * 2}, "invalid_request", "eventTypes[1]"),
    ({"eventTypes": [f"a.b{n}" for n in range(21)]}, "invalid_request", "eventTypes"),
    ({"eventTypes": [7]}, "invalid_request", "eventTypes[0]"),
    *(({"eventTypes": [text]}, "invalid_request", "eventTypes[0]") for text in NO_PATTERNS),
    ({"webhookUrl": ABSENT}, "invalid_request", "webhookUrl"),
    ({"webhookUrl": "http://your-app.com/"}, "invalid_webhook_url", "webhookUrl"),
    ({"webhookUrl": "ftp://your-app.com/"}, "invalid_webhook_url", "webhookUrl"),
    ({"webhookUrl": "https://127.0.0.1/"}, "invalid_webhook_url", "webhookUrl"),
    ({"webhookUrl": "https://10.0.0.1/"}, "invalid_webhook_url", "webhookUrl"),
    ({"webhookUrl": "https://localhost/"}, "invalid_webhook_url", "webhookUrl"),
    ({"webhookUrl": "https://user:pass@your-app.com/"}, "invalid_webhook_url", "webhookUrl"),
    ({"secret": ABSENT}, "invalid_request", "secret"),
    ({"secret": "abc"}, "invalid_request", "secret"),
    ({"secret": "x" * 10_240}, "invalid_request", "secret"),
    ({"secret": 7}, "invalid_request", "secret"),
    ({"description": 7}, "invalid_request", "description"),
    ({"format": "xml"}, "invalid_request", "format"),
    ({"extra": 1}, "invalid_request", "extra"),
]


@pytest.mark.requirement("S12", "W14", "S-028", "S-029", "W1")
@pytest.mark.parametrize(("change", "code", "field"), FAULTS)
async def test_what_is_no_subscription(spine: SpineSurface, change: dict[str, Any], code: str, field: str) -> None:
    answer = await subscribe(spine, **change)
    assert (answer.status, answer.code, answer.json["error"]["field"]) == (400, code, field)
    assert not stored(spine)


@pytest.mark.requirement("W14")
@pytest.mark.parametrize("secret", SECRETS)
async def test_any_text_of_8_to_256_bytes_is_a_secret(spine: SpineSurface, secret: str) -> None:
    assert (await subscribe(spine, secret=secret)).status == 201


@pytest.mark.requirement("S-028")
async def test_in_development_a_webhook_may_be_on_this_machine(tmp_path: Path) -> None:
    async with spine_surface(tmp_path, allow_private=True) as spine:
        assert (await subscribe(spine, webhookUrl="http://127.0.0.1:4711/hook")).status == 201


@pytest.mark.requirement("S-052", "S-058")
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", PATH, {"live", "admin"}),
        ("GET", PATH, {"live", "admin", "reader"}),
        ("DELETE", f"{PATH}/sub_1", {"live", "admin"}),
    ],
)
async def test_who_may(spine: SpineSurface, method: str, path: str, allowed: set[str]) -> None:
    body = json.dumps(SUBSCRIPTION).encode() if method == "POST" else None
    for key in ("live", "admin", "reader", "publisher"):
        answer = await spine.request(method, path, body, key=key)
        assert (answer.status == 403) is (key not in allowed), key


@pytest.mark.requirement("S-032", "A8")
async def test_another_org_sees_and_deletes_nothing_of_it(spine: SpineSurface) -> None:
    made = await subscribe(spine)
    for key in ("other", "test"):
        assert (await spine.request("GET", PATH, key=key)).json == {"subscriptions": []}
        gone = await spine.request("DELETE", f"{PATH}/{made.json['subscriptionId']}", key=key)
        assert (gone.status, gone.code) == (404, "not_found")
    assert stored(spine)
