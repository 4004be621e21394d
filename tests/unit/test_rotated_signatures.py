"""What a delivery is signed with while its secret is rotated: both secrets until the overlap is over, then one."""

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from yarl import URL

from domain.delivery.signatures import signing_secret, standard_key, timestamped_signature
from processors.delivery.http_client import HttpEndpoint, Post, PreviousSecret, signed_headers

KEY = b"\x07" * 32
OLD, NEW = (signing_secret(KEY, "ws_1/live/wf_a", version) for version in (1, 2))
BODY = b'{"id":"evt_1"}'
NOW_SECONDS = 1_779_114_133
POST = Post("dlv_1", 1, BODY)


def an_endpoint(until_ms: int | None) -> HttpEndpoint:
    previous = None if until_ms is None else PreviousSecret(OLD, standard_key(OLD), until_ms)
    return HttpEndpoint(URL("https://hooks.acme.example/atlas"), NEW, standard_key(NEW), previous)


@pytest.mark.requirement("F47", "A-057", "A-058")
@pytest.mark.parametrize(
    ("until_ms", "secrets"),
    [
        (None, [NEW]),
        (NOW_SECONDS * 1_000 + 1, [NEW, OLD]),
        (NOW_SECONDS * 1_000, [NEW]),
        (NOW_SECONDS * 1_000 - 1, [NEW]),
    ],
    ids=["never rotated", "in the overlap", "at its end", "after it"],
)
def test_each_secret_that_holds_signs_it(until_ms: int | None, secrets: list[str]) -> None:
    headers = signed_headers(an_endpoint(until_ms), POST, NOW_SECONDS)
    alone = [timestamped_signature(secret, NOW_SECONDS, BODY).partition(",")[2] for secret in secrets]
    assert headers["X-Atlas-Signature"] == ",".join([f"t={NOW_SECONDS}", *alone])
    assert len(headers["webhook-signature"].split(" ")) == len(secrets)


@pytest.mark.requirement("F47")
def test_the_library_takes_either_secret_in_the_overlap_and_none_but_those() -> None:
    now_seconds = int(time.time())
    headers = signed_headers(an_endpoint((now_seconds + 60) * 1_000), POST, now_seconds)
    for secret in (NEW, OLD):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing_secret(KEY, "ws_1/live/wf_a", 3)).verify(BODY, headers)


@pytest.mark.requirement("A-068")
def test_only_a_replay_says_that_it_is_one() -> None:
    assert "X-Atlas-Replay" not in signed_headers(an_endpoint(None), POST, NOW_SECONDS)
    replayed = Post("dlv_1", 1, BODY, replay=7)
    assert signed_headers(an_endpoint(None), replayed, NOW_SECONDS)["X-Atlas-Replay"] == "7"
