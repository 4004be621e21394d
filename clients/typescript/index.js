/**
 * A client of the AtlasWork API, one method an operation. Needs fetch and crypto: Node 20, Deno, Bun or a browser.
 * What the operations are stands in operations.js, which is made of the API's OpenAPI document.
 */
import { operations } from "./operations.js";

const RETRIED = new Set([409, 429, 502, 503, 504]);
const WAIT_MS_MAX = 20_000;

/** A refusal: `code` and `problem` are the API's (RFC 9457), `fields` the names of what is at fault. */
export class AtlasError extends Error {
  constructor(response, problem) {
    super(problem.detail ?? `The API answered ${response.status}.`);
    this.name = "AtlasError";
    this.status = response.status;
    this.code = problem.title ?? null;
    this.fields = (problem.errors ?? []).map((error) => error.field);
    this.requestId = problem.requestId ?? response.headers.get("X-Request-Id");
    this.problem = problem;
  }
}

/**
 * Every write carries an Idempotency-Key, so that it may be repeated: after a lost connection, and where the answer says
 * when (Retry-After), `retries` times. `getAccessToken` is asked for each request; what it gives is sent as it is.
 */
export function createAtlasClient({
  baseUrl,
  getAccessToken,
  fetch = globalThis.fetch,
  timeoutMs = 30_000,
  retries = 2,
}) {
  const settings = { base: baseUrl.replace(/\/+$/, ""), getAccessToken, fetch, timeoutMs, retries };
  const client = {};
  for (const [resource, methods] of Object.entries(operations)) {
    client[resource] = {};
    for (const [name, operation] of Object.entries(methods)) {
      client[resource][name] = (...given) => call(settings, operation, given);
    }
  }
  return client;
}

/** `given`: the ids of the path, then the query or the body where the operation has one, then options. */
async function call(settings, { method, path, ids, content }, given) {
  const named = new Map(ids.map((id, place) => [id, given[place]]));
  const body = content ? given[ids.length] : undefined;
  const options = given[ids.length + (content ? 1 : 0)] ?? {};
  const url = new URL(settings.base + path.replace(/{(\w+)}/g, (_, id) => segment(id, named.get(id))));
  if (content === "query") {
    for (const [name, value] of Object.entries(body ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
  }
  const headers = { Accept: "application/json", ...written(method, options) };
  const request = { method, headers };
  if (content === "body") {
    headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body ?? {});
  }
  return read(await send(settings, url, request, options));
}

function segment(name, value) {
  if (typeof value !== "string" || value === "") throw new TypeError(`${name}: an id is missing`);
  return encodeURIComponent(value);
}

function written(method, { idempotencyKey, ifMatch, after }) {
  const headers = {};
  if (method !== "GET") headers["Idempotency-Key"] = idempotencyKey ?? crypto.randomUUID();
  if (ifMatch !== undefined) headers["If-Match"] = String(ifMatch);
  if (after !== undefined) headers["Atlas-After"] = after;
  return headers;
}

async function send(settings, url, request, { signal }) {
  for (let tries = 0; ; tries += 1) {
    const token = await settings.getAccessToken();
    const headers = token === null ? request.headers : { ...request.headers, Authorization: `Bearer ${token}` };
    const timeout = AbortSignal.timeout(settings.timeoutMs);
    const bound = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    let wait = 250 * 2 ** tries;
    try {
      const response = await settings.fetch(url, { ...request, headers, signal: bound });
      const after = response.headers.get("Retry-After");
      if (!RETRIED.has(response.status) || after === null || tries >= settings.retries) return response;
      if (after * 1000 > WAIT_MS_MAX) return response;
      await response.body?.cancel();
      wait = after * 1000;
    } catch (error) {
      if (signal?.aborted || tries >= settings.retries) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function read(response) {
  const text = await response.text();
  if (response.ok) return text === "" ? null : JSON.parse(text);
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // not the API's own words: a proxy's page, say
  }
  throw new AtlasError(response, problem);
}
