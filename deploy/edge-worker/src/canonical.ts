// Canonical JSON and fingerprints as domain/json/canonical.py and domain/guardrails/fingerprints.py have them, so that a question
// has one fingerprint whichever proxy it came through. Numbers count as written, but for integers, which count by value.

import { hex } from "./flags";

const PARTS = [
  ["model"],
  ["messages", "input", "prompt", "contents"],
  ["tools", "functions"],
  ["system", "instructions", "systemInstruction", "system_instruction"],
];
const DEPTH_MAX = 500;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  /** The members of the top object, each canonical. */
  members(): Map<string, string> {
    const found = this.object(1);
    this.space();
    if (this.at !== this.text.length) throw new SyntaxError("more than one document");
    return found;
  }

  private value(depth: number): string {
    if (depth > DEPTH_MAX) throw new SyntaxError("nested too deeply");
    this.space();
    switch (this.text[this.at]) {
      case "{": {
        const sorted = [...this.object(depth)].sort(([a], [b]) => byCodePoint(a, b));
        return `{${sorted.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
      }
      case "[":
        return this.array(depth);
      case '"':
        return JSON.stringify(this.string());
      default:
        return this.scalar();
    }
  }

  private object(depth: number): Map<string, string> {
    const members = new Map<string, string>();
    this.expect("{");
    if (this.taken("}")) return members;
    do {
      this.space();
      const name = this.string();
      this.expect(":");
      members.set(name, this.value(depth + 1)); // a name given twice has its last value
    } while (this.taken(","));
    this.expect("}");
    return members;
  }

  private array(depth: number): string {
    const items: string[] = [];
    this.expect("[");
    if (this.taken("]")) return "[]";
    do items.push(this.value(depth + 1));
    while (this.taken(","));
    this.expect("]");
    return `[${items.join(",")}]`;
  }

  private string(): string {
    return JSON.parse(this.match(STRING)![0]) as string;
  }

  private scalar(): string {
    const word = this.match(WORD, true);
    if (word) return word[0];
    const [written, fraction, exponent] = this.match(NUMBER)!;
    return fraction || exponent ? written! : BigInt(written!).toString();
  }

  private match(pattern: RegExp, optional = false): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    else if (!optional) throw new SyntaxError(`unreadable at ${this.at}`);
    return found;
  }

  private space(): void {
    this.match(SPACE);
  }

  private taken(mark: string): boolean {
    this.space();
    if (this.text[this.at] !== mark) return false;
    this.at += 1;
    return true;
  }

  private expect(mark: string): void {
    if (!this.taken(mark)) throw new SyntaxError(`no ${mark} at ${this.at}`);
  }
}

function byCodePoint(a: string, b: string): number {
  const left = [...a], right = [...b];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference) return difference;
  }
  return left.length - right.length;
}

/** Of a request's body. Raises SyntaxError for what is no JSON object. */
export async function fingerprint(body: string, model: string): Promise<string> {
  const members = new Reader(body).members();
  const encoder = new TextEncoder();
  const pieces: Uint8Array[] = [];
  for (const names of PARTS) {
    const texts = names.flatMap((name) => members.get(name) ?? []);
    if (names[0] === "model" && texts.length === 0 && model) texts.push(JSON.stringify(model));
    const part = encoder.encode(texts.length ? texts.join("\0") : "null");
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(part.length));
    pieces.push(length, part);
  }
  return digest(pieces);
}

/** Of bytes that are not read. */
export async function digest(pieces: Uint8Array[]): Promise<string> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return `sha256:${hex(await crypto.subtle.digest("SHA-256", whole))}`;
}
