#!/usr/bin/env bash
# Every test but the long ones: `make test`, after its set-up. Goes on after a failure, so that all failures are seen.
# The last lines name what passed only at the second try, count what was skipped, and sum the cases of every step: "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
release=build/release asan=build/asan
log=$(mktemp) soak_log=$(mktemp) soak=
trap '[ -z "$soak" ] || kill -INT "$soak"; rm -f "$log" "$soak_log"' EXIT
passed=0 failed=0 skipped=0 again=()

# Debian's own pytest and its xdist stand behind /usr/bin/python3, which need not be the first in PATH.
python=/usr/bin/python3
# End-to-end cases wait more than they compute: two a core.
workers=$((2 * jobs))

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# join SEPARATOR WORD...
join() {
    local text=$2 word
    for word in "${@:3}"; do text+=$1$word; done
    printf '%s' "$text"
}
count() {
    passed=$((passed + ${1:-0}))
    failed=$((failed + ${2:-0}))
}
verdict() {
    case $1 in 0) echo ok ;; 77) echo SKIPPED ;; *) echo FAILED ;; esac
}
# step HEADING COUNTER COMMAND...: COUNTER reads the command's output in $log and its exit code, and adds to the sums.
step() {
    local heading=$1 counter=$2 start=$SECONDS code=0
    shift 2
    printf '\n== %s\n' "$heading"
    "$@" >"$log" 2>&1 || code=$?
    "$counter" $code
    printf '== %s: %s (%d s)\n' "$heading" "$(verdict $code)" $((SECONDS - start))
    return $code
}
# skip N: these cases did not run; the step says why.
skip() {
    skipped=$((skipped + ${1:-0}))
}
# passed_again NAME...: these failed at first.
passed_again() {
    again+=("$@")
}
# One case a step; its output is of interest only when it fails, but for its last line.
count_one() {
    if [ "$1" = 0 ]; then
        tail -n 1 "$log"
        count 1 0
    else
        tail -n 60 "$log"
        count 0 1
    fi
}
# Exit code 77: not possible here, and the last line says why.
count_where_possible() {
    if [ "$1" = 77 ]; then
        tail -n 1 "$log"
        skip 1
    else
        count_one "$1"
    fi
}
# A build is no test case, unless it fails.
count_build() {
    [ "$1" = 0 ] && return
    grep -E 'error|warning|FAILED' "$log" || tail -n 60 "$log"
    count 0 1
}
# "97% tests passed, 1 tests failed out of 31"
count_ctest() {
    local line all bad
    line=$(grep -E 'tests passed, [0-9]+ tests failed out of' "$log" | tail -n 1)
    all=$(sed -nE 's/.*out of ([0-9]+).*/\1/p' <<<"$line")
    bad=$(sed -nE 's/.* ([0-9]+) tests failed.*/\1/p' <<<"$line")
    if [ "$1" = 0 ]; then
        echo "$line"
    else
        tail -n 200 "$log"
    fi
    count $((${all:-0} - ${bad:-0})) "${bad:-0}"
    [ "$1" != 0 ] && [ "${bad:-0}" = 0 ] && count 0 1 # it did not even start
    ctest_details
}
ctest_details() {
    local folder bad_names names cases
    folder=$(sed -nE 's/^Test project //p' "$log" | head -n 1)
    bad_names=$(sed -nE '/The following tests FAILED/,$s/^[[:space:]]+[0-9]+ - ([^ ]+) .*/\1/p' "$log")
    names=$(sed -nE 's/.*Test +#[0-9]+: ([^ ]+) .*\*\*\*(Failed|Timeout|Exception).*/\1/p' "$log" | sort -u | grep -vxF "${bad_names:--}")
    [ -z "$names" ] || passed_again $names
    # Cases within a test program; those that skip say of themselves what they lack.
    cases=$(grep -aoE '^\[  SKIPPED \] [A-Za-z_][A-Za-z0-9_]*$' "$folder/Testing/Temporary/LastTest.log" 2>/dev/null | sort -u)
    [ -z "$cases" ] || echo "$cases"
    skip "$(grep -c . <<<"$cases")"
}
# "1 failed, 42 passed, 2 skipped, 1 error in 28.54s"
count_pytest() {
    local line good bad errors twice
    line=$(grep -E '^(=+ )?[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s' "$log" | tail -n 1)
    good=$(sed -nE 's/.*\b([0-9]+) passed.*/\1/p' <<<"$line")
    bad=$(sed -nE 's/.*\b([0-9]+) failed.*/\1/p' <<<"$line")
    errors=$(sed -nE 's/.*\b([0-9]+) errors?\b.*/\1/p' <<<"$line")
    [ "$1" = 0 ] || tail -n 120 "$log"
    echo "$line"
    grep '^SKIPPED ' "$log" | sort -u
    skip "$(sed -nE 's/.*\b([0-9]+) skipped.*/\1/p' <<<"$line")"
    twice=$(sed -n 's/^-- second try of //p' "$log")
    if [ "$1" = 0 ] && [ -n "$twice" ]; then
        readarray -t twice <<<"${twice// | /$'\n'}"
        passed_again "${twice[@]}"
    fi
    count "${good:-0}" $((${bad:-0} + ${errors:-0}))
    [ "$1" != 0 ] && [ $((${bad:-0} + ${errors:-0})) = 0 ] && count 0 1
    return 0
}

