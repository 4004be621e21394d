"""Cloudflare's KV REST API on this machine, as far as the mirror uses it; a test says what it answers next."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PREFIX = "/client/v4/accounts/acc/storage/kv/namespaces/ns/values/"
TOKEN = "cf-token"


class KvStub:
    """`values`: what stands in the namespace; `asked`: every request; `refusals`: statuses to answer first, with a
    Retry-After where it is a pair."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, int | None]] = {}
        self.asked: list[tuple[str, str]] = []
        self.refusals: list[tuple[int, str | None]] = []
        self.lock = threading.Lock()
        self.url = ""

    def take(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        place = urlsplit(path)
        key = unquote(place.path.removeprefix(PREFIX))
        with self.lock:
            self.asked.append((method, key))
            if authorization != f"Bearer {TOKEN}" or not place.path.startswith(PREFIX):
                return 403, {}, {"success": False}
            if self.refusals:
                status, retry_after = self.refusals.pop(0)
                return status, {} if retry_after is None else {"Retry-After": retry_after}, {"success": False}
            if method == "PUT":
                expiration = parse_qs(place.query).get("expiration")
                self.values[key] = body, None if expiration is None else int(expiration[0])
            else:
                self.values.pop(key, None)
            return 200, {}, {"success": True, "errors": [], "messages": [], "result": None}


@contextmanager
def kv_stub() -> Iterator[KvStub]:
    stub = KvStub()

    class StubHandler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, told = stub.take(self.command, self.path, self.headers.get("Authorization", ""), body)
            written = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(written))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(written)

        do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), StubHandler)
    stub.url = f"http://127.0.0.1:{server.server_port}/client/v4"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
