#!/bin/sh
# pytest 9.1.1 with pytest-xdist 3.8.0: a failing test of a group (`--dist loadgroup`) is noted in pytest's cache under a name
# that pytest does not know again (`…@group`). `--last-failed` in one process then finds no test of that name and, where no
# other test had failed, runs all of them instead; where another one had, it runs that one alone and passes the group over
# in silence. A gate that runs failed tests again takes a test for mended that never ran.
#
# Seen, one failing test of a group beside a failing test of none, run by two workers, then again with `-n 0 --last-failed`:
#   first: 2 failed; again: 1 ran
# Ends 0 while that is so, 1 when it has changed, 2 when it could not be tried.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tests"
cat > "$folder/tests/test_two.py" <<'TESTS'
import pytest


@pytest.mark.xdist_group("one")
def test_of_the_group():
    assert False


def test_of_none():
    assert False
TESTS
python3 -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet pytest==9.1.1 pytest-xdist==3.8.0 || exit 2
cd "$folder"
failed() {
    venv/bin/python -m pytest -q "$@" tests > said 2>&1 || true
    sed -n 's/^.*[^0-9]*\([0-9][0-9]*\) failed.*$/\1/p' said | tail -1
}
first=$(failed -n 2 --dist loadgroup)
again=$(failed -n 0 --last-failed)
echo "first: $first failed; again: $again ran"
[ "$first" = 2 ] && [ "$again" = 1 ]
