"""The Postman v2.1 collection and environment of an OpenAPI document.

Requests are grouped by tag, in the document's order, so that the collection can be run from top to bottom (`newman
run`): what is made by PUT is made before it is asked for, and deletions come last in their folder; those of what a
later folder needs stand in a last one, `Clean up`. Bodies and answers are the document's examples, with variables in
them (variables.py). Why not openapi-to-postmanv2: docs/decisions/0027. Sources: W-004 to W-006.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from ingest_gateway.surfaces.documents.operations import (
    Document,
    Json,
    Operation,
    example_in,
    operations_of,
    resolved,
)
from ingest_gateway.surfaces.documents.variables import Variables

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
API_KEY, IDEMPOTENCY_KEY = "apiKey", "idempotencyKey"
CLEAN_UP = "Clean up"
SWITCH = "x-postman-unless-blank"
"""On an operation: the environment's variable without which its request is skipped in a run."""
# A given key is kept; without one, each request gets a key of its own.
FILL_KEY = [
    "if (!pm.environment.get('idempotencyKey')) {",
    "    pm.variables.set('idempotencyKey', pm.variables.replaceIn('{{$guid}}'));",
    "}",
]


def collection(document: Document, name: str) -> Json:
    operations = list(operations_of(document))
    variables = Variables(document, operations)
    folders = [_folder(document, tag, operations, variables) for tag in document["tags"]]
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "name": document["info"]["title"],
            "description": document["info"].get("description", ""),
            "version": document["info"]["version"],
            "schema": SCHEMA,
        },
        "auth": _auth(document, document["security"], API_KEY),
        "event": [_script("prerequest", FILL_KEY)],
        "item": [*folders, *_clean_up(folders)],
    }


def environment(document: Document, name: str, base_url: str, switches: Mapping[str, str]) -> Json:
    """`switches`: further variables and their values."""
    operations = list(operations_of(document))
    named = {one.node[SWITCH]: "" for one in operations if SWITCH in one.node}
    tokens = [API_KEY, *_other_tokens(document)]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name + "/environment")),
        "name": document["info"]["title"],
        "values": [
            _variable("baseUrl", base_url),
            *(_variable(token, "", "secret") for token in tokens),
            _variable(IDEMPOTENCY_KEY, ""),
            *(_variable(*switch) for switch in (named | dict(switches)).items()),
            *(_variable(*value) for value in Variables(document, operations).values().items()),
        ],
        "_postman_variable_scope": "environment",
    }


def _folder(document: Document, tag: Json, operations: list[Operation], variables: Variables) -> Json:
    mine = sorted((one for one in operations if tag["name"] in one.node.get("tags", ())), key=_turn)
    items = [_item(document, one, variables) for one in mine]
    return {"name": tag["name"], "description": tag.get("description", ""), "item": items}


def _turn(one: Operation) -> int:
    """In its folder."""
    if one.method == "delete":
        return 2
    return 0 if one.method == "put" and "201" in one.node["responses"] else 1


def _clean_up(folders: list[Json]) -> Iterator[Json]:
    """Takes the deletions of what later folders need out of their own, and gives them as a folder, newest first."""
    late: list[Json] = []
    for level, folder in enumerate(folders):
        below = json.dumps(folders[level + 1 :])
        for item in [item for item in folder["item"] if item["request"]["method"] == "DELETE"]:
            needed = item["request"]["url"]["path"][-1]
            if needed.startswith(":") and f"{{{{{needed[1:]}}}}}" in below:
                folder["item"].remove(item)
                late.insert(0, item)
    if late:
        yield {"name": CLEAN_UP, "description": "Deletes what the requests above were about.", "item": late}


def _item(document: Document, one: Operation, variables: Variables) -> Json:
    request = _request(one, variables)
    events = []
    token = token_of(document, one.node)
    needed = [name for name in (token if token != API_KEY else "", one.node.get(SWITCH, "")) if name]
    skips = [f"if (!pm.environment.get('{name}')) {{ pm.execution.skipRequest(); }}" for name in needed]
    for moment, lines in (("prerequest", skips + variables.script_before(one)), ("test", variables.script_after(one))):
        if lines:
            events.append(_script(moment, lines))
    if token != API_KEY:
        request["auth"] = _auth(document, one.node["security"], token)
    return {
        "name": one.node["summary"],
        "event": events,
        "request": request,
        "response": list(_responses(document, one, request)),
    }


