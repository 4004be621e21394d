// Reads an answer's usage while it passes: SSE frames as they come, or a JSON body. Nothing is changed; what can't be
// read is skipped (B-060). The conventions are the gateway's (usage_conventions.py), of the Worker's own providers.
// Where no usage came, tokens are estimated: a fourth of the characters (B-073).

const FRAME_CHARACTERS_MAX = 1024 * 1024;
const NO_TEXT = new Set([
  "role", "type", "id", "tool_call_id", "tool_use_id", "call_id", "url", "data", "file_data", "file_id", "media_type",
  "mime_type", "mimeType", "detail", "fileUri", "finish_reason", "finishReason", "stop_reason", "signature",
  "thoughtSignature", "status", "object",
]);
const PROMPTS = [
  "messages", "prompt", "input", "contents", "tools", "functions",
  "system", "instructions", "systemInstruction", "system_instruction", "content", "requests",
];

type Json = Record<string, any>;

export interface Usage {
  tokens_in: number;
  tokens_out: number;
  cached_tokens: number;
  cache_write_tokens: number;
  cache_write_1h_tokens: number;
  cost_usd?: number;
  estimated: boolean;
}

export function characters(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + characters(item), 0);
  if (typeof value !== "object" || value === null) return 0;
  return Object.entries(value).reduce((sum, [name, item]) => sum + (NO_TEXT.has(name) ? 0 : characters(item)), 0);
}

export function promptCharacters(asked: Json): number {
  return PROMPTS.reduce((sum, name) => sum + characters(asked[name]), 0);
}

const estimate = (length: number): number => Math.ceil(length / 4);

/** A number of tokens, also as text or with a fraction; null for what is none. Each member is read for itself. */
function count(value: unknown): number | null {
  const number = typeof value === "string" && /^\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) && number >= 0 ? Math.ceil(number) : null;
}

const first = (...values: unknown[]): number | null => values.map(count).find((value) => value !== null) ?? null;

/** What was said so far of one call. */
class Tally {
  private in: number | null = null;
  private out: number | null = null;
  private cached = 0;
  private written = 0;
  private writtenLong = 0;
  private final = false;
  private cost: number | undefined;
  characters = 0;

  usage(promptLength: number): Usage {
    const isTold = this.final && this.out !== null && (this.out > 0 || this.characters === 0);
    const estimated = this.in === null || !isTold;
    const out = isTold ? this.out! : Math.max(this.out ?? 0, estimate(this.characters));
    const told: Usage = {
      tokens_in: this.in ?? estimate(promptLength),
      tokens_out: out,
      cached_tokens: this.cached,
      cache_write_tokens: this.written,
      cache_write_1h_tokens: this.writtenLong,
      estimated,
    };
    if (this.cost !== undefined) told.cost_usd = this.cost;
    return told;
  }

  take(frame: Json): void {
    if (frame.usage) this.counts(frame.usage, true);
    if (frame.message?.usage) this.counts(frame.message.usage, false);
    if (frame.response?.usage) this.counts(frame.response.usage, true);
    if (frame.usageMetadata) this.gemini(frame.usageMetadata);
    if (frame.x_groq?.usage) this.counts(frame.x_groq.usage, true);
    if (Array.isArray(frame.choices)) {
      for (const choice of frame.choices) if (choice?.usage) this.counts(choice.usage, true);
    }
    for (const part of [frame.choices, frame.delta, frame.candidates, frame.content, frame.output]) {
      this.characters += characters(part);
    }
  }

