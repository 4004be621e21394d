#!/bin/sh
# msgspec 0.22.0: a Struct's field of type `msgspec.Raw | None` is accepted when the type is defined, and then takes
# nothing but null: any other value raises "Expected `null`, got `object`". One expects Raw to take any value, as it does
# alone, and as `Any | None` does. Known upstream as msgspec#659. Use `Raw` with an empty `Raw()` as its default.
# Seen:
#   null: None
#   {"a":1}: Expected `null`, got `object` - at `$.part`
#   alone, {"a":1}: b'{"a":1}'
# Ends 0 while that is so, else 1 (2: it could not be tried).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet msgspec==0.22.0 || exit 2
"$folder/venv/bin/python" - <<'PROGRAM'
import sys

import msgspec


class Optional(msgspec.Struct):
    part: msgspec.Raw | None = None


class Alone(msgspec.Struct):
    part: msgspec.Raw = msgspec.Raw()


print("null:", msgspec.json.decode(b'{"part":null}', type=Optional).part)
try:
    taken = msgspec.json.decode(b'{"part":{"a":1}}', type=Optional).part
    print('{"a":1}:', taken)
except msgspec.ValidationError as error:
    taken = None
    print('{"a":1}:', error)
alone = bytes(msgspec.json.decode(b'{"part":{"a":1}}', type=Alone).part)
print('alone, {"a":1}:', alone)
sys.exit(0 if taken is None and alone == b'{"a":1}' else 1)
PROGRAM
