"""What a body may not say, on every operation of every surface: whose it is, in which environment, what one may do."""

from pathlib import Path

import pytest

from ingest_gateway.surfaces.served import ALL
from ingest_gateway.surfaces.surface import Surface
from schemas.entities import KeyKind
from tests.contract.access.test_tenants_apart import NOBODYS, body_of, everything, live_a_day, still
from tests.contract.http.wire import Wire, request
from tests.support.access import SESSION, a_key, strange
from tests.support.whole_gateway import whole_gateway

MORE = {
    **dict.fromkeys(("workspace", "workspace_id", "workspaceId", "tenantId", "orgId"), "ws_OTHER0001X"),
    **{"environment": "test", "status": "disabled", "scopes": ["admin"], "actor": "key_other", "version": 7},
    **{"createdAt": "2020-01-01T00:00:00Z", "created_at": "2020-01-01T00:00:00Z", "secret_version": 7},
}
TELEMETRY = {"ingest", "gate", "export_traces"}
"""What clients tell of their calls: members that are not known are passed over (B-014, OTLP)."""
NO_MODEL = {"ai_plan", "ai_summarize"}
"""Without a language model it says so before it reads the body."""


@pytest.mark.requirement("A8", "A-037")
async def test_a_body_that_says_more_than_the_document_has_is_refused(tmp_path: Path) -> None:
    async with whole_gateway(tmp_path) as gateway:
        theirs = await live_a_day(gateway, gateway.one)
        before = still(await everything(gateway, gateway.other, NOBODYS))
        own = still(await everything(gateway, gateway.one, theirs))
        tried, wrong = 0, []
        for surface, contract in gateway.contracts.items():
            for one in contract.operations:
                body = body_of(one)
                if not isinstance(body, dict) or one.name in TELEMETRY | NO_MODEL:
                    continue
                for name in MORE.keys() - body.keys():
                    path = one.path.format(**theirs[surface])
                    answer = await gateway.ask(gateway.one, surface, one.method, path, body | {name: MORE[name]})
                    tried += 1
                    if answer.status != 400 or name not in answer.body.decode():
                        wrong.append((surface, one, name, answer.status, answer.body))
        assert wrong == [] and tried > 200
        assert still(await everything(gateway, gateway.one, theirs)) == own
        for name in sorted(TELEMETRY):
            path = next(one.path for one in gateway.contracts["burn"].operations if one.name == name)
            body = next(body_of(one) for one in gateway.contracts["burn"].operations if one.name == name)
            assert isinstance(body, dict)
            assert (await gateway.ask(gateway.one, "burn", "POST", path, body | MORE)).status == 200
        assert still(await everything(gateway, gateway.other, NOBODYS)) == before


@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
@pytest.mark.requirement("A1", "H24", "H25")
async def test_a_credential_that_is_no_header_is_refused_before_it_is_looked_at(
    surface: Surface, tmp_path: Path
) -> None:
    """Given twice, or with bytes that are no ASCII: 400, whatever the keys are good for."""
    async with strange(surface, tmp_path) as running:
        way = running.contract.ways[0]
        kind = next(KeyKind(kind) for kind in running.contract.kinds if kind != SESSION)
        key, token = a_key("good", kind)
        running.control.put(key)
        one, line = running.contract.operations[0], way.presented(token)
        for lines in ((line, line), (line, way.presented("x")), (line + "\udcff",)):
            async with Wire(running.port) as wire:
                await wire.send(request(one.method, one.target, *lines, "Content-Length: 0"))
                answer = await wire.answer()
                assert answer.status == 400 and token not in answer.body.decode()
