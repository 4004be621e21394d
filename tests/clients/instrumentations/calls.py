"""Calls of models by others' SDKs under others' instrumentations; tests/contract/edge/test_instrumentations.py runs it.

    python calls.py (sdk|openllmetry|openinference|langfuse) <provider URL> <traces URL> <AtlasBurn key>
    python calls.py edge <edge URL> - <AtlasBurn key>

Each of a chat, a message and a Gemini content is called whole and as a stream (`sdk`: messages alone, which are the
only ones whose SDK makes spans itself; `langfuse`: without Gemini). `edge`: all SDKs through the edge proxy, OpenAI's
responses and Groq's chats too.
"""

import sys
from typing import Any

KIND, URL, TRACES, KEY = sys.argv[1:]
BURN = {"AtlasBurn-API-Key": KEY}
TEXT = "Say hello, please."
ASKED = [{"role": "user", "content": TEXT}]


def through_the_edge() -> None:
    import groq
    import openai

    call_openai(openai.OpenAI(api_key="k", base_url=f"{URL}/openai/v1", default_headers=BURN, max_retries=0), {})
    call_openais_responses(openai.OpenAI(api_key="k", base_url=f"{URL}/openai/v1", default_headers=BURN))
    call_openai(groq.Groq(api_key="k", base_url=f"{URL}/groq", default_headers=BURN, max_retries=0), {})
    call_anthropic(base_url=f"{URL}/anthropic", default_headers=BURN)
    call_gemini(f"{URL}/gemini", headers=BURN)


def instrumented() -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=TRACES, headers=BURN)
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    if KIND == "langfuse":
        from langfuse import Langfuse

        Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", tracer_provider=provider, span_exporter=exporter)
        from langfuse.openai import openai
    else:
        provider.add_span_processor(BatchSpanProcessor(exporter))
        instrument(provider)
        import openai
    if KIND != "sdk":
        asked_for_usage = {"stream_options": {"include_usage": True}}
        call_openai(openai.OpenAI(api_key="k", base_url=f"{URL}/v1", max_retries=0), asked_for_usage)
    call_anthropic(base_url=URL)
    if KIND.startswith("open"):
        call_gemini(URL)
    provider.force_flush()


def instrument(provider: Any) -> None:
    if KIND == "openllmetry":
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
        from opentelemetry.instrumentation.google_generativeai import GoogleGenerativeAiInstrumentor
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor

        for instrumentor in (AnthropicInstrumentor, GoogleGenerativeAiInstrumentor, OpenAIInstrumentor):
            instrumentor().instrument()
    if KIND == "openinference":
        from openinference.instrumentation.anthropic import AnthropicInstrumentor
        from openinference.instrumentation.google_genai import GoogleGenAIInstrumentor
        from openinference.instrumentation.openai import OpenAIInstrumentor

        for instrumentor in (AnthropicInstrumentor, GoogleGenAIInstrumentor, OpenAIInstrumentor):
            instrumentor().instrument(tracer_provider=provider)


def call_openai(client: Any, more: dict[str, Any]) -> None:
    """Groq's SDK is like OpenAI's. Without more the usual loop, which expects a choice in each chunk."""
    chats = client.chat.completions
    chats.create(model="gpt-4o", messages=ASKED)
    for chunk in chats.create(model="gpt-4o", messages=ASKED, stream=True, **more):
        assert more or chunk.choices[0]


def call_openais_responses(client: Any) -> None:
    client.responses.create(model="gpt-4o", input=TEXT)
    for _ in client.responses.create(model="gpt-4o", input=TEXT, stream=True):
        pass


def call_anthropic(**options: Any) -> None:
    import anthropic

    messages = anthropic.Anthropic(api_key="k", max_retries=0, **options).messages
    messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASKED)
    for _ in messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=ASKED, stream=True):
        pass


def call_gemini(base_url: str, **options: Any) -> None:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": base_url, **options})  # it closes when it is let go
    models = client.models
    models.generate_content(model="gemini-2.0-flash", contents=TEXT)
    for _ in models.generate_content_stream(model="gemini-2.0-flash", contents=TEXT):
        pass


through_the_edge() if KIND == "edge" else instrumented()
