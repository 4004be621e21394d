#!/bin/sh
# opentelemetry-instrumentation-google-generativeai 0.62.4 (OpenLLMetry) with google-genai 3.6.1: a call of a Gemini model
# that thinks tells `gen_ai.usage.output_tokens` without the thoughts, though they are billed as output, and has no
# attribute for them. Of an answer with 11 prompt, 10 candidate, 200 thought and 221 total tokens the span says 11 in,
# 10 out, 221 in all: who prices input and output misses 95 % of the output. OpenInference's instrumentation
# (openinference-instrumentation-google-genai 1.4.14) says 210 of the same answer.
# The answer comes from a server on this machine. Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "opentelemetry-instrumentation-google-generativeai==0.62.4" "google-genai==3.6.1" \
    "openinference-instrumentation-google-genai==1.4.14" "opentelemetry-sdk==1.45.2"
"$work/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from google import genai
from openinference.instrumentation.google_genai import GoogleGenAIInstrumentor
from opentelemetry.instrumentation.google_generativeai import GoogleGenerativeAiInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 10, "thoughtsTokenCount": 200, "totalTokenCount": 221}
ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "Hello."}], "role": "model"}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": USAGE,
    "modelVersion": "gemini-2.5-flash",
}


class Gemini(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def counts_under(instrumentor):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    client = genai.Client(api_key="any", http_options={"base_url": f"http://127.0.0.1:{server.server_port}"})
    client.models.generate_content(model="gemini-2.5-flash", contents="Say hello, please.")
    instrumentor.uninstrument()
    told = [dict(span.attributes) for span in exporter.get_finished_spans()]
    return {name: value for span in told for name, value in span.items() if "token" in name and isinstance(value, int)}


server = HTTPServer(("127.0.0.1", 0), Gemini)
threading.Thread(target=server.serve_forever, daemon=True).start()
openllmetry, openinference = counts_under(GoogleGenerativeAiInstrumentor()), counts_under(GoogleGenAIInstrumentor())
print("OpenLLMetry", openllmetry)
print("OpenInference", openinference)
is_so = openllmetry.get("gen_ai.usage.output_tokens") == 10 and 200 not in openllmetry.values()
raise SystemExit(0 if is_so and openinference.get("llm.token_count.completion") == 210 else 1)
PYTHON
