#!/usr/bin/env bash
# Sets everything up and runs the main job. Arguments go to `cloudsim demo`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/scripts/setup.sh"
exec "$root/.venv/bin/cloudsim" demo "$@"
