// The Worker under Miniflare (the real workerd), in front of a provider on this machine.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";

const SCRIPT = fileURLToPath(new URL("../dist/worker.js", import.meta.url));
const PEPPER = "ab".repeat(32);
const TOKEN = "abn_aaaaaaaaaaaaaaaaaaaa";
const ORGANIZATION = "org_4F9KQ2C7Z1";
const FRAMES = [
  'data: {"choices":[{"delta":{"content":"Hé"}}]}\n\n',
  'data: {"choices":[{"delta":{"content":"llo"}}]}\n\n',
  'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}\n\ndata: [DONE]\n\n',
];
const ASKED = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] };

let upstream, ingested, calls, behave, left, worker, kv, base, running = 0;

/** Resolves once `fulfilled()` is truthy, to its value; a time-out is a failure. */
async function until(fulfilled) {
  for (let round = 0; round < 1000; round++) {
    const value = fulfilled();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("it never came to be");
}

async function answer(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (request.url === "/api/ingest") {
    const [event] = JSON.parse(body).events;
    const isOfBefore = event.trace_id && event.trace_id !== String(running); // a test that did not wait for it
    if (!isOfBefore) ingested.push({ key: request.headers["atlasburn-api-key"], ...event });
    response.writeHead(behave.ingest ?? 200).end("{}");
    return;
  }
  calls.push({ method: request.method, url: request.url, headers: request.headers, body: body.toString() });
  response.on("close", () => { if (!response.writableEnded) left = true; });
  if (behave.refuses && body.includes("stream_options")) {
    response.writeHead(behave.refuses).end('{"error":{"message":"Unrecognized request argument: stream_options"}}');
  } else if (behave.status) {
    response.writeHead(behave.status, { "content-type": "application/json", "retry-after": "7" }).end(behave.body);
  } else if (request.method !== "POST" || behave.plain) {
    response.writeHead(200, { "content-type": "application/json" }).end('{"data":[]}');
  } else if (JSON.parse(body).stream) {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const frame of FRAMES.slice(0, behave.frames ?? FRAMES.length)) response.write(frame);
    if (behave.frames === undefined) return response.end();
    const writing = setInterval(() => response.write(": still there\n\n"), 50); // it ends when it is left
    response.on("close", () => clearInterval(writing));
  } else {
    const usage = behave.usage ?? { prompt_tokens: 9, completion_tokens: 5 };
    response.writeHead(200, { "content-type": "application/json", "x-request-id": "req_of_the_stub" });
    response.end(JSON.stringify({ model: "gpt-4o", choices: [{ message: { content: "Hello" } }], usage }));
  }
}

function options(more = {}) {
  const url = `http://127.0.0.1:${upstream.address().port}`;
  const providers = { openai: `${url}/v1`, anthropic: `${url}/v1`, gemini: `${url}/v1beta`, groq: `${url}/g/v1` };
  const bindings = {
    ATLASBURN_INGEST_URL: `${url}/api/ingest`,
    ATLASBURN_KEY_PEPPER: PEPPER,
    ATLASBURN_PROVIDERS: JSON.stringify(providers),
    ...more,
  };
  return {
    modules: true,
    scriptPath: SCRIPT,
    compatibilityDate: "2026-04-01",
    compatibilityFlags: ["enable_request_signal"],
    kvNamespaces: ["GUARDRAIL_FLAGS"],
    bindings,
    handleRuntimeStdio: (out, err) => { out.resume(); err.resume(); },
  };
}

