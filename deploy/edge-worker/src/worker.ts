// The edge proxy as a Cloudflare Worker: one call of a model, from its caller to its provider and back (B-029, B-042).
//
// An organization that is suspended gets 429 before the provider is called; everything else goes on, streamed, with the
// caller's own provider key. It fails open: whatever of ours is away or broken, the call is forwarded unmodified.

import { digest, fingerprint } from "./canonical";
import { type Env, organizationOf, suspension } from "./flags";
import { type Provider, providersOf, type Target, targetsOf } from "./providers";
import { blocked, failed } from "./shapes";
import { refusesToTell, UsageChunkFilter } from "./unasked";
import { AnswerReader, promptCharacters, type Usage } from "./usage";

const INSPECTED_BYTES_MAX = 2 * 1024 * 1024;
const RETRIES_MS = [1000, 2000, 4000]; // B-068
const USAGE_ON_REQUEST = new Set(["/chat/completions", "/completions"]);
const NOT_SENT =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|host|content-length|expect|accept-encoding|cookie|forwarded|via|x-real-ip|atlasburn-.*|x-atlasburn-.*|x-forwarded-.*|cf-.*)$/;
const UNREADABLE =
  "The answer of this endpoint does not tell what it costs. Call the provider directly, or set ATLASBURN_FORWARD_UNREADABLE=on.";
const LABELS: Record<string, string> = {
  "AtlasBurn-Session-Id": "session_id",
  "AtlasBurn-Project": "project",
  "AtlasBurn-User": "user",
  "AtlasBurn-Trace-Id": "trace_id",
};

interface Asked {
  body: BodyInit | null;
  asSent?: BodyInit; // where the Worker asks for usage in its caller's stead
  model: string;
  fingerprint: string;
  streams: boolean;
  promptLength: number;
}

let known: { written: string | undefined; providers: Map<string, Provider> } | undefined;

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    const url = new URL(request.url);
    const targets = targetsOf(providers(env), url.pathname);
    if (targets === null) return failed("openai", 404, "not_found", `The proxy does not forward ${url.pathname.slice(0, 200)}.`);
    const target = targets.get(request.method);
    if (target === undefined) return notAllowed(targets);
    const stopped = await stop(request, env, target);
    return stopped ?? forward(request, env, context, target, url.search);
  },
} satisfies ExportedHandler<Env>;

function providers(env: Env): Map<string, Provider> {
  if (known?.written !== env.ATLASBURN_PROVIDERS || !known) {
    known = { written: env.ATLASBURN_PROVIDERS, providers: providersOf(env.ATLASBURN_PROVIDERS) };
  }
  return known.providers;
}

function notAllowed(targets: Map<string, Target>): Response {
  const { provider } = targets.values().next().value!;
  const allowed = [...targets.keys()].sort().join(", ");
  const refused = failed(provider.dialect, 405, "method_not_allowed", `${allowed} is needed.`);
  refused.headers.set("allow", allowed);
  return refused;
}

/** Why the call is not made, or null. What breaks here stops nothing. */
async function stop(request: Request, env: Env, target: Target): Promise<Response | null> {
  const { dialect } = target.provider;
  try {
    const nowMs = Date.now();
    const organization = await organizationOf(env, request.headers.get("AtlasBurn-API-Key"), nowMs);
    if (organization === undefined) {
      return failed(dialect, 401, "unauthorized", "The AtlasBurn-API-Key is missing, malformed or revoked.");
    }
    if (target.kind === "unreadable" && env.ATLASBURN_FORWARD_UNREADABLE !== "on") {
      return failed(dialect, 403, "cost_unreadable", UNREADABLE);
    }
    if (target.kind === "free") return null;
    const flag = organization === null ? null : await suspension(env, organization, nowMs);
    return flag && blocked(dialect, flag.layer, flag.reason, flag.endsMs, nowMs);
  } catch (error) {
    console.error("forwarded unchecked", String(error));
    return null;
  }
}

