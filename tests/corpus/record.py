"""`python -m tests.corpus.record [installation] [vectors] [answers]` records the corpus anew, or these parts of it.

It is for a release to come, to keep what that release wrote beside what is here already: see README.md.
"""

import sys

from tests.corpus import answers, files, installation, vectors

PARTS = {"installation": installation.record, "answers": answers.record, "vectors": vectors.record}


def main(*parts: str) -> None:
    files.DATA.mkdir(exist_ok=True)
    for part in parts or PARTS:
        PARTS[part]()
        print(f"{part} is recorded")


if __name__ == "__main__":
    main(*sys.argv[1:])