def _request(one: Operation, variables: Variables) -> Json:
    headers = [
        {"key": parameter["name"], "value": "{{idempotencyKey}}"}
        if parameter["name"] == "Idempotency-Key"
        else {"key": parameter["name"], "value": str(parameter.get("example", "")), "disabled": True}
        for parameter in one.parameters
        if parameter["in"] == "header" and (parameter["name"] != "Idempotency-Key" or one.method == "post")
    ]
    request: Json = {
        "method": one.method.upper(),
        "header": headers,
        "url": _url(one),
        "description": one.node.get("description", ""),
    }
    if one.body is not None:
        headers.insert(0, {"key": "Content-Type", "value": "application/json"})
        raw = json.dumps(variables.put_in(one.body), indent=2, ensure_ascii=False)
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    return request


def _url(one: Operation) -> Json:
    steps = one.path.strip("/").split("/")
    path = [f":{step[1:-1]}" if step.startswith("{") else step for step in steps]
    query = [
        {
            "key": parameter["name"],
            "value": str(parameter.get("example", parameter.get("schema", {}).get("default", ""))),
            "description": parameter.get("description", ""),
            "disabled": True,
        }
        for parameter in one.parameters
        if parameter["in"] == "query"
    ]
    url: Json = {"raw": "{{baseUrl}}/" + "/".join(path), "host": ["{{baseUrl}}"], "path": path}
    if query:
        url["query"] = query
    variables = [
        {
            "key": parameter["name"],
            "value": f"{{{{{parameter['name']}}}}}",
            "description": parameter.get("description", ""),
        }
        for parameter in one.in_path
    ]
    return url | {"variable": variables} if variables else url


def _responses(document: Document, one: Operation, request: Json) -> Iterator[Json]:
    """The examples of success."""
    for status, written in one.node["responses"].items():
        if not status.startswith("2"):
            continue
        response = resolved(document, written)
        example = example_in(response.get("content", {}))
        kinds = list(response.get("content", {}))
        yield {
            "name": response["description"],
            "originalRequest": {name: value for name, value in request.items() if name != "description"},
            "status": HTTPStatus(int(status)).phrase,
            "code": int(status),
            "_postman_previewlanguage": "json" if example is not None else "text",
            "header": [{"key": "Content-Type", "value": kind} for kind in kinds[:1]],
            "body": "" if example is None else json.dumps(example, indent=2, ensure_ascii=False),
        }


def token_of(document: Document, node: Json) -> str:
    """The variable with the operation's token: `apiKey`, but for a scheme of its own, which is named after it."""
    default = document.get("security", [])
    security = node.get("security", default)
    return API_KEY if security == default or not security else f"{next(iter(security[0]))}Token"


def _other_tokens(document: Document) -> list[str]:
    found = {token_of(document, one.node) for one in operations_of(document)}
    return sorted(found - {API_KEY})


def _auth(document: Document, security: list[Json], variable: str) -> Json:
    """As the first scheme of the list has it: a bearer token, or a header of its own."""
    scheme = resolved(document, document["components"]["securitySchemes"][next(iter(security[0]))])
    value = f"{{{{{variable}}}}}"
    if scheme["type"] == "apiKey":
        pairs = {"key": scheme["name"], "value": value, "in": scheme["in"]}
        return {"type": "apikey", "apikey": [{"key": k, "value": v, "type": "string"} for k, v in pairs.items()]}
    return {"type": "bearer", "bearer": [{"key": "token", "value": value, "type": "string"}]}


def _script(listen: str, lines: list[str]) -> Json:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}


def _variable(name: str, value: str, kind: str = "default") -> Json:
    return {"key": name, "value": value, "type": kind, "enabled": True}