async function forward(
  request: Request, env: Env, context: ExecutionContext, target: Target, query: string,
): Promise<Response> {
  const startedMs = Date.now();
  const asked = await inspect(request, target);
  let upstream: Response;
  try {
    upstream = await ask(request, target, query, asked);
  } catch (error) {
    console.error("upstream", target.provider.name, String(error));
    tell(env, context, request, target, asked, startedMs, 502, null);
    return failed(target.provider.dialect, 502, "upstream_unreachable", `${target.provider.name} could not be reached.`);
  }
  const told = (usage: Usage | null): void => tell(env, context, request, target, asked, startedMs, upstream.status, usage);
  return passed(upstream, context, told, asked);
}

/** A provider that refuses to be asked for usage gets the call as its caller wrote it. */
async function ask(request: Request, target: Target, query: string, asked: Asked): Promise<Response> {
  const init = { method: request.method, headers: sentHeaders(request.headers), redirect: "manual", signal: request.signal } as const;
  const upstream = await fetch(target.url + query, { ...init, body: asked.body });
  if (asked.asSent === undefined || upstream.status < 400 || upstream.status >= 500) return upstream;
  const refusal = await upstream.arrayBuffer();
  if (!refusesToTell(upstream.status, new TextDecoder().decode(refusal))) return new Response(refusal, upstream);
  const body = asked.asSent;
  asked.asSent = undefined;
  return fetch(target.url + query, { ...init, body });
}

/** The answer as it comes, unchanged but for usage that nobody but the Worker asked for; `told` is called once, at its end or when the caller leaves. */
function passed(upstream: Response, context: ExecutionContext, told: (usage: Usage | null) => void, asked: Asked): Response {
  const headers = new Headers(upstream.headers);
  for (const name of [...headers.keys()]) if (name.startsWith("x-atlasburn-")) headers.delete(name);
  const init = { status: upstream.status, statusText: upstream.statusText, headers };
  const reads = upstream.ok && upstream.body !== null && !headers.has("content-encoding");
  const streams = (headers.get("content-type") ?? "").includes("text/event-stream");
  const reader = reads ? new AnswerReader(streams) : null;
  const unasked = reads && streams && asked.asSent !== undefined ? new UsageChunkFilter() : null;
  if (unasked) headers.delete("content-length");
  let done = false;
  const end = (): void => {
    if (!done) told(reader ? reader.usage(asked.promptLength) : null);
    done = true;
  };
  if (!upstream.body) {
    end();
    return new Response(null, init);
  }
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  context.waitUntil(pump(upstream.body, writable, (piece) => reader?.feed(piece), unasked).finally(end));
  return new Response(readable, init);
}

/** Piece by piece; a caller that leaves ends the provider's call, a provider that breaks off breaks off the answer. */
async function pump(
  from: ReadableStream<Uint8Array>, to: WritableStream<Uint8Array>, seen: (piece: Uint8Array) => void,
  unasked: UsageChunkFilter | null,
): Promise<void> {
  const reader = from.getReader();
  const writer = to.getWriter();
  writer.closed.catch((reason) => reader.cancel(reason).catch(() => undefined));
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const passed = unasked ? unasked.feed(next.value) : next.value;
      if (passed.length) await writer.write(passed);
      seen(next.value);
    }
    const rest = unasked?.rest();
    if (rest?.length) await writer.write(rest);
    await writer.close();
  } catch (error) {
    await Promise.allSettled([reader.cancel(error), writer.abort(error)]);
  }
}

