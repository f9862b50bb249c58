#!/usr/bin/env bash
# Fuzzes the codecs: the C core under AddressSanitizer and UBSan, then everything that reads a package with atheris.
# usage: scripts/fuzz.sh [--seconds N] [--core-only] [--seed N]
# FUZZ_CORE names another core.c (the tests plant faults in one), FUZZ_PYTHON another interpreter.
#   --seconds N    how long in all (default 60)
#   --core-only    the C core alone, which needs nothing but a C compiler
#   --seed N       where the mutations of the C core begin (default: the time)
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60 core_only=no seed=$(date +%s)
while (($#)); do
    case $1 in
    --seconds) seconds=${2:?--seconds takes a number} && shift 2 ;;
    --seed) seed=${2:?--seed takes a number} && shift 2 ;;
    --core-only) core_only=yes && shift ;;
    *) echo "fuzz: unknown argument $1; usage: scripts/fuzz.sh [--seconds N] [--core-only] [--seed N]" >&2 && exit 2 ;;
    esac
done
log() { printf 'fuzz: %s\n' "$*" >&2; }

python=${FUZZ_PYTHON:-.venv/bin/python}
compiler=${CC:-cc}
if ! command -v "${compiler%% *}" >/dev/null; then
    log "there is no C compiler ($compiler): install gcc, or set CC"
    exit 1
fi
if [[ $core_only = no ]] && ! "$python" -c 'import atheris' 2>/dev/null; then
    log "atheris is missing: $python -m pip install -e '.[fuzz]', or give --core-only"
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/packages"
"$python" tests/fuzz/fuzz_corpus.py "$work/corpus" "$work/packages"

# Unquoted on purpose: CC may carry options.
$compiler -std=c11 -O1 -g -Wall -Wextra -fsanitize=address,undefined -fno-sanitize-recover=all \
    -fno-omit-frame-pointer -Icloudsdk/ota/codecs tests/fuzz/fuzz_core.c "${FUZZ_CORE:-cloudsdk/ota/codecs/core.c}" -o "$work/fuzz_core"
core_seconds=$seconds
[[ $core_only = yes ]] || core_seconds=$((seconds / 2))
log "C core, seed $seed, $core_seconds s"
"$work/fuzz_core" "$work/corpus" "$core_seconds" "$seed"
[[ $core_only = no ]] || exit 0

targets=(header framing quicklz fastlz padding)
each=$(((seconds - core_seconds) / ${#targets[@]}))
((each > 0)) || each=1
for target in "${targets[@]}"; do
    log "atheris: $target, $each s"
    mkdir "$work/$target"
    if ! "$python" tests/fuzz/fuzz_packages.py "$target" -max_total_time="$each" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$work/" "$work/$target" "$work/packages" >"$work/log" 2>&1; then
        tail -40 "$work/log" >&2
        crash=$(find "$work" -maxdepth 1 \( -name 'crash-*' -o -name 'timeout-*' -o -name 'oom-*' \) -print -quit)
        [[ -z $crash ]] || { cp "$crash" . && log "the input is in ./$(basename "$crash")"; }
        exit 1
    fi
    grep -E '^(Done|#.*DONE)' "$work/log" | tail -1
done
