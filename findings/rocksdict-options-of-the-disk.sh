#!/bin/sh
# rocksdict 0.3.29: `Rdict(path, options, access_type=AccessType.with_ttl(seconds))` of a database that exists takes the
# column family's options from RocksDB's own OPTIONS file, without an error, unless the families are named with their
# options (`column_families={"default": options}`). With a time to live it also takes the compaction filter that the
# opening before had installed, and puts its own around it. From the second opening on, the inner filter reads the last
# bytes of the value as the time at which the entry was written.
# Seen: 6 openings, 1,000 new entries each, a time to live of a day, one compaction a second later. Without the name
# 0 of 6,000 entries are left; with it 6,000. (The values end in zeros, which the inner filter takes for 1970.)
# Ends 0 while entries are lost without the name and kept with it, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "rocksdict==0.3.29"
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

DAY_SECONDS, OPENINGS, ENTRIES = 24 * 3_600, 6, 1_000


def opened(path, is_named):
    options = Options(raw_mode=True)
    named = {"column_families": {"default": options}} if is_named else {}
    return Rdict(path, options, access_type=AccessType.with_ttl(DAY_SECONDS), **named)


def entries_left(name, is_named):
    path = str(Path(sys.argv[1]) / name)
    for opening in range(OPENINGS):
        database = opened(path, is_named)
        for number in range(ENTRIES):
            database[f"{opening}/{number}".encode()] = bytes(32)
        database.close()
    database = opened(path, is_named)
    database.compact_range(None, None)
    left = sum(1 for _ in database.keys())
    database.close()
    return left


seen = {"families not named": entries_left("plain", False), "named": entries_left("named", True)}
print(f"entries left of {OPENINGS * ENTRIES}: {seen}")
raise SystemExit(0 if seen["families not named"] < seen["named"] == OPENINGS * ENTRIES else 1)
PYTHON
