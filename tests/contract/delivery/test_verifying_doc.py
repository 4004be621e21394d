"""docs/verifying-webhooks.md is run as it stands, in Node and in Python, on what the delivery client really sent."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from yarl import URL

from domain.delivery.decide import Answered
from domain.delivery.signatures import callers_standard_key, signing_secret, standard_key
from processors.delivery.http_client import Endpoint, HttpClient, Post, Previous, Style
from tests.support.receiver import Receiver, Request

PAGE = Path(__file__).parents[3] / "docs" / "verifying-webhooks.md"
SECRET, BEFORE = (signing_secret(b"m" * 32, "ws_1/live/wf_search", version) for version in (2, 1))
BODY = '{"id":"evt_1","data":{"name":"café 💥","n": 1.50}}'.encode()
NODE = shutil.which("node")
# seeds/000, the webhook that is shown: signed a year before it was made
OF_THE_DOCUMENT = "t=1747579332,v1=4a9e3b1c8d2f"

# A sample of the page, run on a body, what else it takes, and a secret.
Verify = Callable[..., bool]
PLAIN = "correct horse – battery staple"  # as a subscription's secret may be


def sample(fence: str) -> str:
    """`fence`: the language and which of the page's samples it is, as behind the backticks."""
    (code,) = re.findall(rf"^```{fence}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(code)


def in_python(which: str, *given: Any) -> bool:
    names: dict[str, Callable[..., bool]] = {}
    exec(compile(sample(f"python {which}"), str(PAGE), "exec"), names)
    return names["verify"](*given)


def in_node(which: str, body: bytes, *given: Any) -> bool:
    if NODE is None:
        pytest.skip("Node is not installed")
    call = """
    const [body, ...given] = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    process.stdout.write(JSON.stringify(verify(Buffer.from(body, "base64"), ...given)));
    """
    command = [NODE, "-e", sample(f"js {which}") + call]
    told = json.dumps([base64.b64encode(body).decode(), *given]).encode()
    done = subprocess.run(command, input=told, capture_output=True, check=True, timeout=60)
    return bool(json.loads(done.stdout))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def sent(receiver: Receiver) -> Request:
    """What an endpoint gets while its secret is rotated."""
    previous = Previous(BEFORE, standard_key(BEFORE), until_ms=4_000_000_000_000)
    return await delivered(receiver, Endpoint(URL(receiver.url), SECRET, standard_key(SECRET), previous))


async def delivered(receiver: Receiver, endpoint: Endpoint) -> Request:
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
    said = {name: verify("events", body, given, secret, now) for name, (body, given, secret, now, _) in cases.items()}
    assert said == {name: believed for name, (*_, believed) in cases.items()}


@pytest.mark.requirement("A-059")
async def test_the_library_believes_it_and_refuses_what_is_old(sent: Request) -> None:
    headers = dict(sent.headers)
    for secret in (SECRET, BEFORE):
        Webhook(secret).verify(sent.body, headers)
    old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
    with pytest.raises(Exception, match="too old"):
        Webhook(SECRET).verify(sent.body, old)


@pytest.mark.parametrize("verify", [in_python, in_node])
@pytest.mark.parametrize(
    ("style", "name", "secret"),
    [
        (Style.WORK, "x-atlas-signature", SECRET),
        (Style.SPINE, "x-signature", PLAIN),
        (Style.SPINE, "x-signature", SECRET),
    ],
    ids=["work", "spine", "spine, a secret of the standard's form"],
)
async def test_the_samples_of_work_and_spine_believe_what_is_signed(
    receiver: Receiver, style: Style, name: str, secret: str, verify: Verify
) -> None:
    key = callers_standard_key(secret)
    sent = await delivered(receiver, Endpoint(URL(receiver.url), secret, key, style=style))
    header = sent.headers[name]
    cases = {
        "signed": (sent.body, header, secret, True),
        "another body": (sent.body + b" ", header, secret, False),
        "another secret": (sent.body, header, BEFORE, False),
        "cut short": (sent.body, header[:-2], secret, False),
        "without its name": (sent.body, header.removeprefix("sha256="), secret, False),
        "no hex": (sent.body, "sha256=" + "ö" * 64, secret, False),
        "nothing": (sent.body, "", secret, False),
    }
    said = {case: verify("body", body, given, by) for case, (body, given, by, _) in cases.items()}
    assert said == {case: believed for case, (*_, believed) in cases.items()}


@pytest.mark.requirement("A-059")
@pytest.mark.parametrize(
    ("which", "secret"),
    [("standard", SECRET), ("standard", "whsec_xxxxxxxx"), ("plain", PLAIN), ("plain", "whsec_no base64")],
)
async def test_the_samples_with_the_library_believe_what_is_signed(receiver: Receiver, which: str, secret: str) -> None:
    """`whsec_xxxxxxxx`: the spine document's own example of a chosen secret."""
    endpoint = Endpoint(URL(receiver.url), secret, callers_standard_key(secret), style=Style.SPINE)
    sent = await delivered(receiver, endpoint)
    headers = dict(sent.headers)
    assert in_python(which, sent.body, headers, secret)
    assert not in_python(which, sent.body + b" ", headers, secret)
    assert not in_python(which, sent.body, headers, BEFORE)
    late = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
    assert not in_python(which, sent.body, late, secret)
