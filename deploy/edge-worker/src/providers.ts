// Which providers and paths are forwarded, and what each means for a budget: the gateway's own table, written into
// forwarded.json by `make docs`.

import forwarded from "./forwarded.json";

export type Dialect = "openai" | "anthropic" | "gemini";

/** Told and stopped by guardrails; passed on uncounted; costs, but its answer doesn't say how much. */
export type Kind = "counted" | "free" | "unreadable";

export interface Provider {
  name: string;
  baseUrl: string;
  dialect: Dialect;
  versions: string[]; // first segments of its paths, longest first
}

export interface Target {
  provider: Provider;
  url: string;
  endpoint: string;
  model: string; // where the path names it
  kind: Kind;
}

type Methods = Map<string, Kind>;

const KNOWN = forwarded.providers as Provider[];
const GEMINI_MODEL = new RegExp(forwarded.geminiModel);
const VERTEX_MODEL = new RegExp(forwarded.vertexModel);
const GEMINI_VERBS = forwarded.geminiVerbs as Record<string, Kind>;
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** Of one dialect; paths that stand in the table as they are before those with a name in them. */
class Endpoints {
  private readonly exact = new Map<string, Methods>();
  private readonly patterns: { pattern: RegExp; path: string; methods: Methods }[] = [];

  constructor(byPath: Record<string, Record<string, string>>) {
    for (const [path, byMethod] of Object.entries(byPath)) {
      const methods = new Map(Object.entries(byMethod)) as Methods;
      const pattern = new RegExp(`^${path.replaceAll("{}", forwarded.segment)}$`);
      if (path.includes("{}")) this.patterns.push({ pattern, path, methods });
      else this.exact.set(path, methods);
    }
  }

  at(path: string): { path: string; methods: Methods } | undefined {
    const methods = this.exact.get(path);
    return methods ? { path, methods } : this.patterns.find(({ pattern }) => pattern.test(path));
  }
}

const ENDPOINTS = Object.fromEntries(
  Object.entries(forwarded.endpoints).map(([dialect, byPath]) => [dialect, new Endpoints(byPath as any)]),
) as Record<Dialect, Endpoints>;

/** Those known, at other base URLs where `written` (JSON) says so, and the others it names. Raises SyntaxError. */
export function providersOf(written: string | undefined): Map<string, Provider> {
  const baseUrls: Record<string, string> = written ? JSON.parse(written) : {};
  const providers = new Map(KNOWN.map((known) => [known.name, known]));
  for (const [name, url] of Object.entries(baseUrls)) {
    if (!NAME.test(name)) continue;
    const known = providers.get(name);
    const baseUrl = url.replace(/\/+$/, "");
    // SDKs of a provider's own (Groq's) write its base URL's path themselves: /openai/v1
    const versions = [...new Set([new URL(baseUrl).pathname.replace(/\/+$/, ""), "/v1"])].filter(Boolean);
    providers.set(name, known ? { ...known, baseUrl } : { name, baseUrl, dialect: "openai", versions });
  }
  return providers;
}

/** By method, of a request's path as it was written; null for what is not forwarded. No request chooses a host. */
export function targetsOf(providers: Map<string, Provider>, path: string): Map<string, Target> | null {
  const end = path.indexOf("/", 1);
  const provider = end > 0 ? providers.get(path.slice(1, end)) : undefined;
  if (!provider) return null;
  const within = path.slice(end);
  const version = provider.versions.find((one) => within.startsWith(one + "/"));
  return version === undefined ? null : targetsWithin(provider, version, within.slice(version.length));
}

function targetsWithin(provider: Provider, version: string, rest: string): Map<string, Target> | null {
  const isGeminis = provider.dialect === "gemini";
  const base = isGeminis ? provider.baseUrl.replace(/\/v1beta$/, "") + version : provider.baseUrl;
  const called = isGeminis ? modelCalled(provider, base, version, rest) : null;
  if (called) return new Map([["POST", called]]);
  const found = ENDPOINTS[provider.dialect].at(rest);
  if (!found) return null;
  const target = { provider, url: base + rest, endpoint: found.path, model: "" };
  return new Map([...found.methods].map(([method, kind]) => [method, { ...target, kind }]));
}

/** By Gemini's paths, which name the model and what is done with it, or by Vertex's. */
function modelCalled(provider: Provider, base: string, version: string, rest: string): Target | null {
  const gemini = GEMINI_MODEL.exec(rest);
  const found = gemini ?? (version === "/v1beta" ? null : VERTEX_MODEL.exec(rest));
  if (!found) return null;
  const { model, verb, location } = found.groups as { model: string; verb: string; location?: string };
  const host = location === "global" ? "aiplatform" : `${location}-aiplatform`;
  const url = gemini ? base + rest : `https://${host}.googleapis.com${version}${rest}`;
  return { provider, url, endpoint: verb, model, kind: GEMINI_VERBS[verb]! };
}
