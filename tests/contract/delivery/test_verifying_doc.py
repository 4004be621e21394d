"""docs/verifying-webhooks.md is run as it stands, in Node and in Python, on what the delivery client really sent."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from yarl import URL

from processors.delivery.decide import Answered
from processors.delivery.http_client import Endpoint, HttpClient, Post, Previous
from schemas.signatures import signing_secret, standard_key
from tests.support.receiver import Receiver, Request

PAGE = Path(__file__).parents[3] / "docs" / "verifying-webhooks.md"
SECRET, BEFORE = (signing_secret(b"m" * 32, "ws_1/live/wf_search", version) for version in (2, 1))
BODY = '{"id":"evt_1","data":{"name":"café 💥","n": 1.50}}'.encode()
NODE = shutil.which("node")
# seeds/000, the webhook that is shown: signed a year before it was made
OF_THE_DOCUMENT = "t=1747579332,v1=4a9e3b1c8d2f"

Verify = Callable[[bytes, str, str, float], bool]


def sample(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(code)


def in_python(body: bytes, header: str, secret: str, now_seconds: float) -> bool:
    names: dict[str, Verify] = {}
    exec(compile(sample("python"), str(PAGE), "exec"), names)
    return names["verify"](body, header, secret, now_seconds)


def in_node(body: bytes, header: str, secret: str, now_seconds: float) -> bool:
    if NODE is None:
        pytest.skip("Node is not installed")
    call = """
    const { body, header, secret, now } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    process.stdout.write(JSON.stringify(verify(Buffer.from(body, "base64"), header, secret, now)));
    """
    given = {"body": base64.b64encode(body).decode(), "header": header, "secret": secret, "now": now_seconds}
    command = [NODE, "-e", sample("js") + call]
    done = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True, check=True, timeout=60)
    return bool(json.loads(done.stdout))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def sent(receiver: Receiver) -> Request:
    """What an endpoint gets while its secret is rotated."""
    previous = Previous(BEFORE, standard_key(BEFORE), until_ms=4_000_000_000_000)
    endpoint = Endpoint(URL(receiver.url), SECRET, standard_key(SECRET), previous)
    client = HttpClient(20.0, allow_private_targets=True)
    assert await client.post(endpoint, Post("dlv_1", 1, BODY)) == Answered(200)
    await client.close()
    return receiver.requests[0]


@pytest.mark.requirement("A-057", "A-058", "A-059", "X-18")
@pytest.mark.parametrize("verify", [in_python, in_node])
async def test_the_sample_believes_what_is_fresh_and_signed(sent: Request, verify: Verify) -> None:
    header, at_seconds = sent.headers["x-atlas-signature"], float(sent.headers["webhook-timestamp"])
    cases = {
        "fresh": (sent.body, header, SECRET, at_seconds, True),
        "by the secret before": (sent.body, header, BEFORE, at_seconds, True),
        "five minutes old": (sent.body, header, SECRET, at_seconds + 300, True),
        "older": (sent.body, header, SECRET, at_seconds + 301, False),
        "ahead": (sent.body, header, SECRET, at_seconds - 301, False),
        "another body": (sent.body + b" ", header, SECRET, at_seconds, False),
        "another secret": (sent.body, header, signing_secret(b"x" * 32, "ws_1"), at_seconds, False),
        "another time": (
            sent.body,
            header.replace(f"t={int(at_seconds)}", f"t={int(at_seconds) + 1}"),
            SECRET,
            at_seconds,
            False,
        ),
        "no time": (sent.body, header.partition(",")[2], SECRET, at_seconds, False),
        "no signature": (sent.body, header.partition(",")[0], SECRET, at_seconds, False),
        "nothing": (sent.body, "", SECRET, at_seconds, False),
        "the document's": (sent.body, OF_THE_DOCUMENT, SECRET, 1779114133.0, False),
    }
    said = {name: verify(body, given, secret, now) for name, (body, given, secret, now, _) in cases.items()}
    assert said == {name: believed for name, (*_, believed) in cases.items()}


@pytest.mark.requirement("A-059")
async def test_the_library_believes_it_and_refuses_what_is_old(sent: Request) -> None:
    headers = dict(sent.headers)
    for secret in (SECRET, BEFORE):
        Webhook(secret).verify(sent.body, headers)
    old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
    with pytest.raises(Exception, match="too old"):
        Webhook(SECRET).verify(sent.body, old)
