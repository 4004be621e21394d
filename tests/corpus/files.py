"""The files under tests/corpus/data, and how they are written: small, and the same bytes for the same content."""

import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
INSTALLATION, RECORDS, VECTORS, ANSWERS = "installation.tar.xz", "records.jsonl.xz", "vectors.json", "answers.jsonl.xz"
FACTS, READ = "installation.json.xz", "read.jsonl.xz"


def write_lines(name: str, rows: list[Any]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    (DATA / name).write_bytes(lzma.compress(text.encode(), preset=9))


def read_lines(name: str) -> list[Any]:
    return [json.loads(line) for line in lzma.decompress((DATA / name).read_bytes()).splitlines()]


def write_json(name: str, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    (DATA / name).write_bytes(lzma.compress(text.encode(), preset=9) if name.endswith(".xz") else text.encode())


def read_json(name: str) -> Any:
    content = (DATA / name).read_bytes()
    return json.loads(lzma.decompress(content) if name.endswith(".xz") else content)


def pack(home: Path, name: str) -> None:
    """A directory, without who owns its files and when they were made."""

    def bare(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.add(home, arcname=".", filter=bare)
    (DATA / name).write_bytes(lzma.compress(whole.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def unpack(name: str, home: Path) -> None:
    content = lzma.decompress((DATA / name).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(home, filter="data")
