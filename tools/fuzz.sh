#!/usr/bin/env bash
# The long fuzzing runs: tools/fuzz.sh MINUTES [NAME...]. First mutated events judged by an independent parser, then
# libFuzzer with sanitizers on every harness (or the named ones), MINUTES each, starting from its seeds, the corpus in
# tests/fuzz/corpus/NAME and what earlier runs found. What it finds stays in build/fuzz/.
# With KEEP=1 what reaches new code is added to tests/fuzz/corpus/NAME (inputs up to 2 KB, the smallest that do).
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-10}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "usage: tools/fuzz.sh MINUTES [NAME...]" >&2; exit 2; }
shift || true
jobs=${JOBS:-$(nproc)}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DBL_FUZZ=ON -DBL_TESTS=ON \
    -DBL_SANITIZE=address,undefined >/dev/null
names=${*:-$(ninja -C build/fuzz -t targets all | sed -nE 's/^libfuzzer_([a-z0-9_]+): phony$/\1/p' | sort -u)}
[ -n "$names" ] || { echo "fuzz: no harness found" >&2; exit 1; }
targets=fuzz_decode
for name in $names; do targets="$targets fuzz_$name libfuzzer_$name"; done
# shellcheck disable=SC2086
cmake --build build/fuzz -j "$jobs" --target $targets -- --quiet

if [ $# = 0 ]; then
    echo "fuzz: 1,000,000 mutated events, judged by jansson"
    build/fuzz/tests/fuzz/fuzz_decode 1000000
fi
# Each uses one core; as many run side by side as there are.
fuzz_one() {
    set -euo pipefail
    local name=$1 corpus=build/fuzz/corpus/$1 kept=tests/fuzz/corpus/$1
    mkdir -p "$corpus" "$kept"
    if [ "$name" = decode ]; then
        split -l 1 -a 4 tests/fixtures/events.ndjson "$corpus/fixture-"
    else
        build/fuzz/tests/fuzz/fuzz_"$name" --seeds "$corpus"
    fi
    build/fuzz/tests/fuzz/libfuzzer_"$name" -max_total_time=$((minutes * 60)) -max_len=16384 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix=build/fuzz/ "$corpus" "$kept" >build/fuzz/"$name".log 2>&1 ||
        { tail -n 60 build/fuzz/"$name".log; exit 1; }
    echo "fuzz: $name: $(grep -E '^Done [0-9]+ runs' build/fuzz/"$name".log), nothing found"
    if [ "${KEEP:-0}" = 1 ]; then
        build/fuzz/tests/fuzz/libfuzzer_"$name" -merge=1 -max_len=2048 "$kept" "$corpus" >build/fuzz/"$name"-merge.log 2>&1
    fi
}
export -f fuzz_one
export minutes
# shellcheck disable=SC2086
printf '%s\n' $names | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}'
echo "fuzz: nothing found"
