"""What is made of each surface's OpenAPI document: the Postman collection and environment; and the vendored Redoc."""

import gzip
import hashlib
import json
import re
from importlib import resources
from typing import Any

import pytest

from ingest_gateway.surfaces.documents.operations import operations_of
from ingest_gateway.surfaces.documents.postman import CLEAN_UP, collection, environment
from ingest_gateway.surfaces.shared.contract import load_document

SURFACES = [
    path.name.removesuffix(".yaml")
    for path in resources.files("schemas").joinpath("openapi").iterdir()
    if path.name.endswith(".yaml")
]
REDOC_SHA256 = "dcaf76612bc4a3fbcc923a8966dee2f6146a5f32e5ce1b6f02dd60cbbf89500b"
VARIABLE = re.compile(r"\{\{(\w+)\}\}")


def requests_in(node: Any) -> list[Any]:
    return [found for item in node["item"] for found in (requests_in(item) if "item" in item else [item])]


@pytest.mark.requirement("W-004", "W-008")
@pytest.mark.parametrize("surface", SURFACES)
def test_each_operation_is_a_request_in_the_folder_of_its_tag(surface: str) -> None:
    document = load_document(surface)
    made = collection(document, surface)
    assert made["info"]["schema"].endswith("v2.1.0/collection.json")
    folders = [folder["name"] for folder in made["item"]]
    assert [name for name in folders if name != CLEAN_UP] == [tag["name"] for tag in document["tags"]]
    names = sorted(item["name"] for item in requests_in(made))
    assert names == sorted(one.node["summary"] for one in operations_of(document))
    for item in requests_in(made):
        assert item["request"]["url"]["raw"].startswith("{{baseUrl}}/")
        assert item["response"], f"{item['name']} has an example of success"


@pytest.mark.requirement("W-005")
@pytest.mark.parametrize("surface", SURFACES)
def test_every_variable_is_in_the_environment(surface: str) -> None:
    document = load_document(surface)
    used = set(VARIABLE.findall(json.dumps(collection(document, surface))))
    values = environment(document, surface, "http://127.0.0.1:1", {"aiEnabled": ""})["values"]
    assert used - {value["key"] for value in values} <= {"guid"}
    by_name = {value["key"]: value for value in values}
    assert by_name["baseUrl"]["value"] == "http://127.0.0.1:1"
    assert by_name["apiKey"] == {"key": "apiKey", "value": "", "type": "secret", "enabled": True}


@pytest.mark.requirement("W-004", "W-006", "W-022")
def test_creates_are_safe_to_retry_out_of_the_box() -> None:
    made = collection(load_document("work"), "atlas-public-api")
    assert made["auth"]["bearer"][0]["value"] == "{{apiKey}}"
    (script,) = made["event"]
    assert script["listen"] == "prerequest" and "idempotencyKey" in "".join(script["script"]["exec"])
    for item in requests_in(made):
        keys = [header["value"] for header in item["request"]["header"] if header["key"] == "Idempotency-Key"]
        assert keys == (["{{idempotencyKey}}"] if item["request"]["method"] == "POST" else [])
    create = next(item for item in requests_in(made) if item["name"] == "Create a task")
    assert json.loads(create["request"]["body"]["raw"])["projectId"] == "{{project}}"


SET, UNSET = (re.compile(rf"pm\.(?:environment|variables)\.{verb}\('(\w+)'") for verb in ("set", "unset"))


@pytest.mark.requirement("W-004", "W-022")
@pytest.mark.parametrize("surface", SURFACES)
def test_a_collection_runs_from_top_to_bottom(surface: str) -> None:
    """What a request names has a value by then: in the environment, by who runs it (secrets), or by a script before."""
    document = load_document(surface)
    made = collection(document, surface)
    values = environment(document, surface, "http://127.0.0.1:1", {})["values"]
    known = {value["key"] for value in values if value["value"] or value.get("type") == "secret"}
    known |= set_by(made, "prerequest", SET)
    for item in requests_in(made):
        known |= set_by(item, "prerequest", SET)
        assert set(VARIABLE.findall(json.dumps(item["request"]))) <= known | {"guid"}, item["name"]
        known = known - set_by(item, "test", UNSET) | set_by(item, "test", SET)


def set_by(item: Any, listen: str, what: "re.Pattern[str]") -> set[str]:
    scripts = ("".join(event["script"]["exec"]) for event in item.get("event", ()) if event["listen"] == listen)
    return {name for script in scripts for name in what.findall(script)}


@pytest.mark.requirement("W-004", "W-022")
def test_what_later_folders_need_is_deleted_last() -> None:
    made = collection(load_document("events"), "events")
    folders = {folder["name"]: [item["name"] for item in folder["item"]] for folder in made["item"]}
    assert list(folders)[-1] == CLEAN_UP and folders[CLEAN_UP] == ["Delete a stream", "Delete a workflow"]
    requests = {item["name"]: item for item in requests_in(made)}
    sent = [json.loads(requests[name]["request"]["body"]["raw"]) for name in ("Create a stream", "Send an event")]
    assert (sent[0]["name"], sent[1]["stream"]) == ("{{stream}}", "{{stream}}")


def test_a_minted_tokens_id_is_remembered_and_not_the_token() -> None:
    requests = {item["name"]: item for item in requests_in(collection(load_document("work"), "work"))}
    assert set_by(requests["Mint a token"], "test", SET) == {"token"}
    (test,) = [event for event in requests["Mint a token"]["event"] if event["listen"] == "test"]
    assert ".token" not in "".join(test["script"]["exec"])


@pytest.mark.requirement("W-002", "W-003")
def test_the_work_document_has_its_extensions() -> None:
    document = load_document("work")
    assert {"read", "write", "ai"} <= document["x-rate-limits"].keys()
    for one in operations_of(document):
        assert one.node["x-required-scopes"]
        is_ai, is_read = one.path.startswith("/v1/ai/"), one.method == "get"
        assert one.node["x-ratelimit-class"] == ("ai" if is_ai else "read" if is_read else "write")


@pytest.mark.requirement("W-007")
def test_redoc_is_the_one_that_was_vendored() -> None:
    folder = resources.files("ingest_gateway.surfaces.documents").joinpath("redoc")
    bundle = gzip.decompress(folder.joinpath("redoc.standalone.js.gz").read_bytes())
    assert hashlib.sha256(bundle).hexdigest() == REDOC_SHA256
    assert "MIT" in folder.joinpath("LICENSE").read_text()
