"""`python -m tests.support.second_try`: what failed in the last run is run once more, alone, in the current directory.

Prints `FLAKY <test>` in its last lines for each test that passed now. Ends 0 when all passed, otherwise not: also when
a test did not run, or when the last run failed without a test that failed.
"""

import json
import re
import sys
from pathlib import Path

import pytest

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
GROUP = re.compile(r"@[^\]@]+$")
"""What xdist adds to the names of tests that run on one worker; without it pytest does not find them again."""


class Outcomes:
    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)


def failed_before() -> list[str]:
    known = json.loads(LAST_FAILED.read_text()) if LAST_FAILED.exists() else {}
    return sorted(GROUP.sub("", name) for name in known)


def main() -> int:
    names = failed_before()
    if not names:
        print("atlas: the run failed, and no test of it did", file=sys.stderr)
        return 1
    print("atlas: once more, one at a time: the tests that failed", file=sys.stderr)
    outcomes = Outcomes()
    code = pytest.main(["-n", "0", *names], plugins=[outcomes])
    flaky = outcomes.passed - outcomes.failed
    for name in sorted(names, key=flaky.__contains__):
        print(f"{'FLAKY' if name in flaky else 'FAILED'} {name}")
    return int(code) or int(not flaky.issuperset(names))


if __name__ == "__main__":
    sys.exit(main())