  /** OpenAI's names hold the cache within the prompt, Anthropic's beside it. Counts grow, so the larger is the later. */
  private counts(told: Json, final: boolean): void {
    const prompt = first(told.prompt_tokens, told.input_tokens);
    const total = count(told.total_tokens);
    const details = told.prompt_tokens_details ?? told.input_tokens_details;
    const read = first(details?.cached_tokens, told.prompt_cache_hit_tokens, told.cached_tokens, told.cache_read_input_tokens) ?? 0;
    const long = first(told.cache_creation?.ephemeral_1h_input_tokens, details?.cache_write_tokens_details?.ttl_12h_tokens) ?? 0;
    const wrote = first(
      details?.cache_write_tokens, details?.cache_creation_tokens, told.cache_creation_input_tokens,
      told.cache_creation?.ephemeral_5m_input_tokens,
    );
    const cache = read + Math.max(wrote ?? 0, long);
    let out = first(told.completion_tokens, told.output_tokens);
    const reasoning = first(told.completion_tokens_details?.reasoning_tokens, told.output_tokens_details?.reasoning_tokens) ?? 0;
    if (reasoning > (out ?? 0)) out = (out ?? 0) + reasoning;
    if (prompt !== null) {
      const isAnthropics = count(told.prompt_tokens) === null && !told.input_tokens_details;
      const isBeside = isAnthropics || cache > prompt || total === prompt + (out ?? 0) + cache;
      const input = prompt + (isBeside ? cache : 0);
      this.in = Math.max(this.in ?? 0, input);
      if (total !== null) out = Math.max(out ?? 0, total - input);
    } else if (total !== null && out !== null && total >= out) {
      this.in = Math.max(this.in ?? 0, total - out);
    }
    this.cached = Math.max(this.cached, read);
    this.written = Math.max(this.written, wrote ?? 0, long);
    this.writtenLong = Math.max(this.writtenLong, long);
    if (out !== null) this.out = Math.max(this.out ?? 0, out);
    this.final ||= final && out !== null;
    if (typeof told.cost === "number" && told.cost >= 0) this.cost = told.cost;
  }

  private gemini(told: Json): void {
    const prompt = count(told.promptTokenCount);
    if (prompt !== null) this.in = Math.max(this.in ?? 0, prompt + (count(told.toolUsePromptTokenCount) ?? 0));
    this.cached = Math.max(this.cached, count(told.cachedContentTokenCount) ?? 0);
    const written = count(told.candidatesTokenCount), thought = count(told.thoughtsTokenCount);
    if (written === null && thought === null) return;
    this.out = Math.max(this.out ?? 0, (written ?? 0) + (thought ?? 0));
    this.final = true;
  }
}

/** `feed` it each piece in order; `usage` at the end, wherever that was. */
export class AnswerReader {
  private readonly tally = new Tally();
  private readonly decoder = new TextDecoder();
  private held = "";
  private skipping = false;

  constructor(private readonly streams: boolean) {}

  feed(piece: Uint8Array): void {
    const text = this.decoder.decode(piece, { stream: true });
    if (this.streams) this.lines(text);
    else if (this.held.length < FRAME_CHARACTERS_MAX) this.held += text;
  }

  usage(promptLength: number): Usage {
    const rest = this.held;
    this.held = "";
    if (this.streams) this.line(rest);
    else this.whole(rest);
    return this.tally.usage(promptLength);
  }

  private lines(text: string): void {
    const lines = text.split("\n");
    const last = lines.pop()!;
    for (const line of lines) {
      if (!this.skipping) this.line(this.held + line);
      this.skipping = false;
      this.held = "";
    }
    if (this.skipping) return;
    this.held += last;
    if (this.held.length > FRAME_CHARACTERS_MAX) {
      this.skipping = true;
      this.held = "";
    }
  }

  private line(line: string): void {
    const data = line.startsWith("data:") ? line.slice(5).trim() : "";
    if (data.startsWith("{")) this.document(data);
  }

  private whole(text: string): void {
    this.document(text);
  }

  private document(text: string): void {
    try {
      const value: unknown = JSON.parse(text);
      for (const frame of Array.isArray(value) ? value : [value]) {
        if (typeof frame === "object" && frame !== null) this.tally.take(frame as Json);
      }
    } catch {
      this.tally.characters += this.streams ? 0 : text.length;
    }
  }
}