/** What can't be read goes on as it came, with a fingerprint over its bytes. */
async function inspect(request: Request, target: Target): Promise<Asked> {
  const opaque: Asked = { body: request.body, model: target.model, fingerprint: "", streams: false, promptLength: 0 };
  if (target.kind === "free") return opaque;
  const length = Number(request.headers.get("content-length") ?? NaN);
  if (!(length <= INSPECTED_BYTES_MAX) || request.headers.has("content-encoding")) {
    const head = `${target.url} ${length} ${Date.now()}`; // nobody reads it, so it is like no other
    return { ...opaque, fingerprint: await digest([new TextEncoder().encode(head)]) };
  }
  const bytes = new Uint8Array(await request.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const body = JSON.parse(text) as Record<string, any>;
    const model = String(target.model || body.model || "").slice(0, 128);
    const streams = body.stream === true || target.endpoint === ":streamGenerateContent";
    const asking = target.provider.dialect === "openai" && streams ? askingForUsage(text, body, target) : text;
    return {
      body: asking === text ? bytes : asking,
      asSent: asking === text ? undefined : bytes,
      model,
      fingerprint: await (hasOtherMembers(body, target) ? digest([bytes]) : fingerprint(text, model)),
      streams,
      promptLength: promptCharacters(body),
    };
  } catch {
    return { ...opaque, body: bytes, fingerprint: await digest([bytes]), promptLength: bytes.length };
  }
}

/** Whether what is asked stands where fingerprints don't look: in Gemini's embeddings, images, audio. */
function hasOtherMembers(body: Record<string, any>, target: Target): boolean {
  return target.kind === "unreadable" || "content" in body || "requests" in body;
}

/** One member more and every other byte as it was (B-059), unless the caller says something of usage itself. */
function askingForUsage(text: string, body: Record<string, any>, target: Target): string {
  if (!USAGE_ON_REQUEST.has(target.endpoint) || "stream_options" in body) return text;
  const end = text.lastIndexOf("}");
  return `${text.slice(0, end)},"stream_options":{"include_usage":true}${text.slice(end)}`;
}

function sentHeaders(received: Headers): Headers {
  const named = new Set((received.get("connection") ?? "").toLowerCase().split(",").map((name) => name.trim()));
  const sent = new Headers();
  for (const [name, value] of received) if (!NOT_SENT.test(name) && !named.has(name)) sent.append(name, value);
  sent.set("accept-encoding", "identity");
  return sent;
}

/** Telemetry, after the answer; three more tries, then it is dropped (B-060). */
function tell(
  env: Env, context: ExecutionContext, request: Request, target: Target, asked: Asked, startedMs: number,
  status: number, usage: Usage | null,
): void {
  const key = request.headers.get("AtlasBurn-API-Key");
  if (!env.ATLASBURN_INGEST_URL || !key || target.kind === "free") return;
  const event: Record<string, unknown> = {
    ts: new Date(startedMs).toISOString(),
    event_id: crypto.randomUUID(),
    provider: target.provider.name,
    model: asked.model || "unknown",
    endpoint: target.endpoint,
    status,
    ...(usage ?? { tokens_in: 0, tokens_out: 0 }),
    latency_ms: Date.now() - startedMs,
    fingerprint: asked.fingerprint,
    stream: asked.streams,
  };
  for (const [header, field] of Object.entries(LABELS)) {
    const label = request.headers.get(header);
    if (label) event[field] = label.slice(0, 128);
  }
  const retries = Number(request.headers.get("AtlasBurn-Retry-Count") ?? request.headers.get("x-stainless-retry-count"));
  if (Number.isInteger(retries) && retries > 0) event.retry_count = retries;
  context.waitUntil(send(env.ATLASBURN_INGEST_URL, key, JSON.stringify({ events: [event] })));
}

async function send(url: string, key: string, body: string): Promise<void> {
  const headers = { "content-type": "application/json", "AtlasBurn-API-Key": key };
  for (const waitMs of [0, ...RETRIES_MS]) {
    if (waitMs) await new Promise((resolve) => setTimeout(resolve, waitMs));
    try {
      const answer = await fetch(url, { method: "POST", headers, body });
      await answer.body?.cancel();
      if (answer.status < 500 && answer.status !== 429) return;
    } catch (error) {
      console.error("telemetry", String(error));
    }
  }
  console.error("telemetry dropped");
}
