// Whether a webhook of the spine is genuine: `X-Signature` over the raw body, compared in constant time. Node 20 or later.
// The raw body comes on standard input; the header and the secret in the environment.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';

export function isGenuine(body, header, secret) {
  const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  const given = Buffer.from(header);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

console.log(isGenuine(readFileSync(0), process.env.SIGNATURE, process.env.SECRET));
