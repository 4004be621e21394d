"""`atlas listen`: a receiver on this machine that shows what Atlas delivers, and whether its signature holds.

For trying things out: it keeps nothing. With `--answer 503` it is an endpoint in trouble, so that retries can be seen.
"""

import hmac
import re
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from cli.terminal import plain
from domain.delivery.signatures import DELIVERY_HEADER, SIGNATURE_HEADER, timestamped_signature

TOLERANCE_SECONDS = 300
SILENT_SECONDS = 60.0  # then a connection is closed
BODY_BYTES_MAX = 4 * 1024 * 1024
SIGNED = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64})+)")


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=9000, show_default=True, help="0: any free one.")
@click.option("--secret", help="The endpoint's signing secret; without it signatures are not checked.")
@click.option("--answer", type=click.IntRange(200, 599), default=200, show_default=True, help="The status to answer.")
def listen(port: int, secret: str | None, answer: int) -> None:
    """Show what is delivered to this machine, until Ctrl-C."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), receiver(secret, answer, click.echo))
    except OSError as error:
        raise click.ClickException(f"port {port} can't be listened on: {error.strerror}") from error
    with server:
        click.echo(f"listening on http://127.0.0.1:{server.server_port}, answering {answer}; Ctrl-C ends it", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("", err=True)


def receiver(secret: str | None, answer: int, show: Callable[[str], None]) -> type[BaseHTTPRequestHandler]:
    """A handler that takes any POST, shows it, and answers."""

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = SILENT_SECONDS

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), BODY_BYTES_MAX))
            show(shown(self.path, dict(self.headers.items()), body, secret, time.time()))
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what came is shown already."""

    return Receiver


def shown(path: str, headers: Mapping[str, str], body: bytes, secret: str | None, now_seconds: float) -> str:
    """One delivery in two lines: the attempt, then the body; nothing in them moves a terminal's cursor."""
    attempt = headers.get("X-Atlas-Attempt", "?")
    signature = signature_state(headers.get(SIGNATURE_HEADER), body, secret, now_seconds)
    head = f"POST {path}  {headers.get(DELIVERY_HEADER, 'no delivery of Atlas')}  attempt {attempt}  {signature}"
    return "\n".join(plain(line.replace("\n", "\\n")) for line in (head, _text(body)))


def signature_state(header: str | None, body: bytes, secret: str | None, now_seconds: float) -> str:
    """What docs/receiving-webhooks.md asks a receiver to find out, in words."""
    if secret is None:
        return "signature not checked (--secret)"
    signed = SIGNED.fullmatch(header or "")
    if signed is None:
        return "signature MISSING"
    if abs(now_seconds - int(signed[1])) > TOLERANCE_SECONDS:
        return "signature TOO OLD"
    _, expected = timestamped_signature(secret, int(signed[1]), body).split(",")
    valid = any(hmac.compare_digest(given, expected) for given in signed[2].split(",")[1:])
    return "signature valid" if valid else "signature WRONG"


def _text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


COMMANDS = (listen,)
