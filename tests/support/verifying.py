"""Signatures verified as receivers do it: as the document says, in Node, and by the Standard Webhooks library."""

import base64
import json
import shutil
import subprocess

from standardwebhooks.webhooks import Webhook

from tests.support.receiver import Request

# The document of Atlas Events: HMAC-SHA256 over {timestamp}.{raw_body}, compared with v1; of several v1 one is enough.
NODE_SCRIPT = """
const crypto = require("node:crypto");
const { header, body, secret } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const parts = header.split(",").map((part) => part.split("="));
const timestamp = parts.find(([name]) => name === "t")[1];
const raw = Buffer.from(body, "base64");
const signed = crypto.createHmac("sha256", secret).update(`${timestamp}.`).update(raw).digest();
const fits = parts.some(([name, value]) => {
  const given = Buffer.from(value, "hex");
  return name === "v1" && given.length === signed.length && crypto.timingSafeEqual(given, signed);
});
process.stdout.write(JSON.stringify(fits));
"""
NODE = shutil.which("node")


def verifies_in_node(request: Request, secret: str) -> bool:
    """With Node's crypto, as the events document describes it."""
    given = {
        "header": request.headers["x-atlas-signature"],
        "body": base64.b64encode(request.body).decode(),
        "secret": secret,
    }
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", NODE_SCRIPT], input=json.dumps(given).encode(), capture_output=True, check=True, timeout=60
    )
    return bool(json.loads(done.stdout))


def verifies_by_library(request: Request, secret: str) -> bool:
    """With the package `standardwebhooks`, which also judges the timestamp."""
    try:
        Webhook(secret).verify(request.body, dict(request.headers))
    except Exception:  # the library's own and what malformed headers make it raise
        return False
    return True
