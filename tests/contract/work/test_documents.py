"""The surface's documents as they are served, and whether every answer is as they say."""

import re

import pytest

from ingest_gateway.surfaces.documents.operations import resolved
from ingest_gateway.surfaces.shared.contract import load_document
from ingest_gateway.surfaces.surface import Surface
from tests.support.four_surfaces import ALL, DOWNLOADS
from tests.support.openapi import breaches
from tests.support.work_installation import WorkInstallation, WorkSurface

NAME = "/v1/atlas-public-api"


@pytest.mark.requirement("W-001", "W-002", "W-005", "W-007", "W-008", "W-020")
async def test_downloads_and_the_reference(work: WorkSurface) -> None:
    served = await work.ask("GET", "/v1/openapi.json", key=None)
    assert served.json == {**load_document("work"), "servers": [{"url": work.url}]}
    for kind, content in (("openapi", served.json), ("postman_collection", None), ("postman_environment", None)):
        download = await work.ask("GET", f"{NAME}.{kind}.json", key=None)
        assert download.status == 200 and download.headers["Content-Type"] == "application/json"
        name = f"atlas-public-api.{kind}.json"
        assert download.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert content is None or download.json == content
    elsewhere = {"Host": "sandbox.example.com:8443"}
    there = (await work.ask("GET", f"{NAME}.postman_environment.json", key=None, headers=elsewhere)).json["values"]
    here = (await work.ask("GET", f"{NAME}.postman_environment.json", key=None)).json["values"]
    assert [one["key"] for one, other in zip(here, there, strict=True) if one != other] == ["baseUrl"]
    known = {"If-None-Match": served.headers["ETag"]}
    assert (await work.ask("GET", "/v1/openapi.json", key=None, headers=known)).status == 304
    page = await work.ask("GET", "/v1/docs", key=None)
    assert b'spec-url="openapi.json"' in page.body and b'src="http' not in page.body
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for coding in ("gzip", "identity"):
        headers = {"Accept-Encoding": coding}
        script = await work.ask("GET", "/v1/docs/redoc.standalone.js", key=None, headers=headers)
        assert script.status == 200 and b"Redoc" in script.body


@pytest.mark.requirement("W-002", "W-004", "W-005", "W-007")
@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
async def test_every_surface_has_its_document_its_downloads_and_its_reference(
    installation: WorkInstallation, surface: Surface
) -> None:
    name = DOWNLOADS[surface.name]
    async with installation.surface((surface,), ATLAS_SURFACES=surface.name) as running:
        document = (await running.ask("GET", "/v1/openapi.json", key=None)).json
        assert document["paths"] == load_document(surface.name)["paths"]
        for kind in ("openapi", "postman_collection", "postman_environment"):
            download = await running.ask("GET", f"/v1/{name}.{kind}.json", key=None)
            assert download.status == 200
            assert download.headers["Content-Disposition"] == f'attachment; filename="{name}.{kind}.json"'
        page = await running.ask("GET", "/v1/docs", key=None)
        assert b"<redoc" in page.body and b'src="http' not in page.body
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
async def test_the_root_leads_to_all_of_them(installation: WorkInstallation, surface: Surface) -> None:
    """Programs get addresses, which answer; a browser gets the page, which links the same."""
    kinds = ("openapi", "postman_collection", "postman_environment")
    async with installation.surface((surface,), ATLAS_SURFACES=surface.name) as running:
        root = await running.ask("GET", "/", key=None)
        assert (root.status, root.headers["Content-Type"]) == (200, "application/json")
        assert "Accept" in root.headers["Vary"]
        addresses = root.json
        assert addresses.pop("name") == load_document(surface.name)["info"]["title"]
        assert addresses.keys() == {"docs", *kinds}
        for address in addresses.values():
            assert address.startswith(running.url)
            assert (await running.ask("GET", address.removeprefix(running.url), key=None)).status == 200

        browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        page = (await running.ask("GET", "/", key=None, headers=browser)).body.decode()
        assert page == (await running.ask("GET", "/v1/docs", key=None)).body.decode() and "<redoc" in page
        linked = {
            f"{running.url}/v1/{target}" for target in re.findall(r"<nav>.*</nav>", page, re.S)[0].split('"')[1::2]
        }
        assert linked == {addresses[kind] for kind in kinds}


@pytest.mark.requirement("W-023")
async def test_every_answer_is_as_the_document_says(work: WorkSurface) -> None:
    """Of each operation, asked with nothing right: the status is in the document and the problem fits its schema."""
    document = load_document("work")
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "patch", "delete"}:
            where = path.replace("{", "").replace("}", "")
            for key in (None, "read_only_pat", "session"):
                answer = await work.ask(method.upper(), where, {} if method in ("post", "patch") else None, key=key)
                responses = item[method]["responses"]
                assert str(answer.status) in responses, f"{method} {path}: {answer.status}"
                content = resolved(document, responses[str(answer.status)]).get("content", {})
                if answer.body:
                    (schema,) = (media["schema"] for media in content.values())
                    assert list(breaches(document, schema, answer.json)) == []
