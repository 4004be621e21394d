// Whose call it is, and whether that organization is suspended: two reads of KV. What can't be read or makes no sense
// stops nothing (Law 4, B-041; L1), and is reported on the console.

export interface Env {
  GUARDRAIL_FLAGS: KVNamespace;
  ATLASBURN_INGEST_URL?: string;
  ATLASBURN_KEY_PEPPER?: string;
  ATLASBURN_ORG_ID?: string;
  ATLASBURN_PROVIDERS?: string;
  ATLASBURN_FORWARD_UNREADABLE?: string;
}

export interface Flag {
  layer: string;
  reason: string;
  endsMs: number | null;
}

const KV_MS_MAX = 500; // a KV that is slower than this is as good as away
const CACHE_SECONDS = 30; // the least that KV takes
const LAYER = /^[a-z0-9_.-]{1,64}$/;
const TOKEN = /^abn_[a-z2-7]{20}$/;

/** The organization, null where it can't be found out now; undefined for a key that is none. */
export async function organizationOf(env: Env, token: string | null, nowMs: number): Promise<string | null | undefined> {
  if (token === null || !TOKEN.test(token)) return undefined;
  if (!env.ATLASBURN_KEY_PEPPER) return env.ATLASBURN_ORG_ID ?? null;
  const read = await readJson(env, `key:${await keyedHash(env.ATLASBURN_KEY_PEPPER, token)}`);
  if (read === FAILED) return env.ATLASBURN_ORG_ID ?? null;
  if (read === null || typeof read.org_id !== "string") return undefined;
  const endsMs = typeof read.expires_at === "string" ? Date.parse(read.expires_at) : NaN;
  return endsMs <= nowMs ? undefined : read.org_id;
}

/** The flag that stops the organization now, or null. */
export async function suspension(env: Env, organization: string, nowMs: number): Promise<Flag | null> {
  const read = await readJson(env, `guardrail:${organization}`);
  if (read === null || read === FAILED || read.state !== "suspended") return null;
  const endsMs = read.expires_at === null ? null : Date.parse(String(read.expires_at));
  if (endsMs !== null && Number.isNaN(endsMs)) {
    console.error("guardrail flag without a readable end, treated as absent", organization);
    return null;
  }
  if (endsMs !== null && endsMs <= nowMs) return null;
  const layer = LAYER.test(String(read.layer)) ? String(read.layer) : "guardrail";
  return { layer, reason: String(read.reason ?? "").slice(0, 500), endsMs };
}

const FAILED = Symbol("KV could not be read");

async function readJson(env: Env, key: string): Promise<Record<string, unknown> | null | typeof FAILED> {
  try {
    const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error("KV is slow")), KV_MS_MAX));
    const text = await Promise.race([env.GUARDRAIL_FLAGS.get(key, { cacheTtl: CACHE_SECONDS }), late]);
    if (text === null) return null;
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
    throw new Error("no JSON object");
  } catch (error) {
    console.error("KV", key.split(":")[0], String(error));
    return FAILED;
  }
}

async function keyedHash(pepperHex: string, token: string): Promise<string> {
  const pepper = Uint8Array.from(pepperHex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const key = await crypto.subtle.importKey("raw", pepper, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(token)));
}

export function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
