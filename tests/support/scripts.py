"""Small real programs for tests of process handling: `script(path, body)` makes the command that runs one."""

import sys
from pathlib import Path
from textwrap import dedent

UNTIL_ASKED = """
    import signal, sys, time
    from pathlib import Path
    diary = Path(sys.argv[1])
    def note(word):
        with diary.open("a") as file:
            file.write(word + "\\n")
    def stop(*_):
        note(f"{sys.argv[2]} stops")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    note(f"{sys.argv[2]} runs")
    while True:
        time.sleep(0.05)
"""


def script(path: Path, body: str, *arguments: str) -> tuple[str, ...]:
    """Writes `body` to `path`; the command runs it without site packages, so that it starts in milliseconds."""
    path.write_text(dedent(body))
    return (sys.executable, "-I", "-S", str(path), *arguments)
