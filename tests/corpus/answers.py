"""What every operation of the four APIs answers, recorded in process and asked again by a test.

The gateway runs on its real HTTP servers with the log in memory (tests/support/whole_gateway.py). The wall clock stands
still for each request, so times are the same in each run. What is random (ids, secrets, cursors) differs between two
recordings: where it does, the corpus has ‹n›, which stands for any one word, and for the same one wherever it is
named again. All else is compared as it is, byte by byte, but for the words of messages to people.
"""

import asyncio
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from tests.corpus import adapter, files
from tests.support.access import AUDIENCE, ISSUER, SESSION_SECRET
from tests.support.openai_server import OpenAiServer, openai_server
from tests.support.whole_gateway import WholeGateway, whole_gateway

WORKSPACES = "ws_C0RPVS0NE1", "ws_C0RPVS0TH2"
START_MS = 1_716_042_200_000
"""A minute after the first record of the log in memory (tests/support/events_surface.py)."""
STEP_MS = 1_000
SESSIONS_END = 4_102_444_800  # 2100: they are checked by a clock that nothing can stop
NOT_COMPARED = frozenset({"date", "server", "content-length"})
MEASURED = re.compile(r"x-ratelimit-(?!limit)|ratelimit$|retry-after")
"""Headers that follow the steady clock, which goes on: that they are there is compared, not what they say."""
_WORD = re.compile(r"whsec_[A-Za-z0-9+/=]+|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_FOR_PEOPLE = re.compile(r'"(message|detail|hint|description)":"(?:[^"\\]|\\.)*"')
_STEADY = re.compile(r'"(retry_after\w*|retryAfter\w*)":\d+')
_ALWAYS_OTHERS = re.compile(r"cur_[\w-]+|cmd\.[\w-]+")
"""Written by the installation for itself: their form may change, what they are good for may not."""
_MARK = re.compile(r"‹(\d+)›")


@dataclass
class Asked:
    """`who`: `one`, `other`, `session` (a person of the first), `nobody`, or `key:` and a token. `before`: what happens
    elsewhere first: `model says` (a text), `model fails`, `delivered` (a webhook and a delivery of the first tenant),
    `limited` (the other tenant gets one request a minute of this class).
    """

    surface: str
    method: str
    path: str
    body: str | None = None
    who: str = "one"
    headers: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """`operation`: its name in the OpenAPI document. `head` and `body`: the answer's."""

    operation: str
    asked: Asked
    status: int
    head: dict[str, str]
    body: str

    def texts(self) -> list[str]:
        """Everything in which something random can be: the request's first, since answers name what was asked."""
        asked = self.asked
        asked_with = [asked.path, asked.body or "", asked.who, _json(asked.headers), _json(asked.before)]
        return [*asked_with, _json(self.head), self.body]


@contextmanager
def standing_clock() -> Iterator[list[int]]:
    """`time.time` and `time.time_ns` say what stands in the list, in milliseconds."""
    now_ms = [START_MS]
    kept = time.time, time.time_ns
    time.time, time.time_ns = lambda: now_ms[0] / 1_000, lambda: now_ms[0] * 1_000_000
    try:
        yield now_ms
    finally:
        time.time, time.time_ns = kept


class Client:
    """Asks a gateway, a second of its clock later each time."""

    def __init__(self, gateway: WholeGateway, llm: OpenAiServer, now_ms: list[int]) -> None:
        self.gateway, self.llm, self.now_ms = gateway, llm, now_ms
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": WORKSPACES[0], "exp": SESSIONS_END}
        self._session = jwt.encode(claims, SESSION_SECRET, algorithm="HS256")
        self._paths = [
            (name, operation.method, re.compile(re.sub(r"{\w+}", "[^/]+", operation.path)), operation.name)
            for name, contract in gateway.contracts.items()
            for operation in contract.operations
        ]

    async def ask(self, asked: Asked) -> Exchange:
        self.now_ms[0] += STEP_MS
        self._happen(asked.before)
        headers = dict(self._credential(asked))
        if asked.body is not None:
            headers["Content-Type"] = "application/json"
        headers |= asked.headers
        url = self.gateway.urls[asked.surface] + asked.path
        data = None if asked.body is None else asked.body.encode()
        async with self.gateway.client.request(asked.method, url, data=data, headers=headers) as answer:
            body = (await answer.read()).decode()
        lower = sorted((name.lower(), value) for name, value in answer.headers.items())
        head = {name: "" if MEASURED.match(name) else value for name, value in lower if name not in NOT_COMPARED}
        return Exchange(self._operation(asked), asked, answer.status, head, body)

    def _happen(self, before: dict[str, str]) -> None:
        self.llm.status = 500 if "model fails" in before else 200
        self.llm.says = [before.get("model says", "Done.")]
        if "delivered" in before:
            outcome = adapter.outcome_of_a_webhook(self.gateway.one.workspace, *before["delivered"].split())
            self.gateway.log.project(*outcome)
        if "limited" in before:
            key, entity = adapter.one_a_minute(self.gateway.other.workspace, before["limited"])
            self.gateway.control.view.apply(key, entity)

    def _credential(self, asked: Asked) -> Iterator[tuple[str, str]]:
        tenants = {"one": self.gateway.one, "other": self.gateway.other}
        if asked.who == "nobody":
            return
        if asked.who == "session":
            token = self._session
        elif asked.who in tenants:
            token = tenants[asked.who].tokens[asked.surface]
        else:
            token = asked.who.removeprefix("key:")
        name, _, value = self.gateway.contracts[asked.surface].ways[0].presented(token).partition(": ")
        yield name, value

    def _operation(self, asked: Asked) -> str:
        path = asked.path.partition("?")[0]
        found = [
            (pattern.pattern, name)
            for surface, method, pattern, name in self._paths
            if (surface, method) == (asked.surface, asked.method) and pattern.fullmatch(path)
        ]
        exact = [name for pattern, name in found if pattern == path]
        return (exact or [name for _, name in found] or [""])[0]


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory(prefix="atlas-answers-") as home, standing_clock() as now_ms:
        async with openai_server() as llm:
            env = {"ATLAS_LLM_BASE_URL": llm.url, "ATLAS_LLM_API_KEY": "key-of-the-provider"}
            env["ATLAS_SURFACES"] = "events,work,spine"  # else the model is asked through a proxy that has no port here
            async with whole_gateway(Path(home), WORKSPACES, **env) as gateway:
                yield Client(gateway, llm, now_ms)


# Recording


def record() -> None:
    from tests.corpus.requests import everything

    async def once() -> list[Exchange]:
        async with client() as asking:
            return await everything(asking)

    first, second = asyncio.run(once()), asyncio.run(once())
    files.write_lines(files.ANSWERS, [_row(one) for one in _marked(first, second)])


def _marked(first: list[Exchange], second: list[Exchange]) -> list[Exchange]:
    """The first with a mark for each word that is another in the second."""
    marks: dict[str, str] = {}
    twins: dict[str, str] = {}
    for one, two in zip(first, second, strict=True):
        assert (one.status, one.operation) == (two.status, two.operation), (one, two)
        for text, other in zip(one.texts(), two.texts(), strict=True):
            words, others = _WORD.findall(text), _WORD.findall(other)
            assert _WORD.sub("", text) == _WORD.sub("", other), f"not random, but other: {text}\n{other}"
            for word, twin in zip(words, others, strict=True):
                if word != twin or _ALWAYS_OTHERS.fullmatch(word):
                    assert twins.setdefault(word, twin) == twin, f"one word, two twins: {word}"
                    marks.setdefault(word, f"‹{len(marks)}›")

    def marked(text: str) -> str:
        return _WORD.sub(lambda found: marks.get(found[0], found[0]), text)

    return [
        Exchange(
            one.operation,
            Asked(
                one.asked.surface,
                one.asked.method,
                marked(one.asked.path),
                None if one.asked.body is None else marked(one.asked.body),
                marked(one.asked.who),
                json.loads(marked(_json(one.asked.headers))),
                json.loads(marked(_json(one.asked.before))),
            ),
            one.status,
            json.loads(marked(_json(one.head))),
            marked(one.body),
        )
        for one in first
    ]


def _row(one: Exchange) -> dict[str, Any]:
    return {**vars(one), "asked": vars(one.asked)}


# Asking again


def recorded() -> list[Exchange]:
    return [Exchange(**{**row, "asked": Asked(**row["asked"])}) for row in files.read_lines(files.ANSWERS)]


class Bound:
    """Which words the marks stand for in this run."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def filled(self, asked: Asked) -> Asked:
        """With this run's words, which earlier answers have said."""
        headers = {name: self._fill(value) for name, value in asked.headers.items()}
        body = None if asked.body is None else self._fill(asked.body)
        before = {name: self._fill(value) for name, value in asked.before.items()}
        return Asked(asked.surface, asked.method, self._fill(asked.path), body, self._fill(asked.who), headers, before)

    def differences(self, wanted: Exchange, found: Exchange) -> list[str]:
        """Binds the marks of an answer to what stands in their place."""
        texts = [("status", str(wanted.status), str(found.status))]
        texts += [("headers", _json(wanted.head), _json(found.head)), ("body", wanted.body, found.body)]
        return [
            f"{part}: {expected[:600]}\n   instead: {got[:600]}"
            for part, expected, got in texts
            if not self._binds(*(_for_machines(text) if wanted.status >= 400 else text for text in (expected, got)))
        ]

    def _fill(self, text: str) -> str:
        return _MARK.sub(lambda mark: self.words.get(mark[1], mark[0]), text)

    def _binds(self, wanted: str, found: str) -> bool:
        pattern, seen = "", set()
        for position, part in enumerate(_MARK.split(wanted)):
            if position % 2 == 0:
                pattern += re.escape(part)
            elif part in self.words:
                pattern += re.escape(self.words[part])
            elif part in seen:
                pattern += f"(?P=w{part})"
            else:
                seen.add(part)
                pattern += f"(?P<w{part}>{_WORD.pattern})"
        match = re.fullmatch(pattern, found)
        if match is not None:
            self.words |= {name.removeprefix("w"): word for name, word in match.groupdict().items()}
        return match is not None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _for_machines(text: str) -> str:
    """Without the words of messages, which may be written better, and what follows the steady clock."""
    return _STEADY.sub(r'"\1":0', _FOR_PEOPLE.sub(r'"\1":""', text))


def main() -> None:
    """Prints the file as text, for people who look for what has changed."""
    for row in files.read_lines(files.ANSWERS):
        print(json.dumps(row, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
