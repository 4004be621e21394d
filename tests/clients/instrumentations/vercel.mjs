// Two calls by Vercel's AI SDK, whole and as a stream, with its telemetry exported by OTLP; run by tests/contract/edge.
//     node vercel.mjs (6|7|7-legacy) <provider URL> <traces URL> <AtlasBurn key>
// Version 7 makes spans by an integration of its own package; `LegacyOpenTelemetry` makes those of version 6.
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'

const [kind, url, traces, key] = process.argv.slice(2)
const exporter = new OTLPTraceExporter({ url: traces, headers: { 'AtlasBurn-API-Key': key } })
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
provider.register()
const { generateText, streamText, registerTelemetry } = await import(kind === '6' ? 'ai-6' : 'ai')
const { createOpenAI } = await import(kind === '6' ? '@ai-sdk/openai-3' : '@ai-sdk/openai')
const model = createOpenAI({ apiKey: 'k', baseURL: `${url}/v1` }).chat('gpt-4o')
const asked = { model, prompt: 'Say hello, please.' }
if (kind === '6') {
  asked.experimental_telemetry = { isEnabled: true }
} else {
  const { LegacyOpenTelemetry, OpenTelemetry } = await import('@ai-sdk/otel')
  registerTelemetry(kind === '7' ? new OpenTelemetry() : new LegacyOpenTelemetry())
}
await generateText(asked)
for await (const _ of streamText(asked).textStream);
await provider.shutdown()
