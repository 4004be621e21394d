// Which providers and paths are forwarded: the same table as the gateway's (ingest_gateway/surfaces/burn/edge/providers.py).

export type Dialect = "openai" | "anthropic" | "gemini";

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
}

const KNOWN: Provider[] = [
  { name: "openai", baseUrl: "https://api.openai.com/v1", dialect: "openai", versions: ["/v1"] },
  { name: "anthropic", baseUrl: "https://api.anthropic.com/v1", dialect: "anthropic", versions: ["/v1"] },
  {
    name: "gemini",
    baseUrl: "https://generativelanguage.googleapis.com/v1beta",
    dialect: "gemini",
    versions: ["/v1beta1", "/v1beta", "/v1"],
  },
  { name: "openrouter", baseUrl: "https://openrouter.ai/api/v1", dialect: "openai", versions: ["/api/v1", "/v1"] },
];

const OPENAI = new Set(["/chat/completions", "/completions", "/embeddings", "/responses"]);
const ANTHROPIC = new Set(["/messages"]);
const CALL = "([A-Za-z0-9._@-]{1,128})(:generateContent|:streamGenerateContent)";
const GEMINI_MODEL = new RegExp(`^/(?:models|tunedModels)/${CALL}$`);
const VERTEX_MODEL = new RegExp(
  "^/projects/[a-z0-9:.-]{1,64}/locations/(global|[a-z]{2,16}-[a-z]{2,16}[0-9]{1,2})" +
    `/publishers/google/models/${CALL}$`,
);
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** Those known, at other base URLs where `written` (JSON) says so, and the others it names. Raises SyntaxError. */
export function providersOf(written: string | undefined): Map<string, Provider> {
  const baseUrls: Record<string, string> = written ? JSON.parse(written) : {};
  const providers = new Map(KNOWN.map((known) => [known.name, known]));
  for (const [name, url] of Object.entries(baseUrls)) {
    if (!NAME.test(name)) continue;
    const known = providers.get(name);
    const baseUrl = url.replace(/\/+$/, "");
    providers.set(name, known ? { ...known, baseUrl } : { name, baseUrl, dialect: "openai", versions: ["/v1"] });
  }
  return providers;
}

/** Of a request's path as it was written; null for what is not forwarded. No request chooses a host. */
export function targetOf(providers: Map<string, Provider>, path: string): Target | null {
  const end = path.indexOf("/", 1);
  const provider = end > 0 ? providers.get(path.slice(1, end)) : undefined;
  if (!provider) return null;
  const within = path.slice(end);
  const version = provider.versions.find((one) => within.startsWith(one + "/"));
  return version === undefined ? null : targetWithin(provider, version, within.slice(version.length));
}

function targetWithin(provider: Provider, version: string, rest: string): Target | null {
  if (provider.dialect === "gemini") return geminiTarget(provider, version, rest);
  const known = provider.dialect === "anthropic" ? ANTHROPIC : OPENAI;
  return known.has(rest) ? { provider, url: provider.baseUrl + rest, endpoint: rest, model: "" } : null;
}

function geminiTarget(provider: Provider, version: string, rest: string): Target | null {
  const found = GEMINI_MODEL.exec(rest);
  if (found) {
    const base = provider.baseUrl.replace(/\/v1beta$/, "") + version;
    return { provider, url: base + rest, endpoint: found[2]!, model: found[1]! };
  }
  const vertex = version === "/v1beta" ? null : VERTEX_MODEL.exec(rest);
  if (!vertex) return null;
  const host = vertex[1] === "global" ? "aiplatform" : `${vertex[1]}-aiplatform`;
  return {
    provider,
    url: `https://${host}.googleapis.com${version}${rest}`,
    endpoint: vertex[3]!,
    model: vertex[2]!,
  };
}
