#!/bin/sh
# pytest 9.2.0 with pytest-xdist 3.8.0, both the newest: `--dist loadgroup` no longer keeps a group on one worker. Nothing
# warns: the option is taken, `xdist_group` is a known mark, all tests pass. A fixture of a module or session that is
# dear (a broker, a database) is then made on every worker, and tests that must not run side by side do.
# The group travels in the test's id (`…@group`), which xdist writes into a private attribute that pytest 9.2 no longer
# reads. With pytest 9.1.1 the same tests stay together.
#
# Seen, 40 tests of one group on two workers:
#   pytest 9.1.1: the group ran on 1 worker
#   pytest 9.2.0: the group ran on 2 workers
# Ends 0 while that is so, 1 when it has changed, 2 when it could not be tried.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tests"
cat > "$folder/tests/test_one_group.py" <<'TESTS'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(40))
def test_of_the_group(number):
    time.sleep(0.02)
    with open(os.environ["RAN_ON"], "a") as ran_on:
        ran_on.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
TESTS
python3 -m venv "$folder/venv" || exit 2
workers() {
    "$folder/venv/bin/pip" install --quiet "pytest==$1" pytest-xdist==3.8.0 || exit 2
    RAN_ON="$folder/ran-on-$1" "$folder/venv/bin/python" -m pytest -q -n 2 --dist loadgroup -p no:cacheprovider \
        "$folder/tests" > "$folder/said-$1" || { cat "$folder/said-$1"; exit 2; }
    sort -u "$folder/ran-on-$1" | wc -l | tr -d ' '
}
before=$(workers 9.1.1)
now=$(workers 9.2.0)
echo "pytest 9.1.1: the group ran on $before worker(s)"
echo "pytest 9.2.0: the group ran on $now worker(s)"
[ "$before" = 1 ] && [ "$now" = 2 ]
