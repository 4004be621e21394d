// Two calls by Vercel's AI SDK, whole and as a stream, with its telemetry exported by OTLP; run by tests/contract/edge.
//     node vercel.mjs <provider URL> <traces URL> <AtlasBurn key>
import { createOpenAI } from '@ai-sdk/openai'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { generateText, streamText } from 'ai'

const [url, traces, key] = process.argv.slice(2)
const exporter = new OTLPTraceExporter({ url: traces, headers: { 'AtlasBurn-API-Key': key } })
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
provider.register()
const model = createOpenAI({ apiKey: 'k', baseURL: `${url}/v1` }).chat('gpt-4o')
const asked = { model, prompt: 'Say hello, please.', experimental_telemetry: { isEnabled: true } }
await generateText(asked)
for await (const _ of streamText(asked).textStream);
await provider.shutdown()
