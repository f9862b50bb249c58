#!/usr/bin/env bash
# Sets everything up, then lint, types and tests. Arguments go to pytest; --full runs the long sweeps, too.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh gcc libc6-dev mosquitto mosquitto-clients postgresql chromium tshark
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# The tests wait more than they compute; a file stays with one worker, since its tests share servers.
.venv/bin/python -m pytest -n 2 --dist loadfile "$@"
