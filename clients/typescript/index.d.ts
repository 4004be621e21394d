import type { Operations } from "./operations.js";

export interface AtlasOptions {
  /** Of the API, as `http://127.0.0.1:8081`. */
  baseUrl: string;
  /** Asked for each request; sent as it is. Without a token the API answers 401. */
  getAccessToken: () => string | null | Promise<string | null>;
  fetch?: typeof globalThis.fetch;
  /** For each try. Default 30 seconds. */
  timeoutMs?: number;
  /** How often a request is repeated that got no answer, or one with Retry-After. Default 2. */
  retries?: number;
}

export interface CallOptions {
  signal?: AbortSignal;
  /** Of a write; else each call has one of its own. */
  idempotencyKey?: string;
  /** The version that is to be changed. */
  ifMatch?: number | string;
  /** Values of Atlas-Position that a read is to follow, with commas between. */
  after?: string;
}

export type AtlasClient = Operations<CallOptions>;

export function createAtlasClient(options: AtlasOptions): AtlasClient;

/** A refusal of the API. */
export class AtlasError extends Error {
  constructor(response: Response, problem: Record<string, unknown>);
  readonly status: number;
  /** `title` of the problem; null where the answer was none of the API's. */
  readonly code: string | null;
  readonly fields: string[];
  readonly requestId: string | null;
  readonly problem: Record<string, unknown>;
}
