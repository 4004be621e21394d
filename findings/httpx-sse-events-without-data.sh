#!/bin/sh
# httpx-sse 0.4.3: once a stream has sent an `id:`, every blank line makes an event, also one that only ends a comment
# (": ping" and a blank line, the usual heartbeat). The event has empty data and the last id. The HTML standard
# (9.2.6, "dispatch the event") says that an event whose data is empty is not dispatched, and browsers keep to it.
# Seen: of one event with an id, and two heartbeats, the decoder gives three events: "hello", "" and "".
# Without an `id:` it gives one. Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "httpx-sse==0.4.3" "httpx==0.28.1"
"$work/venv/bin/python" - <<'PYTHON'
import httpx
from httpx_sse import connect_sse

HEARTBEATS = ": ping\n\n: ping\n\n"


def data_of(text):
    def answer(_request):
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        with connect_sse(client, "GET", "http://example.test/") as source:
            return [event.data for event in source.iter_sse()]


seen = {
    "with an id": data_of("id: 1\ndata: hello\n\n" + HEARTBEATS),
    "without": data_of("data: hello\n\n" + HEARTBEATS),
}
print(seen)
raise SystemExit(0 if seen == {"with an id": ["hello", "", ""], "without": ["hello"]} else 1)
PYTHON
