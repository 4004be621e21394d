// What the worker itself answers, in the form of the provider's own errors (B-071, B-072, X-51).

import type { Dialect } from "./providers";

const RETRY_SECONDS_MAX = 60; // a flag may be cleared before it ends

const OPENAI_TYPES: Record<number, string> = { 401: "authentication_error", 429: "rate_limit_exceeded" };
const ANTHROPIC_TYPES: Record<number, string> = {
  401: "authentication_error",
  404: "not_found_error",
  429: "rate_limit_error",
};
const GEMINI_STATUSES: Record<number, string> = {
  401: "UNAUTHENTICATED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  502: "UNAVAILABLE",
};

function errorBody(dialect: Dialect, status: number, code: string, message: string): Record<string, unknown> {
  const ours = status >= 500;
  if (dialect === "anthropic") {
    const type = ANTHROPIC_TYPES[status] ?? (ours ? "api_error" : "invalid_request_error");
    return { type: "error", error: { type, message } };
  }
  if (dialect === "gemini") {
    const named = GEMINI_STATUSES[status] ?? (ours ? "INTERNAL" : "INVALID_ARGUMENT");
    return { error: { code: status, message, status: named } };
  }
  const type = OPENAI_TYPES[status] ?? (ours ? "server_error" : "invalid_request_error");
  return { error: { message, type, code, param: null } };
}

function answer(status: number, body: unknown, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
}

/** Any fault of the worker's own but a guardrail's. */
export function failed(dialect: Dialect, status: number, code: string, message: string): Response {
  const body = errorBody(dialect, status, code, message);
  return answer(status, { ...body, _atlasburn: { blocked: false, reason: code } }, { "x-atlasburn-reason": code });
}

/** What a guardrail stopped; `endsMs` null: until somebody resumes. */
export function blocked(dialect: Dialect, layer: string, reason: string, endsMs: number | null, nowMs: number): Response {
  const cause = layer === "financial_limits" ? "Budget Exceeded" : "Blocked by a guardrail";
  const message = `${cause}: ${reason} (layer ${layer}). The call was not sent to the provider.`;
  const seconds = endsMs === null ? RETRY_SECONDS_MAX : Math.ceil((endsMs - nowMs) / 1000);
  const headers = {
    "retry-after": String(Math.max(1, Math.min(RETRY_SECONDS_MAX, seconds))),
    "x-atlasburn-blocked": "1",
    "x-atlasburn-reason": layer,
    "x-should-retry": "false",
  };
  const told = { blocked: true, reason, layer };
  return answer(429, { ...errorBody(dialect, 429, "atlasburn_guardrail", message), _atlasburn: told }, headers);
}
