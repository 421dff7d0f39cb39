#!/bin/sh
# Make .venv with a Python that is new enough, and install a lock into it: `sh infra/embedded/set_up.sh LOCK`.
set -eu
lock=$1

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if ! new_enough .venv/bin/python; then
  for python in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if new_enough "$python"; then
      found=$python
      break
    fi
  done
  if [ -z "${found:-}" ]; then
    echo "Python 3.11 or newer is needed; this machine has $(python3 --version 2>&1 || echo none)." >&2
    exit 1
  fi
  echo "setting up .venv with $("$found" --version)"
  rm -rf .venv
  if ! "$found" -m venv .venv; then
    rm -rf .venv
    echo "This Python cannot make a virtual environment; on Debian: apt install python3-venv." >&2
    exit 1
  fi
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
# The command `dropzone`, from this checkout; what it needs and what builds it are in the lock.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
