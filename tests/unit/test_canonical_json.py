"""Canonical JSON: the written rules as vectors, then random documents against a slow reader written independently."""

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.json.canonical import canonical, payload_hash
from domain.json.strict import JsonError

SAME = [
    ("J9", "white space", b'{"a":[1,2]}', b' {\t"a" :\r\n[ 1 , 2 ] } '),
    ("J9", "order of names", b'{"a":1,"b":{"d":1,"c":2}}', b'{"b":{"c":2,"d":1},"a":1}'),
    ("J9", "escapes", rb'["A","/","\n","\u00e9","\ud83d\ude00"]', '["\\u0041","\\/","\\u000a","é","😀"]'.encode()),
    ("J9", "case of escapes", rb'"\u00EB"', rb'"\u00eb"'),
    ("J9", "escapes in names", rb'{"\u0061":1}', b'{"a":1}'),
    ("J9", "integer minus zero", b"-0", b"0"),
    ("J11", "a repeated name has its last value", b'{"a":1,"b":2,"a":3}', b'{"b":2,"a":3}'),
    ("J11", "a repeated object is not merged", b'{"a":{"x":1},"a":{"y":2}}', b'{"a":{"y":2}}'),
    ("J11", "repeated through an escape", rb'{"a":1,"\u0061":3}', b'{"a":3}'),
]
DIFFERENT = [
    ("J8", "beyond 64 bits", b"18446744073709551616", b"18446744073709551617"),
    ("J8", "beyond a double", b"9007199254740992.0", b"9007199254740993.0"),
    ("J8", "300 digits", b"1" * 300, b"1" * 299 + b"2"),
    ("J8", "negative, beyond 64 bits", b"-9223372036854775809", b"-9223372036854775810"),
    ("J9", "integer and fraction", b"1", b"1.0"),
    ("J9", "one more nought", b"1.0", b"1.00"),
    ("J9", "exponent", b"1.0", b"1e0"),
    ("J9", "case of the exponent", b"1e0", b"1E0"),
    ("J9", "sign of the exponent", b"1e1", b"1e+1"),
    ("J9", "big integer as exponent", b"100000000000000000000", b"1e20"),
    ("J9", "minus zero, fraction", b"-0.0", b"0.0"),
    ("J9", "too small for a double", b"1e-400", b"0.0"),
    ("J9", "number and string", b"1", b'"1"'),
    ("J9", "order of items", b"[1,2]", b"[2,1]"),
    ("J9", "no Unicode normalisation", '"é"'.encode(), '"e\u0301"'.encode()),
    ("J9", "null and absent", b'{"a":null}', b"{}"),
    ("J9", "true and 1", b"true", b"1"),
    ("J9", "case of names", b'{"a":1}', b'{"A":1}'),
]
WRITTEN = [
    (b' { "b" : 1.00 , "a" : [ true , null , -0 , -0.0 , 1E+2 ] } ', b'{"a":[true,null,0,-0.0,1E+2],"b":1.00}'),
    ('{"é":1,"z":2,"\uffff":3,"\U00010000":4,"":5}'.encode(), '{"":5,"z":2,"é":1,"\uffff":3,"\U00010000":4}'.encode()),
    (rb'"\u0000\u001f\u007f\u2028\/\"\\\b\f\n\r\t"', b'"\\u0000\\u001f\x7f\xe2\x80\xa8/\\"\\\\\\b\\f\\n\\r\\t"'),
]


@pytest.mark.requirement("J9", "J11")
@pytest.mark.parametrize(
    ("row", "rule", "one", "other"), SAME, ids=lambda value: value if isinstance(value, str) else ""
)
def test_texts_of_one_payload(row: str, rule: str, one: bytes, other: bytes) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.requirement("J8", "J9")
@pytest.mark.parametrize(
    ("row", "rule", "one", "other"), DIFFERENT, ids=lambda value: value if isinstance(value, str) else ""
)
def test_texts_of_two_payloads(row: str, rule: str, one: bytes, other: bytes) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.requirement("J9")
@pytest.mark.parametrize(("text", "written"), WRITTEN)
def test_the_form_is_fixed_because_ids_depend_on_it(text: bytes, written: bytes) -> None:
    assert canonical(text) == written
    assert canonical(written) == written


