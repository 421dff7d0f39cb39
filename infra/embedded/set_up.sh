#!/bin/sh
# Create .venv with Python 3.11 or newer, and install the packages of a lock file: sh infra/embedded/set_up.sh LOCK
set -eu
lock=$1

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# `python -m venv` installs pip last, so an interrupted one leaves a Python without pip, or with a part of pip.
has_pip() {
  "$1" -m pip --version >/dev/null 2>&1
}

if ! is_new_enough .venv/bin/python || ! has_pip .venv/bin/python; then
  for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then
      python=$candidate
      break
    fi
  done
  if [ -z "${python:-}" ]; then
    echo "error: Python 3.11 or newer is required; found $(python3 --version 2>&1 || echo none). Install Python, or set PYTHON to its path." >&2
    exit 1
  fi
  echo "creating .venv with $("$python" --version)"
  rm -rf .venv
  if ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "error: this Python cannot create a virtual environment; on Debian, install it with: apt install python3-venv" >&2
    exit 1
  fi
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock"
# Install the command `dropzone` from this checkout. The lock contains its dependencies and the build backend.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
