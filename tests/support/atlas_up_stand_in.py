"""`atlas up` with a real broker and small stand-ins for the gateway and the processors, for tests of the run itself.

A stand-in answers on its operations port, notes its life in `$ATLAS_HOME/diary`, and stops on SIGTERM.
"""

import http.server
import os
import signal
import sys
from pathlib import Path
from typing import Any

KEYS = {"workspace_id": "ws_1", "live_key": "atlas_live_sk_1", "test_key": "atlas_test_sk_1"}


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def stand_in(name: str) -> None:
    def note(word: str) -> None:
        with (Path(os.environ["ATLAS_HOME"]) / "diary").open("a") as diary:
            diary.write(f"{name} {word}\n")

    def stop(*_: object) -> None:
        note("stops")
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["ATLAS_METRICS_PORT"])), Ready)
    note(f"runs as {os.getpid()}")
    server.serve_forever()


def main() -> None:
    from cli.run import say
    from deploy.local.up import REFUSALS, up

    try:
        up(
            os.environ,
            say,
            access=lambda settings: {"events": {"url": f"http://127.0.0.1:{settings.events_port}", **KEYS}},
            command_of=lambda name: (sys.executable, "-S", __file__, name),
        )
    except REFUSALS as refusal:
        sys.exit(f"Error: {refusal}")


if __name__ == "__main__":
    stand_in(sys.argv[1]) if len(sys.argv) > 1 else main()
