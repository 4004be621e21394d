"""Others' SDKs and instrumentations in front of a provider whose usage is known: what is counted is what it told, each
call once. Their newest versions are pinned in tests/clients/instrumentations, and installed for this test alone.
"""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from schemas.telemetry import CallSource, ModelCall, UsageFrom
from tests.support.edge_surface import TOKEN, EdgeSurface
from tests.support.provider_sdks import WITH_SDKS, anthropic, openai
from tests.support.provider_stub import TOKENS_IN, TOKENS_OUT, Behaviour, ProviderRequest, answer_to

PROGRAMS = Path(__file__).parents[2] / "clients" / "instrumentations"
INSTALL_SECONDS, RUN_SECONDS = 600, 120
ASKED = [{"role": "user", "content": "Say hello, please."}]
GPT_4O_NANO = (TOKENS_IN - 4) * 2_500 + 4 * 1_250 + TOKENS_OUT * 10_000
SONNET_NANO = 6 * 3_000 + 4 * 300 + 1 * 3_750 + TOKENS_OUT * 15_000
GEMINI_NANO = TOKENS_IN * 100 + TOKENS_OUT * 400
SONNET_STREAM_NANO = TOKENS_IN * 3_000 + TOKENS_OUT * 15_000


def with_ids_of_their_own(call: ProviderRequest) -> Behaviour:
    """Real providers never give an id twice; the stub's answers have one each here, too."""
    with_ids_of_their_own.answers += 1  # type: ignore[attr-defined]
    number = f"{with_ids_of_their_own.answers:024}"  # type: ignore[attr-defined]
    answer = answer_to(call, usage=True)
    pieces = answer if isinstance(answer, list) else [json.dumps(answer).encode()]
    ids = ((b'"chatcmpl-1"', b'"chatcmpl-%s"'), (b'"msg_1"', b'"msg_%s"'))
    for short, long in ids:
        pieces = [piece.replace(short, long % number.encode()) for piece in pieces]
    return Behaviour(raw=pieces, content_type="text/event-stream" if isinstance(answer, list) else "application/json")


with_ids_of_their_own.answers = 0  # type: ignore[attr-defined]


def told(calls: list[ModelCall]) -> list[tuple[int, int, int]]:
    assert {call.usage for call in calls} == {UsageFrom.REPORTED}
    return sorted((call.tokens_in, call.tokens_out, call.cost_nano) for call in calls)


def expected(*costs: int) -> list[tuple[int, int, int]]:
    return sorted((TOKENS_IN, TOKENS_OUT, cost) for cost in costs)


@WITH_SDKS
@pytest.mark.requirement("B-042", "B-058")
async def test_the_sdks_through_the_edge(edge: EdgeSurface) -> None:
    headers = {"AtlasBurn-API-Key": TOKEN}
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{edge.url}/openai/v1", default_headers=headers) as one:
        await one.chat.completions.create(model="gpt-4o", messages=ASKED)  # type: ignore[call-overload]
        async for _ in await one.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True):  # type: ignore[call-overload]
            pass
    async with anthropic.AsyncAnthropic(api_key="k", base_url=f"{edge.url}/anthropic", default_headers=headers) as two:
        asked = {"model": "claude-sonnet-4-6", "max_tokens": 99, "messages": ASKED}
        await two.messages.create(**asked)
        async for _ in await two.messages.create(**asked, stream=True):
            pass
    assert told(await edge.wait_for_calls(4)) == expected(GPT_4O_NANO, GPT_4O_NANO, SONNET_NANO, SONNET_STREAM_NANO)


async def run(*command: str, seconds: float, cwd: Path = PROGRAMS) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


async def installed(directory: Path) -> str:
    """The Python that has them; skips where they can't be installed."""
    python = directory / "bin" / "python"
    await run(sys.executable, "-m", "venv", str(directory), seconds=INSTALL_SECONDS)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--requirement", "requirements.txt")
    code, output = await run(*pip, seconds=INSTALL_SECONDS)
    if code != 0:
        pytest.skip(f"the instrumentations can't be installed here: {output[-300:]}")
    return str(python)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.requirement("B-042", "B-058")
async def test_pythons_instrumentations_and_sdks(edge: EdgeSurface, tmp_path: Path) -> None:
    python = await installed(tmp_path / "venv")
    edge.stub.behave_by = with_ids_of_their_own
    chats, messages, contents = (GPT_4O_NANO,) * 2, (SONNET_NANO, SONNET_STREAM_NANO), (GEMINI_NANO,) * 2
    for kind, costs in {
        "sdk": messages,  # the only SDK that makes spans itself
        "openllmetry": (*chats, *messages, *contents),
        "openinference": (*chats, *messages, *contents),
        "langfuse": (*chats, *messages),
    }.items():
        edge.log.records.clear()
        arguments = (edge.stub.url, f"{edge.url}/v1/traces", TOKEN)
        code, output = await run(python, "calls.py", kind, *arguments, seconds=RUN_SECONDS)
        assert code == 0, output
        assert told(exported(edge)) == expected(*costs), kind
    edge.log.records.clear()
    code, output = await run(python, "calls.py", "edge", edge.url, "-", TOKEN, seconds=RUN_SECONDS)
    assert code == 0, output
    assert told(await edge.wait_for_calls(10)) == expected(*chats, *chats, *chats, *messages, *contents)


def exported(edge: EdgeSurface) -> list[ModelCall]:
    """As the guardrails count: the first of an id."""
    calls = {call.event_id: call for call in reversed(edge.calls())}
    assert {call.source for call in calls.values()} == {CallSource.OTLP}
    return list(calls.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.requirement("B-058")
async def test_vercels_ai_sdk(edge: EdgeSurface, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    for name in ("package.json", "package-lock.json", "vercel.mjs"):
        shutil.copy(PROGRAMS / name, tmp_path / name)
    code, output = await run("npm", "ci", "--no-audit", "--no-fund", seconds=INSTALL_SECONDS, cwd=tmp_path)
    if code != 0:
        pytest.skip(f"Vercel's AI SDK can't be installed here: {output[-300:]}")
    edge.stub.behave_by = with_ids_of_their_own
    for kind in ("6", "7", "7-legacy"):
        edge.log.records.clear()
        arguments = (edge.stub.url, f"{edge.url}/v1/traces", TOKEN)
        code, output = await run("node", "vercel.mjs", kind, *arguments, seconds=RUN_SECONDS, cwd=tmp_path)
        assert code == 0, output
        assert told(exported(edge)) == expected(GPT_4O_NANO, GPT_4O_NANO), kind
