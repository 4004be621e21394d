"""The Postman v2.1 collection and environment of an OpenAPI document. Pure.

Requests are grouped by tag, in the document's order with deletions last, so that the collection can be run from top to
bottom (`newman run`): what a request makes or lists is remembered under the name of the path parameter that takes it.
Bodies and answers are the document's examples; a text in a body that is a path parameter's example becomes its
variable. Sources: W-004 to W-006.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

Document = Mapping[str, Any]
Json = dict[str, Any]
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
METHODS = ("get", "post", "put", "patch", "delete")
API_KEY, IDEMPOTENCY_KEY = "apiKey", "idempotencyKey"
SWITCH = "x-postman-unless-blank"
"""On an operation: the environment's variable without which its request is skipped in a run."""
REMEMBER = "x-postman-remember"
"""On an operation: variables, and the member of its answer that each is set to."""
# A key that is given stands; else each request gets one of its own.
FILL_KEY = [
    "if (!pm.environment.get('idempotencyKey')) {",
    "    pm.variables.set('idempotencyKey', pm.variables.replaceIn('{{$guid}}'));",
    "}",
]


class Operation(NamedTuple):
    """One operation. `parameters` are resolved, those of its path among them."""

    path: str
    method: str
    node: Json
    parameters: list[Json]


def collection(document: Document, name: str) -> Json:
    operations = list(operations_of(document))
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
        "item": [_folder(document, tag, operations) for tag in document["tags"]],
    }


def environment(document: Document, name: str, base_url: str, switches: Mapping[str, str]) -> Json:
    """`switches`: further variables and their values."""
    made = sorted({parameter["name"] for one in operations_of(document) for parameter in _path_parameters(one)})
    tokens = [API_KEY, *_other_tokens(document)]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name + "/environment")),
        "name": document["info"]["title"],
        "values": [
            _variable("baseUrl", base_url),
            *(_variable(token, "", "secret") for token in tokens),
            _variable(IDEMPOTENCY_KEY, ""),
            *(_variable(*switch) for switch in switches.items()),
            *(_variable(parameter, "") for parameter in made),
        ],
        "_postman_variable_scope": "environment",
    }


def operations_of(document: Document) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in item:
            if method in METHODS:
                written = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                yield Operation(path, method, item[method], [resolved(document, one) for one in written])


def resolved(document: Document, node: Json) -> Json:
    """What its `$ref` leads to, if it has one."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _folder(document: Document, tag: Json, operations: list[Operation]) -> Json:
    mine = [one for one in operations if tag["name"] in one.node.get("tags", ())]
    mine.sort(key=lambda one: one.method == "delete")
    items = [_item(document, one, operations) for one in mine]
    return {"name": tag["name"], "description": tag.get("description", ""), "item": items}


def _item(document: Document, one: Operation, operations: list[Operation]) -> Json:
    request = _request(document, one, operations)
    events = []
    token = token_of(document, one.node)
    needed = [name for name in (token if token != API_KEY else "", one.node.get(SWITCH, "")) if name]
    if needed:
        lines = [f"if (!pm.environment.get('{name}')) {{ pm.execution.skipRequest(); }}" for name in needed]
        events.append(_script("prerequest", lines))
    capture = _capture(one, operations)
    if capture:
        events.append(_script("test", capture))
    if token != API_KEY:
        request["auth"] = _auth(document, one.node["security"], token)
    return {
        "name": one.node["summary"],
        "event": events,
        "request": request,
        "response": list(_responses(document, one, request)),
    }


def _request(document: Document, one: Operation, operations: list[Operation]) -> Json:
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
    body = _example(one.node.get("requestBody", {}).get("content", {}))
    if body is not None:
        headers.insert(0, {"key": "Content-Type", "value": "application/json"})
        raw = json.dumps(_with_variables(body, _variables(operations)), indent=2, ensure_ascii=False)
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
        for parameter in _path_parameters(one)
    ]
    return url | {"variable": variables} if variables else url


def _responses(document: Document, one: Operation, request: Json) -> Iterator[Json]:
    """The examples of success."""
    for status, written in one.node["responses"].items():
        if not status.startswith("2"):
            continue
        response = resolved(document, written)
        example = _example(response.get("content", {}))
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


def _capture(one: Operation, operations: list[Operation]) -> list[str]:
    """Remembers the id of what was made, or what the document says, for the paths below."""
    if REMEMBER in one.node:
        return [
            f"if (pm.response.code < 300) {{ pm.environment.set('{name}', pm.response.json().{member}); }}"
            for name, member in one.node[REMEMBER].items()
        ]
    names = {below for other in operations if (below := _step_below(one.path, other.path)) is not None}
    if not names or one.method != "post":
        return []
    (name,) = names
    return [f"if (pm.response.code < 300) {{ pm.environment.set('{name}', pm.response.json().id); }}"]


def _step_below(path: str, other: str) -> str | None:
    """The parameter right behind the path."""
    rest = other.removeprefix(path + "/")
    first = rest.split("/")[0]
    return first[1:-1] if rest != other and first.startswith("{") else None


def _variables(operations: list[Operation]) -> dict[str, str]:
    """Path parameters by their examples."""
    return {
        parameter["example"]: parameter["name"]
        for one in operations
        for parameter in _path_parameters(one)
        if "example" in parameter
    }


def _with_variables(value: Any, variables: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _with_variables(entry, variables) for name, entry in value.items()}
    if isinstance(value, list):
        return [_with_variables(entry, variables) for entry in value]
    return f"{{{{{variables[value]}}}}}" if isinstance(value, str) and value in variables else value


def _path_parameters(one: Operation) -> list[Json]:
    return [parameter for parameter in one.parameters if parameter["in"] == "path"]


def _example(content: Json) -> Any:
    for kind, media in content.items():
        if kind.endswith("json"):
            return media.get("example")
    return None


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
