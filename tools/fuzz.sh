#!/usr/bin/env bash
# The long fuzzing runs: tools/fuzz.sh MINUTES. First mutated events judged by an independent parser, then libFuzzer with
# sanitizers on the same check, MINUTES for each harness. What it finds stays in build/fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-10}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "usage: tools/fuzz.sh MINUTES" >&2; exit 2; }
jobs=${JOBS:-$(nproc)}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DBL_FUZZ=ON -DBL_TESTS=ON \
    -DBL_SANITIZE=address,undefined >/dev/null
harnesses=$(ninja -C build/fuzz -t targets all | sed -nE 's/^(libfuzzer_[a-z0-9_]+): phony$/\1/p' | sort -u)
[ -n "$harnesses" ] || { echo "fuzz: no harness found" >&2; exit 1; }
# shellcheck disable=SC2086
cmake --build build/fuzz -j "$jobs" --target fuzz_decode $harnesses -- --quiet

echo "fuzz: 1,000,000 mutated events, judged by jansson"
build/fuzz/tests/fuzz/fuzz_decode 1000000
for harness in $harnesses; do
    echo "fuzz: $harness for $minutes min"
    corpus=build/fuzz/corpus/$harness
    mkdir -p "$corpus"
    split -l 1 -a 4 tests/fixtures/events.ndjson "$corpus/fixture-"
    build/fuzz/tests/fuzz/"$harness" -max_total_time=$((minutes * 60)) -max_len=16384 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix=build/fuzz/ "$corpus" 2>&1 | tail -n 12
done
echo "fuzz: nothing found"
