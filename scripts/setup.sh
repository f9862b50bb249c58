#!/usr/bin/env bash
# Makes .venv with cloudsim in it; as root, installs missing Debian packages first.
# usage: scripts/setup.sh [Debian package ...]   (more packages than Python itself, e.g. for the tests)
set -euo pipefail
cd "$(dirname "$0")/.."

log() { printf 'setup: %s\n' "$*" >&2; }

missing=()
python=${PYTHON:-python3}
command -v "$python" >/dev/null || missing+=(python3)
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
# The C core needs the interpreter's headers; without them its Python twin is used, but the tests want both.
if (($#)) && ! "$python" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
    2>/dev/null; then
    missing+=(python3-dev)
fi
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        log "missing Debian packages: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
        exit 1
    fi
    log "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    log "$python is $("$python" -V 2>&1); Python 3.11 or later is needed (set PYTHON to choose one)"
    exit 1
fi

# The stamp names what the environment was made from: this place, this interpreter, these requirements, the C
# core and whether there is a compiler for it.
stamp=$({ pwd; "$python" -V; command -v "${CC:-cc}" || true; cat pyproject.toml setup.py \
    cloudsdk/ota/codecs/{build_core.py,calls.c,core.c,core.h}; } | sha256sum)
if [[ ! -f .venv/stamp || "$(<.venv/stamp)" != "$stamp" ]]; then
    log "making .venv"
    if [[ ! -x .venv/bin/python || "$(.venv/bin/python -V)" != "$("$python" -V)" ]]; then
        "$python" -m venv --clear .venv
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' >&2
    printf '%s' "$stamp" >.venv/stamp
fi
