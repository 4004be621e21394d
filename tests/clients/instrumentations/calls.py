"""Calls of models by others' SDKs under others' instrumentations; tests/contract/edge/test_instrumentations.py runs it.

    python calls.py (sdk|openllmetry|openinference|langfuse) <provider URL> <traces URL> <AtlasBurn key>
    python calls.py edge <edge URL> - <AtlasBurn key>

Four calls: a chat and a message, each whole and as a stream. `edge`: Gemini's and Groq's SDKs through the edge proxy.
"""

import sys

KIND, URL, TRACES, KEY = sys.argv[1:]
BURN = {"AtlasBurn-API-Key": KEY}
ASKED = [{"role": "user", "content": "Say hello, please."}]


def through_the_edge() -> None:
    import groq
    from google import genai

    gemini = genai.Client(api_key="k", http_options={"base_url": f"{URL}/gemini", "headers": BURN})
    gemini.models.generate_content(model="gemini-2.0-flash", contents="Say hello, please.")
    for _ in gemini.models.generate_content_stream(model="gemini-2.0-flash", contents="Say hello, please."):
        pass
    client = groq.Groq(api_key="k", base_url=URL, default_headers=BURN, max_retries=0)
    client.chat.completions.create(model="gpt-4o", messages=ASKED)
    for _ in client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True):
        pass


def instrumented() -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=TRACES, headers=BURN)
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    openai_of = __import__
    if KIND == "langfuse":
        from langfuse import Langfuse

        Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", tracer_provider=provider, span_exporter=exporter)
        openai_of = lambda _name: __import__("langfuse.openai").openai  # noqa: E731
    else:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    if KIND == "openllmetry":
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        AnthropicInstrumentor().instrument()
        OpenAIInstrumentor().instrument()
    if KIND == "openinference":
        from openinference.instrumentation.anthropic import AnthropicInstrumentor
        from openinference.instrumentation.openai import OpenAIInstrumentor

        AnthropicInstrumentor().instrument(tracer_provider=provider)
        OpenAIInstrumentor().instrument(tracer_provider=provider)
    call(openai_of("openai"))
    provider.force_flush()


def call(openai) -> None:  # type: ignore[no-untyped-def]
    import anthropic

    chats = openai.OpenAI(api_key="k", base_url=f"{URL}/v1", max_retries=0).chat.completions
    chats.create(model="gpt-4o", messages=ASKED)
    for _ in chats.create(model="gpt-4o", messages=ASKED, stream=True, stream_options={"include_usage": True}):
        pass
    messages = anthropic.Anthropic(api_key="k", base_url=URL, max_retries=0).messages
    messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASKED)
    for _ in messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASKED, stream=True):
        pass


through_the_edge() if KIND == "edge" else instrumented()
