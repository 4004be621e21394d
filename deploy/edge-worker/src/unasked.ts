// Usage that the Worker asked for in its caller's stead: the chunk that tells it is taken out of the stream again, since
// the usual loops over OpenAI's SDK expect choices in each chunk. All other bytes pass as they came (docs/edge-proxy.md).

const HELD_BYTES_MAX = 64 * 1024; // a longer frame is no chunk of usage
const NO_CHOICES = /"choices"\s*:\s*\[\s*\]/;
const LF = 10, CR = 13;
const text = new TextDecoder();

/** `feed` it each piece and pass on what it gives; `rest` at the stream's end. */
export class UsageChunkFilter {
  private held = new Uint8Array(0);
  private passing = false;

  feed(piece: Uint8Array): Uint8Array {
    const waiting = joined(this.held, piece);
    const passed: Uint8Array[] = [];
    let start = 0;
    for (let end = frameEnd(waiting, start); end > 0; end = frameEnd(waiting, start)) {
      const frame = waiting.subarray(start, end);
      if (this.passing || !tellsUsageAlone(frame)) passed.push(frame);
      this.passing = false;
      start = end;
    }
    let left = waiting.subarray(start);
    if (this.passing || left.length > HELD_BYTES_MAX) {
      this.passing = true;
      let end = left.length; // the frame's end may be cut in two
      while (end > 0 && (left[end - 1] === LF || left[end - 1] === CR)) end--;
      passed.push(left.subarray(0, end));
      left = left.subarray(end);
    }
    this.held = left.slice();
    return joined(...passed);
  }

  rest(): Uint8Array {
    return tellsUsageAlone(this.held) ? new Uint8Array(0) : this.held;
  }
}

/** Whether a provider's error is about the member that the Worker added. */
export function refusesToTell(status: number, body: string): boolean {
  return [400, 404, 422].includes(status) && /stream_options|include_usage/.test(body);
}

function tellsUsageAlone(frame: Uint8Array): boolean {
  const written = text.decode(frame);
  if (!NO_CHOICES.test(written)) return false;
  const data = written.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
  try {
    const chunk = JSON.parse(data);
    return chunk.choices.length === 0 && typeof chunk.usage === "object" && chunk.usage !== null;
  } catch {
    return false;
  }
}

/** Behind the blank line that ends the frame; 0 where it is not complete. */
function frameEnd(bytes: Uint8Array, start: number): number {
  for (let at = bytes.indexOf(LF, start); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return 0;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
