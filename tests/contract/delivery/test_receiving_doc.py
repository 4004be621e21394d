"""docs/receiving-webhooks.md is held to the code: its tables, and its samples in five languages, which are run as they
are on what the delivery client really sent."""

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from standardwebhooks.webhooks import Webhook
from yarl import URL

from domain.delivery.circuit_breaker import BreakerLimits
from domain.delivery.decide import (
    DELIVERY_LIFE_MS,
    Answered,
    Attempt,
    ErrorCode,
    outcome_of,
    speaks_against_endpoint,
)
from domain.delivery.retry_schedule import JITTER_SHARE_MAX, RETRY_SCHEDULES, EndpointClass
from domain.delivery.signatures import callers_standard_key, signing_secret, standard_key
from operations.settings import Settings
from processors.delivery.http_client import (
    EXCERPT_BYTES,
    HttpClient,
    HttpEndpoint,
    Post,
    PreviousSecret,
    SignatureStyle,
)
from processors.delivery.limits import Limits
from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT, OVERLAP_SECONDS_MAX
from schemas.records import Delivery
from tests.support.receiver import Receiver, Request

PAGE = Path(__file__).parents[3] / "docs" / "receiving-webhooks.md"
SECRET, BEFORE = (signing_secret(b"m" * 32, "ws_1/live/wf_search", version) for version in (2, 1))
BODY = '{"id":"evt_1","data":{"name":"café 💥","n": 1.50}}'.encode()
PLAIN = "correct horse – battery staple"  # as a subscription's secret may be
UNITS_SECONDS = {"s": 1, "m": 60, "h": 3_600}
# The events document's example: signed a year before the event it shows was made.
OF_THE_DOCUMENT = "t=1747579332,v1=4a9e3b1c8d2f"


class Case(NamedTuple):
    """One call of a sample. `now_seconds`: None for the signature without a time."""

    body: bytes
    header: str
    secret: str
    now_seconds: float | None
    is_believed: bool


Runs = Callable[[Path, Sequence[str]], list[str]]
"""Runs a program in a folder on lines of input; the lines that it printed."""


