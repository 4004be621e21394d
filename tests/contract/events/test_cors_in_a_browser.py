"""Publishable keys in a real browser: a page sends an event to a gateway of another origin, or is kept from it."""

import asyncio
import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.entities import KeyKind
from tests.support.events import a_body
from tests.support.events_surface import Surface, _put_key
from tests.support.receiver import Receiver, answer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RUN_SECONDS_MAX = 60
PAGE = """<!doctype html><title>page</title><pre id="told">nothing</pre><script>
const { url, body, tries } = %s;
(async () => {
  const told = {};
  for (const [name, { key, path, method }] of Object.entries(tries)) {
    try {
      const headers = { "Authorization": `Bearer ${key}`, "Content-Type": "application/json" };
      headers["Idempotency-Key"] = name.replaceAll(" ", "-");
      const answer = await fetch(url + path, { method, headers, body: method === "GET" ? undefined : body });
      const text = await answer.text();
      told[name] = { status: answer.status, id: JSON.parse(text).id, request: answer.headers.get("X-Request-Id") };
    } catch (error) { told[name] = error.name; }
  }
  document.getElementById("told").textContent = JSON.stringify(told);
})();
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


async def told_by_a_browser(page_url: str, profile: Path) -> dict[str, Any]:
    """What the page's script wrote into it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += [f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom", page_url]
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM), *flags, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            page, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = re.search(r'<pre id="told">(.*?)</pre>', page.decode(), re.S)
    assert found is not None, page[:500]
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with Receiver() as shop:
        yield shop


@pytest.mark.requirement("A-012", "A3")
@pytest.mark.timeout(180)
async def test_a_page_sends_events_with_its_own_key_and_does_nothing_else(
    surface: Surface, shop: Receiver, tmp_path: Path
) -> None:
    def a_key(name: str, *origins: str) -> str:
        limits = {"streams": ["orders-prod"], "origins": list(origins)}
        return _put_key(surface.control, name, kind=KeyKind.PUBLISHABLE, **limits)

    mine = a_key("page", shop.url)
    tries = {
        "sent": {"key": mine, "path": "/v1/events", "method": "POST"},
        "of any origin": {"key": surface.tokens["publishable"], "path": "/v1/events", "method": "POST"},
        "of another origin": {"key": a_key("other", "https://evil.example"), "path": "/v1/events", "method": "POST"},
        "a secret key": {"key": surface.tokens["live"], "path": "/v1/events", "method": "POST"},
        "unknown": {"key": mine[:-4] + "0000", "path": "/v1/events", "method": "POST"},
        "reading": {"key": mine, "path": "/v1/event-streams", "method": "GET"},
    }
    given = {"url": surface.url, "body": a_body().decode(), "tries": tries}
    shop.script("/", answer(200, (PAGE % json.dumps(given)).encode(), "Content-Type: text/html; charset=utf-8"))
    told = await told_by_a_browser(shop.url + "/", tmp_path / "profile")
    sent = told.pop("sent")
    assert (sent["status"], sent["id"][:4]) == (202, "evt_") and sent["request"].startswith("req_")
    assert told.pop("of any origin")["status"] == 202
    assert told.pop("unknown")["status"] == 401
    # The browser gives the page nothing of these: to its script they failed.
    assert told == dict.fromkeys(("of another origin", "a secret key", "reading"), "TypeError")
    assert len(surface.events()) == 3  # the secret key's too: it is good, only its answer is kept from the page
