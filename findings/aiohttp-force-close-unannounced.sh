#!/bin/sh
# aiohttp 3.14.5: a response's headers are settled before the signal `on_response_prepare` is sent. `force_close()` in
# that signal's handler, the one place where an application sees each answer before it leaves, closes the connection
# behind the answer, but the answer has no `Connection: close`. HTTP/1.1 (RFC 9112, 9.6) asks a server for that header, and a client
# or balancer that keeps its connection sends the next request into one that is being closed.
# Seen: in the signal, closed and not announced; in the handler of the request, closed and announced.
# Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "aiohttp==3.14.5"
"$work/venv/bin/python" - <<'PYTHON'
import asyncio

from aiohttp import web


async def in_signal(request, response):
    if request.path == "/signal":
        response.force_close()


async def answer(request):
    response = web.Response(text="ok")
    if request.path == "/handler":
        response.force_close()
    return response


async def asked(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(2)
    try:
        is_closed = await asyncio.wait_for(reader.read(1), 1) == b""
    except asyncio.TimeoutError:
        is_closed = False
    writer.close()
    return {"closed": is_closed, "announced": b"connection: close" in head}


async def main():
    application = web.Application()
    application.on_response_prepare.append(in_signal)
    application.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    seen = {path: await asked(port, path) for path in ("/signal", "/handler", "/kept")}
    await runner.cleanup()
    return seen


seen = asyncio.run(main())
print(seen)
closed, kept = {"closed": True, "announced": True}, {"closed": False, "announced": False}
as_reported = {"/signal": {"closed": True, "announced": False}, "/handler": closed, "/kept": kept}
raise SystemExit(0 if seen == as_reported else 1)
PYTHON
