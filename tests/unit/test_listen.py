"""`atlas listen` shows what came in two lines, and says of the signature what a receiver has to know."""

import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from cli.listen import TOLERANCE_SECONDS, receiver, shown, signature_state
from cli.main import main
from domain.delivery.signatures import timestamped_signature

SECRET, OLD_SECRET, BODY, NOW = "whsec_bmV3", "whsec_b2xk", b'{"id":"evt_1"}', 1_800_000_000
GOOD = timestamped_signature(SECRET, NOW, BODY)


@pytest.mark.parametrize(
    ("header", "secret", "state"),
    [
        (GOOD, SECRET, "signature valid"),
        (timestamped_signature((SECRET, OLD_SECRET), NOW, BODY), OLD_SECRET, "signature valid"),
        (timestamped_signature(SECRET, NOW - TOLERANCE_SECONDS, BODY), SECRET, "signature valid"),
        (timestamped_signature(SECRET, NOW - TOLERANCE_SECONDS - 1, BODY), SECRET, "signature TOO OLD"),
        (timestamped_signature(SECRET, NOW, BODY + b" "), SECRET, "signature WRONG"),
        (GOOD.replace(f"t={NOW}", f"t={NOW - 1}"), SECRET, "signature WRONG"),
        (GOOD, OLD_SECRET, "signature WRONG"),
        (None, SECRET, "signature MISSING"),
        ("v1=é", SECRET, "signature MISSING"),
        (GOOD, None, "signature not checked (--secret)"),
    ],
)
def test_the_signature_is_judged(header: str | None, secret: str | None, state: str) -> None:
    assert signature_state(header, BODY, secret, NOW) == state


def test_a_delivery_is_two_lines_that_move_no_cursor() -> None:
    headers = {"X-Atlas-Signature": GOOD, "X-Atlas-Attempt": "2", "X-Atlas-Delivery": "dlv_1\x1b[2J"}
    said = shown("/hook\r\n", headers, BODY + b"\n\xff\x1b", SECRET, NOW)
    assert said.splitlines() == [
        r"POST /hook\u000d\n  dlv_1\u001b[2J  attempt 2  signature WRONG",
        r'{"id":"evt_1"}\n\xff\u001b',
    ]


@pytest.mark.parametrize("answer", [200, 503])
def test_it_answers_what_it_was_told_to(answer: int) -> None:
    said: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), receiver(None, answer, said.append)) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            asked = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/hook", BODY, method="POST")
            status = _status(asked)
        finally:
            server.shutdown()
            serving.join()
        assert status == answer
        assert said == [
            f"POST /hook  no delivery of Atlas  attempt ?  signature not checked (--secret)\n{BODY.decode()}"
        ]
        taken = CliRunner().invoke(main, ["listen", "--port", str(server.server_port)])
    assert (taken.exit_code, taken.stderr) == (
        1,
        f"Error: port {server.server_port} can't be listened on: Address already in use\n",
    )


def _status(asked: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(asked, timeout=10) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