before(async () => {
  upstream = createServer(answer);
  await new Promise((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  worker = new Miniflare(options());
  base = await worker.ready;
  kv = await worker.getKVNamespace("GUARDRAIL_FLAGS");
});

after(async () => {
  await worker.dispose();
  upstream.closeAllConnections();
  upstream.close();
});

beforeEach(async () => {
  [calls, ingested, behave, left] = [[], [], {}, false];
  running++;
  for (const { name } of (await kv.list()).keys) await kv.delete(name);
  const hash = createHmac("sha256", Buffer.from(PEPPER, "hex")).update(TOKEN).digest("hex");
  await kv.put(`key:${hash}`, JSON.stringify({ org_id: ORGANIZATION, key_id: "key_1", expires_at: null }));
});

function post(path, body = ASKED, headers = {}, more = {}) {
  const sent = { "content-type": "application/json", "AtlasBurn-API-Key": TOKEN, "AtlasBurn-Trace-Id": running, ...headers };
  return fetch(new URL(path, base), { method: "POST", body: JSON.stringify(body), headers: sent, ...more });
}

function suspend(value) {
  return kv.put(`guardrail:${ORGANIZATION}`, typeof value === "string" ? value : JSON.stringify(value));
}

const FLAG = { state: "suspended", layer: "dumb_loop_detector", reason: "seen 4 times in 60s", expires_at: null };
const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();

test("a call goes on with the provider's key and comes back as it is; its telemetry follows", async () => {
  const response = await post("/openai/v1/chat/completions", ASKED, {
    Authorization: "Bearer sk-of-the-caller", "AtlasBurn-Session-Id": "s-1", Cookie: "a=b", "X-Forwarded-For": "203.0.113.9",
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-request-id"), "req_of_the_stub");
  assert.equal((await response.json()).choices[0].message.content, "Hello");
  const [call] = calls;
  assert.equal(call.url, "/v1/chat/completions");
  assert.equal(call.headers.authorization, "Bearer sk-of-the-caller");
  for (const name of ["atlasburn-api-key", "atlasburn-session-id", "cookie", "x-forwarded-for"]) {
    assert.equal(call.headers[name], undefined, name);
  }
  const [event] = await until(() => ingested.length && ingested);
  assert.deepEqual(
    [event.key, event.provider, event.model, event.endpoint, event.status, event.tokens_in, event.tokens_out, event.session_id],
    [TOKEN, "openai", "gpt-4o", "/chat/completions", 200, 9, 5, "s-1"],
  );
  assert.equal(event.estimated, false);
});

for (const [usage, told] of [
  [{ prompt_tokens: "9", completion_tokens: 4.5, cost: {}, prompt_tokens_details: [] }, [9, 5, 0, false]],
  [{ prompt_tokens: 9, completion_tokens: 5, total_tokens: 34 }, [9, 25, 0, false]],
  [{ prompt_tokens: 9, completion_tokens: 0 }, [9, 2, 0, true]],
  [{ prompt_tokens: 109, completion_tokens: 5, total_tokens: 114, cache_read_input_tokens: 100 }, [109, 5, 100, false]],
  [{ input_tokens: 9, output_tokens: 5, cache_read_input_tokens: 100, cache_creation_input_tokens: 10 }, [119, 5, 100, false]],
  [{ input_tokens: 109, output_tokens: 5, input_tokens_details: { cached_tokens: 100 } }, [109, 5, 100, false]],
]) {
  test(`usage ${JSON.stringify(usage)}`, async () => {
    behave = { usage };
    await (await post("/openai/v1/chat/completions", ASKED)).text();
    const [event] = await until(() => ingested.length && ingested);
    assert.deepEqual([event.tokens_in, event.tokens_out, event.cached_tokens ?? 0, event.estimated], told);
  });
}

test("a stream passes byte for byte, and usage is asked for and read from its last frame", async () => {
  const response = await post("/openai/v1/chat/completions", { ...ASKED, stream: true });
  assert.equal(await response.text(), FRAMES[0] + FRAMES[1] + "data: [DONE]\n\n", "but for usage that nobody asked for");
  assert.deepEqual(JSON.parse(calls[0].body).stream_options, { include_usage: true });
  const [event] = await until(() => ingested.length && ingested);
  assert.deepEqual([event.tokens_in, event.tokens_out, event.stream, event.estimated], [9, 5, true, false]);
});

test("a caller that asks for usage gets it", async () => {
  const asked = { ...ASKED, stream: true, stream_options: { include_usage: true } };
  assert.equal(await (await post("/openai/v1/chat/completions", asked)).text(), FRAMES.join(""));
});

for (const status of [400, 422]) {
  test(`a provider that refuses to be asked for usage (${status}) gets the call as it was written`, async () => {
    behave.refuses = status;
    const response = await post("/openai/v1/chat/completions", { ...ASKED, stream: true });
    assert.deepEqual([response.status, await response.text()], [200, FRAMES.join("")]);
    assert.deepEqual(calls.map((call) => JSON.parse(call.body)), [
      { ...ASKED, stream: true, stream_options: { include_usage: true } },
      { ...ASKED, stream: true },
    ]);
  });
}

test("a client that leaves ends the provider's call; what was written by then is estimated", async () => {
  behave.frames = 2;
  const controller = new AbortController();
  const response = await post("/openai/v1/chat/completions", { ...ASKED, stream: true }, {}, { signal: controller.signal });
  const reader = response.body.getReader();
  await reader.read();
  controller.abort();
  await reader.read().catch(() => undefined);
  await until(() => left);
  const [event] = await until(() => ingested.length && ingested);
  assert.deepEqual([event.tokens_in, event.tokens_out, event.estimated], [1, 2, true]); // "hi"; "Hello": 5 characters
});

for (const [path, shape] of [
  ["/openai/v1/chat/completions", { type: "rate_limit_exceeded", code: "atlasburn_guardrail" }],
  ["/groq/v1/chat/completions", { type: "rate_limit_exceeded" }],
  ["/anthropic/v1/messages", { type: "rate_limit_error" }],
  ["/gemini/v1beta/models/gemini-2.0-flash:generateContent", { code: 429, status: "RESOURCE_EXHAUSTED" }],
]) {
  test(`suspended: 429 in the shape of ${path}`, async () => {
    await suspend({ ...FLAG, expires_at: inSeconds(30) });
    const response = await post(path);
    const body = await response.json();
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("x-atlasburn-blocked"), "1");
    assert.equal(response.headers.get("x-atlasburn-reason"), "dumb_loop_detector");
    const seconds = Number(response.headers.get("retry-after"));
    assert.ok(seconds >= 1 && seconds <= 30, String(seconds));
    for (const [name, value] of Object.entries(shape)) assert.equal(body.error[name], value);
    assert.deepEqual(body._atlasburn, { blocked: true, reason: FLAG.reason, layer: FLAG.layer });
    assert.equal(calls.length, 0);
  });
}

for (const [what, value] of [
  ["is no JSON", "{corrupt"],
  ["is no object", "[1]"],
  ["ended", { ...FLAG, expires_at: inSeconds(-1) }],
  ["has an end that can't be read", { ...FLAG, expires_at: "tomorrow" }],
  ["says active", { ...FLAG, state: "active" }],
]) {
  test(`a flag that ${what} stops nothing`, async () => {
    await suspend(value);
    assert.equal((await post("/openai/v1/chat/completions")).status, 200);
  });
}

test("a flag until somebody resumes, or one with an absurd end, holds; nobody is told to wait for ever", async () => {
  for (const expires_at of [null, "9999-12-31T00:00:00.000Z"]) {
    await suspend({ ...FLAG, expires_at });
    const response = await post("/openai/v1/chat/completions");
    assert.deepEqual([response.status, response.headers.get("retry-after")], [429, "60"]);
  }
});

test("a provider's own SDK writes its base URL's path itself", async () => {
  for (const path of ["/groq/v1/chat/completions", "/groq/g/v1/chat/completions"]) assert.equal((await post(path)).status, 200);
  assert.deepEqual(calls.map((one) => one.url), ["/g/v1/chat/completions", "/g/v1/chat/completions"]);
});

test("without a good key there is no call", async () => {
  for (const key of ["abn_bbbbbbbbbbbbbbbbbbbb", "sk-not-ours", ""]) {
    const response = await post("/anthropic/v1/messages", ASKED, { "AtlasBurn-API-Key": key });
    assert.deepEqual([response.status, (await response.json()).error.type], [401, "authentication_error"]);
  }
  assert.equal(calls.length, 0);
});

test("what is not forwarded is 404; nothing in a request chooses a host", async () => {
  for (const path of ["/openai/v1/assistants", "/nobody/v1/chat/completions", "/gemini/v1beta/operations/one", "/", "/openai/v1/files/a%2Fb"]) {
    assert.equal((await post(path)).status, 404, path);
  }
  const refused = await fetch(new URL("/openai/v1/responses/resp_1", base), { method: "PUT" });
  assert.deepEqual([refused.status, refused.headers.get("allow")], [405, "DELETE, GET"]);
  assert.equal(calls.length, 0);
});

const FORWARDED = JSON.parse(readFileSync(new URL("../src/forwarded.json", import.meta.url)));
const VERSIONS = { openai: "/openai/v1", anthropic: "/anthropic/v1", gemini: "/gemini/v1beta" };

/** All that the gateway forwards, as [kind, method, path]. */
function* everyEndpoint() {
  for (const [dialect, byPath] of Object.entries(FORWARDED.endpoints)) {
    for (const [path, methods] of Object.entries(byPath)) {
      for (const [method, kind] of Object.entries(methods)) yield [kind, method, VERSIONS[dialect] + path.replaceAll("{}", "one_1")];
    }
  }
  for (const [verb, kind] of Object.entries(FORWARDED.geminiVerbs)) yield [kind, "POST", `${VERSIONS.gemini}/models/gemini-2.5-pro${verb}`];
}

function call(method, path, headers = { "AtlasBurn-API-Key": TOKEN }) {
  const body = method === "POST" ? JSON.stringify(ASKED) : undefined;
  return fetch(new URL(path, base), { method, headers: { "content-type": "application/json", "AtlasBurn-Trace-Id": running, ...headers }, body });
}

for (const wanted of ["counted", "free", "unreadable"]) {
  test(`every ${wanted} endpoint of the gateway's table`, async () => {
    behave.plain = true;
    const endpoints = [...everyEndpoint()].filter(([kind]) => kind === wanted);
    assert.ok(endpoints.length > 3);
    for (const [, method, path] of endpoints) {
      [calls, ingested] = [[], []];
      const response = await call(method, path);
      const body = await response.json();
      if (wanted === "unreadable") {
        assert.deepEqual([response.status, body._atlasburn.reason], [403, "cost_unreadable"], path);
        assert.equal(calls.length, 0, path);
        continue;
      }
      assert.equal(response.status, 200, path);
      assert.deepEqual(calls.map((one) => [one.method, one.url]), [[method, path.replace(/^\/[a-z]+/, "")]]);
      if (wanted === "counted") await until(() => ingested.length);
    }
  });
}

test("free ones go on under a flag and are told to nobody, but need a key", async () => {
  behave.plain = true;
  await suspend(FLAG);
  assert.equal((await call("GET", "/openai/v1/models")).status, 200);
  assert.equal((await call("POST", "/openai/v1/responses/resp_1/cancel")).status, 200);
  assert.equal((await call("GET", "/openai/v1/models", {})).status, 401);
  assert.equal((await call("POST", "/openai/v1/responses/compact")).status, 429);
  assert.deepEqual(calls.map((one) => one.url), ["/v1/models", "/v1/responses/resp_1/cancel"]);
  await kv.delete(`guardrail:${ORGANIZATION}`);
  await (await post("/openai/v1/embeddings")).text();
  await until(() => ingested.length);
  assert.deepEqual(ingested.map((event) => event.endpoint), ["/embeddings"], "all that was told");
});

test("unreadable ones are forwarded and counted where the Worker's owner says so", async () => {
  behave.plain = true;
  const allows = new Miniflare(options({ ATLASBURN_FORWARD_UNREADABLE: "on", ATLASBURN_KEY_PEPPER: "", ATLASBURN_ORG_ID: ORGANIZATION }));
  const url = await allows.ready;
  const headers = { "content-type": "application/json", "AtlasBurn-API-Key": TOKEN };
  const body = JSON.stringify({ model: "gpt-image-1", prompt: "a cat" });
  const response = await fetch(new URL("/openai/v1/images/generations", url), { method: "POST", headers, body });
  assert.equal(response.status, 200);
  await response.text();
  const [event] = await until(() => ingested.length && ingested);
  assert.deepEqual([event.model, event.endpoint], ["gpt-image-1", "/images/generations"]);
  await allows.dispose();
});

test("Gemini's embeddings count their text, each under a fingerprint of its own", async () => {
  behave.plain = true;
  for (const text of ["twelve chars", "other letter"]) {
    await (await post("/gemini/v1beta/models/gemini-embedding-001:embedContent", { content: { parts: [{ text }] } })).text();
  }
  const [one, two] = await until(() => ingested.length > 1 && ingested);
  assert.deepEqual([one.tokens_in, one.estimated, one.model], [3, true, "gemini-embedding-001"]);
  assert.notEqual(one.fingerprint, two.fingerprint);
});

test("what was written into the provider's cache is told, for minutes and for an hour", async () => {
  for (const [usage, told] of [
    [{ input_tokens: 6, output_tokens: 5, cache_creation_input_tokens: 10, cache_creation: { ephemeral_1h_input_tokens: 4 } }, [16, 10, 4]],
    [{ prompt_tokens: 20, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 3, cache_write_tokens: 7 } }, [20, 7, 0]],
  ]) {
    [ingested, behave] = [[], { usage }];
    await (await post("/openai/v1/chat/completions", ASKED)).text();
    const [event] = await until(() => ingested.length && ingested);
    assert.deepEqual([event.tokens_in, event.cache_write_tokens, event.cache_write_1h_tokens], told);
  }
});

test("a provider's own 429 passes as it is, and tells its difference", async () => {
  behave = { status: 429, body: '{"error":{"message":"slow down"}}' };
  const response = await post("/openai/v1/chat/completions");
  assert.deepEqual([response.status, await response.text()], [429, behave.body]);
  assert.deepEqual([response.headers.get("retry-after"), response.headers.get("x-atlasburn-blocked")], ["7", null]);
});

test("telemetry that fails is sent again", async () => {
  behave.ingest = 503;
  await (await post("/openai/v1/chat/completions")).text();
  await until(() => ingested.length);
  behave.ingest = 200;
  const [first, second] = await until(() => ingested.length > 1 && ingested);
  assert.equal(first.event_id, second.event_id, "under the same id, so it counts once");
});

test("with KV away calls are forwarded", async () => {
  const away = new Miniflare({
    ...options({ ATLASBURN_ORG_ID: ORGANIZATION }),
    kvNamespaces: [],
    serviceBindings: { GUARDRAIL_FLAGS: () => new Response("no KV here", { status: 500 }) },
  });
  const url = await away.ready;
  const headers = { "content-type": "application/json", "AtlasBurn-API-Key": TOKEN };
  const body = JSON.stringify(ASKED);
  const response = await fetch(new URL("/openai/v1/chat/completions", url), { method: "POST", headers, body });
  assert.equal(response.status, 200);
  await response.text();
  await away.dispose();
});

test("fingerprints are those of the gateway", async () => {
  const vectors = JSON.parse(readFileSync(new URL("fingerprints.json", import.meta.url)));
  assert.ok(vectors.length >= 8);
  for (const { body, fingerprint } of vectors) {
    ingested = [];
    const headers = { "content-type": "application/json", "AtlasBurn-API-Key": TOKEN };
    await (await fetch(new URL("/openai/v1/chat/completions", base), { method: "POST", headers, body })).text();
    const [event] = await until(() => ingested.length && ingested);
    assert.equal(event.fingerprint, fingerprint, body);
  }
});
