#!/bin/sh
# Makes or refreshes the virtual environment: ./deploy/local/setup.sh <directory>. Needs Python 3.11 or newer; says what it does.
# Every package comes from requirements.lock and must have the hash that stands there.
set -eu
cd "$(dirname "$0")/../.."
venv=$1

fail() { echo "atlas: $*" >&2; exit 1; }
is_new_enough() { command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }
may_install() { [ "$(id -u)" = 0 ] && command -v "$1" >/dev/null 2>&1; }

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        if is_new_enough "$python"; then echo "$python"; return; fi
    done
    if command -v apt-get >/dev/null 2>&1; then
        fail "Python 3.11 or newer is needed. Type: sudo apt-get update && sudo apt-get install -y python3.11 python3.11-venv"
    elif command -v dnf >/dev/null 2>&1; then
        fail "Python 3.11 or newer is needed. Type: sudo dnf install -y python3.11"
    fi
    fail "Python 3.11 or newer is needed: install it with your system's package manager, then try again."
}

make_venv() {
    if "$1" -c 'import ensurepip' 2>/dev/null; then
        "$1" -m venv --clear "$venv"
        return
    fi
    # Debian keeps this part of Python in a package of its own.
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    may_install apt-get || fail "$1 can't make virtual environments. Type: sudo apt-get update && sudo apt-get install -y $package"
    echo "atlas: installing $package" >&2
    apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" >/dev/null
    "$1" -m venv --clear "$venv"
}

if ! is_new_enough "$venv/bin/python"; then
    python=$(find_python)
    echo "atlas: making the virtual environment $venv with $("$python" --version)" >&2
    make_venv "$python"
fi
echo "atlas: installing the packages of requirements.lock (hashes checked)" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
echo "atlas: installing Atlas itself" >&2
PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
