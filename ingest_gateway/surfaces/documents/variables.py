"""The variables of a Postman collection: the variables for a path's parameters, and where each value comes from.

| parameter | its variable |
|---|---|
| its example stands in the body of the POST that makes such a thing | blank; that POST picks a name like the example |
| nothing in the document makes it: a type, a correlation id | begins as the example |
| an answer has it (the id of what a POST made, or what `x-postman-remember` names) | blank until that answer |

A text in a body that is a parameter's example, or one of `x-postman-variables` (variable: text), becomes the variable.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ingest_gateway.surfaces.documents.operations import Document, Json, Operation, example_in, resolved

REMEMBER = "x-postman-remember"
"""On an operation: variables, and the member of its answer that each is set to."""
STAND_FOR = "x-postman-variables"
"""On the document: variables that are no parameters, and the text that each stands for in bodies."""


class Variables:
    """Of one document's operations."""

    def __init__(self, document: Document, operations: Sequence[Operation]) -> None:
        self._document = document
        self._operations = operations
        self._examples = {
            parameter["name"]: parameter["example"]
            for one in operations
            for parameter in one.in_path
            if "example" in parameter
        }
        self._stand_for: Json = document.get(STAND_FOR, {})
        self._by_text = {text: name for name, text in (self._examples | self._stand_for).items()}
        made = [name for one in operations for name in self._made_by(one)]
        self._set_in_a_run = {*made, *(name for one in operations for name in one.node.get(REMEMBER, {}))}

    def values(self) -> dict[str, str]:
        """What each begins as."""
        blank = dict.fromkeys((*self._names(), *self._stand_for), "")
        return blank | {name: text for name, text in self._examples.items() if name not in self._set_in_a_run}

    def put_in(self, value: Any) -> Any:
        """The value with variables in place of the texts that they stand for."""
        if isinstance(value, dict):
            return {name: self.put_in(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [self.put_in(entry) for entry in value]
        return f"{{{{{self._by_text[value]}}}}}" if isinstance(value, str) and value in self._by_text else value

    def script_before(self, one: Operation) -> list[str]:
        """Picks a name for what the operation makes, unless there is one; a name may be taken for longer than the thing
        that had it lives.
        """
        picked = {name: self._examples[name] for name in self._made_by(one) if self._is_chosen(one, name)}
        return [
            f"if (!pm.environment.get('{name}')) {{ pm.environment.set('{name}', '{example}' + Date.now()); }}"
            for name, example in picked.items()
        ]

    def script_after(self, one: Operation) -> list[str]:
        """Sets variables from the operation's answer, and clears the name of a deleted object."""
        lines = [f"pm.environment.set('{name}', pm.response.json().{member});" for name, member in self._told_by(one)]
        if one.method == "delete" and one.in_path:
            lines.append(f"pm.environment.unset('{one.in_path[-1]['name']}');")
        return [f"if (pm.response.code < 300) {{ {line} }}" for line in lines]

    def _names(self) -> list[str]:
        return sorted({parameter["name"] for one in self._operations for parameter in one.in_path})

    def _made_by(self, one: Operation) -> set[str]:
        """Parameters that stand right behind the path of this POST."""
        if one.method != "post":
            return set()
        return {name for other in self._operations if (name := step_below(one.path, other.path)) is not None}

    def _is_chosen(self, one: Operation, name: str) -> bool:
        return name in self._examples and contains(one.body, self._examples[name])

    def _told_by(self, one: Operation) -> Iterator[tuple[str, str]]:
        """Variables and members of the answer."""
        yield from one.node.get(REMEMBER, {}).items()
        for name in self._made_by(one) - one.node.get(REMEMBER, {}).keys():
            if not self._is_chosen(one, name):
                answered = self._answer_of(one)
                yield name, name if name in answered and "id" not in answered else "id"

    def _answer_of(self, one: Operation) -> Json:
        """The example of its first success."""
        for status, written in one.node["responses"].items():
            if status.startswith("2"):
                example = example_in(resolved(self._document, written).get("content", {}))
                return example if isinstance(example, dict) else {}
        return {}


def step_below(path: str, other: str) -> str | None:
    """The parameter right behind the path."""
    rest = other.removeprefix(path + "/")
    first = rest.split("/")[0]
    return first[1:-1] if rest != other and first.startswith("{") else None


def contains(body: Any, text: str) -> bool:
    """Whether the text is one of the body's values, at any depth."""
    if isinstance(body, dict):
        return any(contains(value, text) for value in body.values())
    if isinstance(body, list):
        return any(contains(value, text) for value in body)
    return isinstance(body, str) and body == text