# The points tried, and their sum.
count_faults() {
    grep -E '^(crash matrix|fault sweep|chaos): ' "$log"
    count_pytest "$1"
}

build() {
    cmake -S . -B "$1" -G Ninja "${@:2}" && cmake --build "$1" -j "$jobs"
}
# A case that fails gets a second try, alone: these tests wait for real servers on machines that others use as well. What needed one is
# named at the end; a defect fails twice.
unit_tests() {
    ctest --test-dir "$1" --output-on-failure -j "$jobs" --repeat until-pass:2
}
end_to_end() {
    local pytest=($python -m pytest -q -rfEs -o cache_dir="$PWD/$1/pytest-cache" tests/e2e)
    export BLUELAKE=$PWD/$1/bluelake
    "${pytest[@]}" -n "$workers" --durations=5 "${@:2}" && return
    local first names
    first=$(grep -E '^(=+ )?[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s' "$log" | tail -n 1)
    readarray -t names < <(sed -nE 's/^(FAILED|ERROR) ([^ ]+).*/\2/p' "$log" | sort -u)
    [ -n "$first" ] && [ ${#names[@]} -le 5 ] || return 1
    printf '\n-- second try of %s\n' "$(join ' | ' "${names[@]}")"
    "${pytest[@]}" --last-failed "${@:2}" || return 1
    printf '%s passed, %s skipped in 0.0s\n' "$(($(sed -nE 's/.*\b([0-9]+) passed.*/\1/p' <<<"$first") + ${#names[@]}))" \
        "$(sed -nE 's/.*\b([0-9]+) skipped.*/\1/p;t;s/.*/0/p' <<<"$first")"
}
fault_test() {
    BLUELAKE=$PWD/$1/bluelake BL_BINARY=$PWD/$1/bluelake $python "tests/fault/$2" "${@:3}"
}
# The soak takes minutes and little of the machine: it runs beside the end-to-end tests.
begin_soak() {
    fault_test "$1" soak.py --minutes "${SOAK_MINUTES:-5}" --burst-seconds 30 --times-only-reported >"$soak_log" 2>&1 &
    soak=$!
}
end_soak() {
    local code=0
    wait "$soak" || code=$?
    soak=
    cat "$soak_log"
    return $code
}
# What the sanitizers see best end to end: the whole path, damaged input, the simulated network under supervision, strangers.
sanitized='value_for_value or dead_letters or collects_the_simulated or errors_name or hostile_corpus or torn_requests or get_their_names or holds_nobody_up or hangs_up_is'

step 'Rooms include only what lies below them' count_one tools/layers.py
step 'Style: the checker itself' count_one tools/style.py --self-test
step 'Style' count_one tools/style.py
step 'Headers' count_one tools/headers.sh
step 'The page' count_build tools/web.sh
if step 'Release build' count_build build $release -DCMAKE_BUILD_TYPE=Release -DBL_TESTS=ON; then
    step 'Generated pages' count_one tools/docs.sh --check
    step 'Unit tests, release' count_ctest unit_tests $release
    begin_soak $release
    step 'End to end, release' count_pytest end_to_end $release
    BLUELAKE=$PWD/$release/bluelake LIMIT=600 step 'The page in Chromium' count_pytest tests/web/run.sh
    step 'Capacity: 300,000 events, Redis and the writer killed' count_one \
        fault_test $release capacity.py --count 300000 --paced 0
    step "Soak: ${SOAK_MINUTES:-5} minutes at 100,000 events a minute, and a burst" count_one end_soak
fi
if step 'Build with crash points' count_build build build/faults -DCMAKE_BUILD_TYPE=Release -DBL_FAULTS=ON; then
    step 'Crash matrix, every point once' count_faults python3 tests/fault/matrix.py
    step 'Fault sweep, a sample' count_faults python3 tests/fault/sweep.py
    step 'Power cuts, two rounds' count_where_possible python3 tests/fault/powercut.py --rounds 2 --count 30000
    step 'Chaos, 40 s of storms' count_faults python3 tests/fault/chaos.py --seed 1 --minutes 0.7 --storm 8-14
fi
if step 'Build with address and undefined-behaviour sanitizers' count_build \
    build $asan -DCMAKE_BUILD_TYPE=Debug -DBL_TESTS=ON -DBL_SANITIZE=address,undefined; then
    BL_TEST_QUICK=1 step 'Unit tests, sanitizers' count_ctest unit_tests $asan
    step 'End to end, sanitizers' count_pytest end_to_end $asan -k "$sanitized"
fi

printf '\n%d s in all\n' $SECONDS
[ ${#again[@]} = 0 ] || printf 'passed at the second try: %s\n' "$(join ', ' "${again[@]}")"
[ $skipped = 0 ] || printf '%d skipped\n' $skipped
printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
