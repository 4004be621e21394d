"""How the parts of `atlas up` report progress: each takes a function that gets one sentence at a time."""

import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say_on_stderr(sentence: str) -> None:
    print(f"atlas: {sentence}", file=sys.stderr, flush=True)