@pytest.mark.parametrize("text", [b"", b"{", b'"\xff"', rb'"\ud800"', b"[" * 100_000, b"nul", b"1 2"])
def test_what_cannot_be_read_is_a_fault(text: bytes) -> None:
    with pytest.raises(JsonError):
        canonical(text)


def test_the_hash_is_fixed() -> None:
    framed = b"\x00" * 7 + b"\x02ab" + b"\xff" * 8 + b"\x00" * 8
    assert payload_hash(b"ab", None, b"") == hashlib.sha256(framed).digest()


def test_no_two_lists_of_parts_hash_alike() -> None:
    lists: list[tuple[bytes | None, ...]] = [(), (b"",), (None,), (b"ab",), (b"a", b"b"), (b"ab", b""), (b"", b"ab")]
    assert len({payload_hash(*parts) for parts in lists}) == len(lists)


class Number(str):
    """A number's token. Documents under test hold these, so that a token survives being written."""


tokens = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(Number)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | tokens | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.randoms(use_true_random=False))
@pytest.mark.requirement("J8", "J9")
def test_any_spelling_of_a_document_gives_the_form_that_the_slow_writer_gives(
    document: Any, rng: random.Random
) -> None:
    form = slow_form(document).encode()
    assert canonical(spelled(document, rng).encode()) == form
    assert canonical(spelled(document, rng).encode()) == form


@given(documents, documents)
@pytest.mark.requirement("J8", "J9")
def test_two_documents_share_a_form_only_if_they_are_one(one: Any, other: Any) -> None:
    alike = canonical(slow_form(one).encode()) == canonical(slow_form(other).encode())
    assert alike == (slow_form(one) == slow_form(other))


def slow_form(document: Any) -> str:
    """The rules of canonical_json's docstring, written out again with nothing shared."""
    if isinstance(document, Number):
        return "0" if document == "-0" else str(document)
    if isinstance(document, str):
        return '"' + "".join(map(slow_character, document)) + '"'
    if isinstance(document, list):
        return "[" + ",".join(slow_form(item) for item in document) + "]"
    if isinstance(document, dict):
        return "{" + ",".join(f"{slow_form(name)}:{slow_form(document[name])}" for name in sorted(document)) + "}"
    return {None: "null", True: "true", False: "false"}[document]


def slow_character(character: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return short.get(character) or (character if character >= " " else f"\\u{ord(character):04x}")


def spelled(document: Any, rng: random.Random) -> str:
    """One of the many texts of a document: any white space, any order of names, any escapes, names given before."""

    def gap() -> str:
        return rng.choice(["", "", " ", "\n\t"])

    if isinstance(document, Number):
        text = str(document)
    elif isinstance(document, str):
        text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
        if document and rng.random() < 0.3:
            text = '"' + "".join(escaped(character) for character in document) + '"'
    elif isinstance(document, list):
        text = "[" + ",".join(spelled(item, rng) for item in document) + gap() + "]"
    elif isinstance(document, dict):
        pairs = rng.sample(list(document.items()), len(document))
        earlier = [(name, Number("7")) for name, _ in pairs if rng.random() < 0.2]
        written = (gap() + spelled(name, rng) + gap() + ":" + spelled(value, rng) for name, value in earlier + pairs)
        text = "{" + ",".join(written) + gap() + "}"
    else:
        text = {None: "null", True: "true", False: "false"}[document]
    return gap() + text + gap()


def escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at] * 256 + units[at + 1]:04X}" for at in range(0, len(units), 2))
