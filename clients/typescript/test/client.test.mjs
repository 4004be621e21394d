/** What the client does when answers are late, lost or odd, before a server that does so on purpose. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { AtlasError, createAtlasClient } from "@atlas/client";

/** A client, and the requests that came; `answers` are given in turn, null breaks the connection. */
async function before(t, answers, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body });
    const answer = answers.shift();
    if (answer === null) return request.socket.destroy();
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close() && server.closeAllConnections());
  const baseUrl = `http://127.0.0.1:${server.address().port}/`;
  return { atlas: createAtlasClient({ baseUrl, getAccessToken: () => "atlas_pat_x", ...options }), requests };
}

const LATER = { status: 503, headers: { "Retry-After": "0" }, body: "{}" };
const MADE = { status: 201, body: '{"id":"tsk_1"}' };

test("a write is repeated under one key, after a lost answer and when it is told to", async (t) => {
  const { atlas, requests } = await before(t, [null, LATER, MADE]);
  assert.deepEqual(await atlas.tasks.create({ projectId: "prj_1", title: "Über" }), { id: "tsk_1" });
  assert.equal(new Set(requests.map((one) => one.headers["idempotency-key"])).size, 1);
  assert.deepEqual(requests.map((one) => one.body), Array(3).fill('{"projectId":"prj_1","title":"Über"}'));
});

test("two calls have two keys, and a given one stands", async (t) => {
  const { atlas, requests } = await before(t, [MADE, MADE, MADE]);
  await atlas.tasks.create({});
  await atlas.tasks.create({});
  await atlas.tasks.create({}, { idempotencyKey: "mine" });
  const keys = requests.map((one) => one.headers["idempotency-key"]);
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], "mine");
});

test("it gives up in the end, with the API's own words", async (t) => {
  const problem = JSON.stringify({ title: "rate_limit_exceeded", detail: "Too many.", requestId: "req_1" });
  const full = { status: 429, headers: { "Retry-After": "0" }, body: problem };
  const { atlas, requests } = await before(t, [full, full, full]);
  await assert.rejects(atlas.tasks.list(), (error) => {
    assert.ok(error instanceof AtlasError);
    assert.deepEqual([error.status, error.code, error.message], [429, "rate_limit_exceeded", "Too many."]);
    return error.requestId === "req_1";
  });
  assert.equal(requests.length, 3);
});

test("an answer that asks for a long wait is handed on at once", async (t) => {
  const { atlas, requests } = await before(t, [{ status: 429, headers: { "Retry-After": "3600" }, body: "{}" }]);
  await assert.rejects(atlas.tasks.list(), { status: 429 });
  assert.equal(requests.length, 1);
});

test("a page that is none of the API's is a refusal too", async (t) => {
  const { atlas } = await before(t, [{ status: 404, body: "<html>" }]);
  await assert.rejects(atlas.tasks.get("tsk_1"), { status: 404, code: null });
});

test("ids and queries are written as text, whatever is in them", async (t) => {
  const page = { status: 200, body: '{"items":[]}' };
  const { atlas, requests } = await before(t, [page, page]);
  await atlas.tasks.get("a/../b?c");
  await atlas.tasks.list({ assigneeId: "ada & co", limit: 5, cursor: null, status: undefined });
  assert.deepEqual(requests.map((one) => one.url), ["/v1/tasks/a%2F..%2Fb%3Fc", "/v1/tasks?assigneeId=ada+%26+co&limit=5"]);
  await assert.rejects(atlas.tasks.get(undefined), TypeError);
  await assert.rejects(atlas.tasks.delete(""), TypeError);
});

test("a caller can stop", async (t) => {
  const { atlas, requests } = await before(t, []);
  await assert.rejects(atlas.tasks.list({}, { signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.equal(requests.length, 0);
});

test("without a token nothing is said of one", async (t) => {
  const { atlas, requests } = await before(t, [MADE], { getAccessToken: async () => null });
  await atlas.tasks.create({});
  assert.equal(requests[0].headers.authorization, undefined);
});
