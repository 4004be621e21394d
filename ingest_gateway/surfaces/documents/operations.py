"""The operations of an OpenAPI document, in its order."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Document = Mapping[str, Any]
Json = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")


class Operation(NamedTuple):
    """One operation. `parameters` are resolved, those of its path among them."""

    path: str
    method: str
    node: Json
    parameters: list[Json]

    @property
    def in_path(self) -> list[Json]:
        return [parameter for parameter in self.parameters if parameter["in"] == "path"]

    @property
    def body(self) -> Any:
        """The example of its body; None where it has none, or it is no JSON."""
        return example_in(self.node.get("requestBody", {}).get("content", {}))


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


def example_in(content: Json) -> Any:
    for kind, media in content.items():
        if kind.endswith("json"):
            return media.get("example")
    return None
