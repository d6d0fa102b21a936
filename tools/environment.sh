#!/bin/sh
# Makes the Python environment in the folder given: everything locked with hashes, and this project, editable.
set -eu
folder=$1

for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && found=$python && break
done
if [ -z "${found:-}" ]; then
  echo "Error: Python 3.11 or newer was not found; install it, or name it: make PYTHON=/path/to/python3.11" >&2
  exit 2
fi

# Debian ships Python without the parts that make environments.
if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's python3-venv ..."
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
  else
    echo "Error: $found cannot make environments; install Debian's python3-venv (as root: apt-get install python3-venv)" >&2
    exit 2
  fi
fi

# An environment of another Python, or one that was left half made, is made anew.
"$folder/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf "$folder"
[ -x "$folder/bin/pip" ] || { echo "Making the Python environment in $folder ..."; "$found" -m venv --clear "$folder"; }
echo "Installing locked requirements (a minute or two the first time) ..."
"$folder/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
"$folder/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
