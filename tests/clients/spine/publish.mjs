// Publishes an event to the spine and prints the answer. Node 20 or later.
//   ATLAS_URL=http://127.0.0.1:8082 ATLAS_KEY=sk_live_… node publish.mjs
const response = await fetch(`${process.env.ATLAS_URL}/v1/events`, {
  method: 'POST',
  headers: {
    Authorization: `Bearer ${process.env.ATLAS_KEY}`,
    'Content-Type': 'application/json',
    'Idempotency-Key': crypto.randomUUID(),
  },
  body: JSON.stringify({
    type: 'code.analysis.complete',
    source: 'ci.pipeline',
    data: { repository: 'my-app', score: 72 },
    metadata: { correlationId: 'run-1' },
  }),
});
if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
console.log(JSON.stringify(await response.json()));
