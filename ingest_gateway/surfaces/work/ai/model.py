"""Asks the language model, an OpenAI-compatible provider (`ATLAS_LLM_BASE_URL`).

Where this gateway serves the burn surface, calls go through its edge proxy with the tenant's own org key, so that what
they cost is in the tenant's ledger and under its guardrails; else they go to the provider.
"""

import asyncio
import logging
from typing import Any, NamedTuple

import aiohttp
import msgspec
from aiohttp import hdrs

from domain.security.api_tokens import mint_token
from domain.security.principals import Principal
from ingest_gateway.http.errors import Refused
from ingest_gateway.services import Services
from ingest_gateway.surfaces.work.errors import AI_BLOCKED, AI_NOT_CONFIGURED, AI_UNAVAILABLE
from operations import clock
from operations.logs import event
from operations.outgoing import open_socket
from operations.settings import LLM_PROVIDER, LanguageModel
from schemas.entities import KeyKind

log = logging.getLogger("atlas.work.ai")
BLOCKED = "x-atlasburn-blocked"
BURN_KEY = "AtlasBurn-API-Key"
ANSWER_BYTES_MAX = 1_048_576
ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


class Said(NamedTuple):
    """`text`: of the first choice."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


class Model:
    """Made on the event loop; `close()` at the end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        seconds = services.settings.llm_timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=open_socket), timeout=aiohttp.ClientTimeout(total=seconds)
        )

    async def close(self) -> None:
        await self._session.close()

    async def say(self, principal: Principal, system: str, user: str, *, as_json: bool, request_id: str) -> Said:
        """Raises Refused: ai_not_configured, ai_blocked, ai_unavailable."""
        model = self._services.settings.llm
        if model is None:
            raise AI_NOT_CONFIGURED.refused()
        body: dict[str, Any] = {
            "model": model.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        }
        if as_json:
            body["response_format"] = {"type": "json_object"}
        url, headers = self._place(model, principal, request_id)
        try:
            async with self._session.post(url, json=body, headers=headers, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise await _failed(answer, request_id)
                return _read(await _content(answer))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            event(log, "ai.failed", logging.WARNING, request_id=request_id, error=type(error).__name__)
            raise AI_UNAVAILABLE.refused() from None

    def _place(self, model: LanguageModel, principal: Principal, request_id: str) -> tuple[str, dict[str, str]]:
        headers: dict[str, str] = {hdrs.AUTHORIZATION: f"Bearer {model.api_key}"} if model.api_key else {}
        settings = self._services.settings
        key = self._org_key(principal) if "burn" in settings.surfaces else None
        if key is None:
            return f"{model.base_url}/chat/completions", headers
        host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
        proxy = f"http://{host}:{settings.burn_port}/{LLM_PROVIDER}/v1/chat/completions"
        labels = {"AtlasBurn-Project": "atlas-work", "AtlasBurn-User": principal.key_id}
        return proxy, {**headers, **labels, BURN_KEY: key, "AtlasBurn-Trace-Id": request_id}

    def _org_key(self, principal: Principal) -> str | None:
        """The oldest that holds; a tenant without one has no guardrails to be under."""
        now_ms = clock.now_ms()
        mine = self._services.control.view.keys_of(principal.workspace, principal.environment)
        for key in mine:
            if key.key_kind is KeyKind.ORG and key.holds(now_ms) and not (key.scopes or key.allowed_ips):
                return mint_token(self._services.settings.master_key, key.key_kind, key.environment, key.id)
        return None


async def _failed(answer: aiohttp.ClientResponse, request_id: str) -> Refused:
    """What the provider said stays in the log: it may name what is not the caller's."""
    event(log, "ai.refused", logging.WARNING, request_id=request_id, status=answer.status)
    if BLOCKED not in answer.headers:
        return AI_UNAVAILABLE.refused()
    retry = answer.headers.get(hdrs.RETRY_AFTER, "60")
    return AI_BLOCKED.refused(headers={hdrs.RETRY_AFTER: retry if retry.isdigit() else "60"})


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return bytes(content)


def _read(content: bytes) -> Said:
    completion = msgspec.json.decode(content, type=_Completion)
    if not completion.choices or not completion.choices[0].message.content:
        raise msgspec.ValidationError("the model said nothing")
    usage = completion.usage or _Usage()
    text = completion.choices[0].message.content
    return Said(text, completion.model, usage.prompt_tokens, usage.completion_tokens)