def sample(fence: str) -> str:
    """`fence`: the text after the backticks."""
    (code,) = re.findall(rf"^```{fence}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(code)


# The samples are called by a line each: the time or nothing, body, header and secret in base64; tabs between.

IN_PYTHON = """
import base64, sys
for line in sys.stdin:
    now, *given = line.rstrip("\\n").split("\\t")
    body, header, secret = (base64.b64decode(one) for one in given)
    given = body, header.decode(), secret.decode()
    print(str(verify_timed(*given, float(now)) if now else verify_body(*given)).lower())
"""
IN_NODE = """
for (const line of require("node:fs").readFileSync(0, "utf8").split("\\n").slice(0, -1)) {
  const [now, body, header, secret] = line.split("\\t").map((one, n) => (n ? Buffer.from(one, "base64") : one));
  const given = [body, header.toString(), secret.toString()];
  console.log(now ? verifyTimed(...given, Number(now)) : verifyBody(...given));
}
"""
IN_GO = """
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\\t")
		body, _ := base64.StdEncoding.DecodeString(fields[1])
		header, _ := base64.StdEncoding.DecodeString(fields[2])
		secret, _ := base64.StdEncoding.DecodeString(fields[3])
		if fields[0] == "" {
			fmt.Println(VerifyBody(body, string(header), string(secret)))
			continue
		}
		now, _ := strconv.ParseInt(fields[0], 10, 64)
		fmt.Println(VerifyTimed(body, string(header), string(secret), time.Unix(now, 0)))
	}
}
"""
IN_JAVA = """
import java.nio.charset.StandardCharsets;
import java.util.Base64;

final class Run {
    public static void main(String[] arguments) throws Exception {
        var lines = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
        for (String line : lines) {
            String[] fields = line.split("\\t", -1);
            byte[] body = Base64.getDecoder().decode(fields[1]);
            String header = text(fields[2]), secret = text(fields[3]);
            System.out.println(fields[0].isEmpty()
                ? AtlasWebhooks.verifyBody(body, header, secret)
                : AtlasWebhooks.verifyTimed(body, header, secret, Long.parseLong(fields[0])));
        }
    }

    private static String text(String written) {
        return new String(Base64.getDecoder().decode(written), StandardCharsets.UTF_8);
    }
}
"""
IN_PHP = """
while (($line = fgets(STDIN)) !== false) {
    $fields = explode("\\t", rtrim($line, "\\n"));
    [$body, $header, $secret] = array_map('base64_decode', array_slice($fields, 1));
    $now = $fields[0];
    $said = $now === '' ? verify_body($body, $header, $secret) : verify_timed($body, $header, $secret, (int) $now);
    echo $said ? "true\\n" : "false\\n";
}
"""


def called(command: Sequence[str], folder: Path, lines: Sequence[str]) -> list[str]:
    done = subprocess.run(
        command, cwd=folder, input="\n".join([*lines, ""]), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def in_python(folder: Path, lines: Sequence[str]) -> list[str]:
    (folder / "run.py").write_text(sample("python") + IN_PYTHON)
    return called([sys.executable, "run.py"], folder, lines)


def in_node(folder: Path, lines: Sequence[str]) -> list[str]:
    (folder / "run.js").write_text(sample("js") + IN_NODE)
    return called([needed("node"), "run.js"], folder, lines)


def in_php(folder: Path, lines: Sequence[str]) -> list[str]:
    (folder / "run.php").write_text(f"<?php\n{sample('php')}{IN_PHP}")
    return called([needed("php"), "run.php"], folder, lines)


def in_go(folder: Path, lines: Sequence[str]) -> list[str]:
    (folder / "webhooks.go").write_text(sample("go").replace("package webhooks", "package main", 1))
    (folder / "main.go").write_text(IN_GO)
    return called([needed("go"), "run", "webhooks.go", "main.go"], folder, lines)


def in_java(folder: Path, lines: Sequence[str]) -> list[str]:
    (folder / "AtlasWebhooks.java").write_text(sample("java"))
    (folder / "Run.java").write_text(IN_JAVA)
    called([needed("javac"), "AtlasWebhooks.java", "Run.java"], folder, [])
    return called([needed("java"), "-cp", ".", "Run"], folder, lines)


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: the sample in that language is not run")
    return found


LANGUAGES = [
    in_python,
    in_node,
    in_php,
    pytest.param(in_go, marks=pytest.mark.slow),  # the compilers take seconds
    pytest.param(in_java, marks=pytest.mark.slow),
]


def believed(runs: Runs, folder: Path, cases: dict[str, Case]) -> dict[str, bool]:
    lines = []
    for case in cases.values():
        now = "" if case.now_seconds is None else f"{case.now_seconds:.0f}"
        given = (base64.b64encode(one).decode() for one in (case.body, case.header.encode(), case.secret.encode()))
        lines.append("\t".join([now, *given]))
    said = runs(folder, lines)
    return {name: one == "true" for name, one in zip(cases, said, strict=True)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def sent(receiver: Receiver) -> Request:
    """What an endpoint gets while its secret is rotated."""
    previous = PreviousSecret(BEFORE, standard_key(BEFORE), until_ms=4_000_000_000_000)
    return await delivered(receiver, HttpEndpoint(URL(receiver.url), SECRET, standard_key(SECRET), previous))


async def delivered(receiver: Receiver, endpoint: HttpEndpoint) -> Request:
    client = HttpClient(20.0, allow_private_targets=True)
    assert await client.post(endpoint, Post("dlv_1", 1, BODY, replay=1)) == Answered(200)
    await client.close()
    return receiver.requests[-1]


class TestSamples:
    @pytest.mark.requirement("A-057", "A-058", "A-059", "X-18")
    @pytest.mark.parametrize("runs", LANGUAGES)
    async def test_they_believe_what_is_fresh_and_signed(self, sent: Request, runs: Runs, tmp_path: Path) -> None:
        header, at = sent.headers["x-atlas-signature"], int(sent.headers["webhook-timestamp"])
        another_time = header.replace(f"t={at}", f"t={at + 1}")
        cases = {
            "fresh": Case(sent.body, header, SECRET, at, True),
            "by the secret before": Case(sent.body, header, BEFORE, at, True),
            "five minutes old": Case(sent.body, header, SECRET, at + 300, True),
            "older": Case(sent.body, header, SECRET, at + 301, False),
            "ahead": Case(sent.body, header, SECRET, at - 301, False),
            "another body": Case(sent.body + b" ", header, SECRET, at, False),
            "another secret": Case(sent.body, header, signing_secret(b"x" * 32, "ws_1"), at, False),
            "another time": Case(sent.body, another_time, SECRET, at, False),
            "no time": Case(sent.body, header.partition(",")[2], SECRET, at, False),
            "no signature": Case(sent.body, header.partition(",")[0], SECRET, at, False),
            "nothing": Case(sent.body, "", SECRET, at, False),
            "the document's": Case(sent.body, OF_THE_DOCUMENT, SECRET, 1_779_114_133, False),
        }
        said = believed(runs, tmp_path, cases)
        assert said == {name: case.is_believed for name, case in cases.items()}

    @pytest.mark.parametrize("runs", LANGUAGES)
    async def test_they_believe_what_is_signed_without_a_time(
        self, receiver: Receiver, runs: Runs, tmp_path: Path
    ) -> None:
        cases = {}
        for style, name, secret in (
            (SignatureStyle.WORK, "x-atlas-signature", SECRET),
            (SignatureStyle.SPINE, "x-signature", PLAIN),
            (SignatureStyle.SPINE, "x-signature", SECRET),
        ):
            key = callers_standard_key(secret)
            sent = await delivered(receiver, HttpEndpoint(URL(receiver.url), secret, key, style=style))
            header = sent.headers[name]
            some = {
                "signed": Case(sent.body, header, secret, None, True),
                "another body": Case(sent.body + b" ", header, secret, None, False),
                "another secret": Case(sent.body, header, BEFORE, None, False),
                "cut short": Case(sent.body, header[:-2], secret, None, False),
                "without its name": Case(sent.body, header.removeprefix("sha256="), secret, None, False),
                "no hex": Case(sent.body, "sha256=" + "ö" * 64, secret, None, False),
                "nothing": Case(sent.body, "", secret, None, False),
            }
            cases |= {f"{style.value}, {secret[:8]}, {case}": one for case, one in some.items()}
        said = believed(runs, tmp_path, cases)
        assert said == {name: case.is_believed for name, case in cases.items()}

    async def test_the_command_computes_what_was_sent(self, sent: Request, tmp_path: Path) -> None:
        (tmp_path / "body").write_bytes(sent.body)
        at, header = sent.headers["webhook-timestamp"], sent.headers["x-atlas-signature"]
        given = ["env", f"secret={SECRET}", f"t={at}", needed("bash"), "-euo", "pipefail", "-c", sample("sh by hand")]
        assert shutil.which("openssl")
        (computed,) = called(given, tmp_path, [])
        assert header.startswith(f"t={at},v1={computed},")

    @pytest.mark.requirement("A-059")
    async def test_the_library_believes_it_and_refuses_what_is_old(self, sent: Request) -> None:
        headers = dict(sent.headers)
        for secret in (SECRET, BEFORE):
            Webhook(secret).verify(sent.body, headers)
        old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
        with pytest.raises(Exception, match="too old"):
            Webhook(SECRET).verify(sent.body, old)

    @pytest.mark.requirement("A-059")
    @pytest.mark.parametrize(
        ("which", "secret"),
        [("standard", SECRET), ("standard", "whsec_xxxxxxxx"), ("plain", PLAIN), ("plain", "whsec_no base64")],
    )
    async def test_with_the_library_they_believe_what_is_signed(
        self, receiver: Receiver, which: str, secret: str
    ) -> None:
        """`whsec_xxxxxxxx`: the spine document's own example of a chosen secret."""
        endpoint = HttpEndpoint(URL(receiver.url), secret, callers_standard_key(secret), style=SignatureStyle.SPINE)
        sent = await delivered(receiver, endpoint)
        names: dict[str, Any] = {}
        exec(compile(sample(f"python {which}"), str(PAGE), "exec"), names)
        verify = names["verify"]
        headers = dict(sent.headers)
        assert verify(sent.body, headers, secret)
        assert not verify(sent.body + b" ", headers, secret)
        assert not verify(sent.body, headers, BEFORE)
        late = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
        assert not verify(sent.body, late, secret)


def table(heading: str) -> list[list[str]]:
    """The cells of the rows under the table's first column heading."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"| {heading} |")
    assert found, heading
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


class TestTables:
    @pytest.mark.requirement("A-048", "A-066", "W9", "W11", "W12")
    def test_every_status_means_what_the_page_says(self) -> None:
        left = set(range(100, 1_000)) - set(range(102, 200)) - {100}  # interim answers are passed over
        for spec, result, _, retry_after, counts in table("your answer"):
            statuses = left if spec == "every other status" else _statuses(spec)
            assert statuses <= left, spec
            left = left - statuses
            for status in statuses:
                assert _decided(status) == (result.strip("`"), retry_after, counts), status
        assert not left

    @pytest.mark.requirement("A-065", "W-055")
    def test_the_schedules_are_the_codes(self) -> None:
        rows = table("attempt")
        for column, kind in ((1, EndpointClass.EVENTS), (2, EndpointClass.WORK)):
            schedule = RETRY_SCHEDULES[kind]
            for row in rows[:-1]:
                number, unit = row[column].split()
                assert schedule.step_ms(int(row[0]) - 1) == int(number) * UNITS_SECONDS[unit] * 1_000
        (*_, last) = rows
        assert (last[0], RETRY_SCHEDULES[EndpointClass.EVENTS].step_ms(9)) == ("10 and later", None)
        assert RETRY_SCHEDULES[EndpointClass.WORK].step_ms(30) == 3_600_000
        assert [RETRY_SCHEDULES[kind].longest_ms for kind in EndpointClass] == [12 * 3_600_000, 3_600_000]

    def test_every_error_code_of_an_attempt_is_named(self) -> None:
        page = PAGE.read_text(encoding="utf-8")
        assert {row[0].strip("`") for row in table("code")} < set(ErrorCode)
        assert [code for code in ErrorCode if f"`{code}`" not in page and code is not ErrorCode.ENDPOINT_DISABLED] == []

    def test_the_numbers_are_the_codes(self, tmp_path: Path) -> None:
        page = PAGE.read_text(encoding="utf-8").replace("\n", " ")
        limits, breaker = Limits(), BreakerLimits()
        seconds = Settings.from_env({"ATLAS_HOME": str(tmp_path), "ATLAS_MASTER_KEY": "0" * 64}).attempt_timeout_seconds
        first, most = breaker.pause_first_ms / 1_000, breaker.pause_max_ms / 1_000
        for said in (
            f"keeps the first {EXCERPT_BYTES:,} bytes of the body",
            f"One limit of {seconds:g} seconds (`ATLAS_ATTEMPT_TIMEOUT_SECONDS`)",
            f"adds up to {JITTER_SHARE_MAX:.0%} to each step".replace("%", " %"),
            f"At most {limits.endpoint_running_max} attempts to one endpoint run at once",
            f"has not answered yet, {limits.unknown_running_max}.",
            f"After {breaker.failures_max} failures in a row",
            f"first every {first:g} s, then up to {most:g} s apart",
            f"lasts {OVERLAP_SECONDS_DEFAULT // 3_600} hours, or as the request says",
            f"0 to {OVERLAP_SECONDS_MAX:,}",
            f"waits for at most {DELIVERY_LIFE_MS // 86_400_000} days",
        ):
            assert said in page

    @pytest.mark.requirement("A-057")
    async def test_the_headers_are_those_that_are_sent(self, sent: Request) -> None:
        named = {name.lower() for row in table("header") for name in re.findall(r"`([A-Za-z-]+)`", row[0])}
        framing = {"host", "content-length"}
        assert sent.headers.keys() - framing == named - {"x-signature", "x-atlas-event"}
        assert sent.headers["webhook-id"] == sent.headers["x-atlas-delivery"]


def _statuses(spec: str) -> set[int]:
    """`410`, `200 to 299`, `500 and above, but 503`."""
    first, *more = map(int, re.findall(r"[0-9]{3}", spec))
    if " to " in spec:
        return set(range(first, more[0] + 1))
    if "and above" in spec:
        return set(range(first, 1_000)) - set(more)
    return {first}


def _decided(status: int) -> tuple[str, str, str]:
    """The result, whether a `Retry-After` is honoured, whether it counts against the endpoint."""
    delivery = Delivery(
        delivery_id="dlv_1",
        event_id="evt_1",
        workspace="ws_1",
        environment="live",
        stream="orders",
        workflow_id="wf_1",
        received_ms=0,
        event=b"",
    )
    answered = Answered(status, retry_after="7200")
    outcome = outcome_of(delivery, Attempt(1, "Search", 0, 0, 0, answered), RETRY_SCHEDULES[EndpointClass.EVENTS])
    honoured = outcome.next_attempt_ms == 7_200_000
    counts = speaks_against_endpoint(answered)
    return outcome.status, "honoured" if honoured else "ignored", "yes" if counts else "no"
