#!/bin/bash
# What is too long for every change: new random sequences, long soaks, fuzzers with a corpus that grows
# from night to night, machines that are emulated. docs/testing.md tells what each step is for.
# Usage: nightly.sh [-H HOURS] [STEP...]    Steps: see below; without any, all of them, in this order.
# HOURS (8) are shared by the steps that can go on as long as one likes; kills, bypass, vm and arm take
# what they take, about two hours in all. Root is needed from interop on.
# One line for each step; the last line is "N passed, N failed", and the exit status 0 only if nothing
# failed. Logs are kept in build/nightly-logs, corpora in build/nightly-corpus.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$root" || exit 1
logs=$root/build/nightly-logs
corpora=$root/build/nightly-corpus
python=/usr/bin/python3
hours=8
passed=0
failed=0

while getopts H: option; do
    [ "$option" = H ] || exit 2
    hours=$OPTARG
done
shift $((OPTIND - 1))
wanted=" $* "

# New sequences each night, and told, so that they can be had again.
night=$(($(date +%s) / 86400 % 4000))
first=$((night * 1000000))
export POLLUX_TEST_SEED=nightly-$night
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
# Clang 14's sanitizers cannot place their shadow where the kernel spreads mappings far.
plain=
if setarch -R true 2>/dev/null; then plain="setarch -R"; fi

# part PERCENT: the seconds that a step has of the hours.
part() { awk -v hours="$hours" -v percent="$1" 'BEGIN { printf "%d", hours * 36 * percent + 1 }'; }

# finish NAME STARTED PASSED FAILED LOG
finish() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    printf '%-22s %6d s  %6d passed  %3d failed\n' "$1" $((SECONDS - $2)) "$3" "$4"
    [ "$4" -eq 0 ] || { echo "---- the end of $5"; tail -n 40 "$5"; echo "----"; }
}

is_wanted() { [ -z "${wanted// /}" ] || [[ $wanted == *" $1 "* ]]; }

# counts LOG STATUS: "PASSED FAILED" of a program that closes with them, or one by its status.
counts() {
    local last
    last=$(tail -n 1 "$1")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        [ "$2" -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || { echo "${BASH_REMATCH[1]} 1"; return; }
        echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
    else
        echo "$(($2 == 0)) $(($2 != 0))"
    fi
}

# look_for_leaks PROGRAM...: not where ptrace is forbidden, by means of which they are found.
look_for_leaks() {
    if $plain "$@" 2>&1 | grep -q 'LeakSanitizer has encountered'; then
        echo "ptrace is forbidden here: leaks are not looked for"
        ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
    fi
}

# build DIRECTORY: whether it is built, as it is when a step first needs it.
declare -A built=()
build() {
    local dir=$1 started=$SECONDS log=$logs/$1.log
    case $dir in
        build) set -- gcc -Dtests=true ;;
        build-asan) set -- clang -Dsanitizer=address ;;
        build-tsan) set -- clang -Dsanitizer=thread ;;
        build-fuzz) set -- clang -Dfuzzing=true -Dsanitizer=address ;;
    esac
    [ -n "${built[$dir]:-}" ] || {
        built[$dir]=no
        { [ -f "$dir/build.ninja" ] || CC=$1 meson setup "$dir" . "${@:2}" >"$log" 2>&1; } &&
            meson configure "$dir" "${@:2}" >>"$log" 2>&1 && ninja -C "$dir" >>"$log" 2>&1 &&
            built[$dir]=yes
        if [ "${built[$dir]}" = no ]; then
            finish "$dir" "$started" 0 1 "$log"
        elif [ "$dir" = build-asan ]; then
            look_for_leaks build-asan/tests/net/run_pipe -n 1
        elif [ "$dir" = build-fuzz ]; then
            look_for_leaks build-fuzz/tests/fuzz/fuzz_glob -runs=1
        fi
    }
    [ "${built[$dir]}" = yes ]
}

# once NAME DIRECTORY SECONDS COMMAND...: a program that ends by itself; SECONDS is where it is cut
# off.
once() {
    local name=$1 limit=$3 log=$logs/$1.log started good bad status
    is_wanted "$name" && build "$2" || return 0
    started=$SECONDS
    shift 3
    $plain timeout -k 10 "$limit" "$@" >"$log" 2>&1
    status=$?
    read -r good bad < <(counts "$log" $status)
    finish "$name" "$started" "$good" "$bad" "$log"
}

# timed NAME DIRECTORY PERCENT COMMAND...: a program that is told by -d how long it may take.
timed() { once "$1" "$2" $(($(part "$3") + 1200)) "${@:4}" -d "$(part "$3")"; }

# again NAME DIRECTORY PERCENT COMMAND...: a program that runs over and over until the time is up, or
# it fails; an @ in an argument becomes a word that no other run has.
again() {
    local name=$1 log=$logs/$1.log started end runs=0 good bad status all_good=0 all_bad=0
    is_wanted "$name" && build "$2" || return 0
    started=$SECONDS
    end=$((SECONDS + $(part "$3")))
    shift 3
    while [ $runs -eq 0 ] || { [ $SECONDS -lt $end ] && [ $all_bad -eq 0 ]; }; do
        $plain timeout -k 10 3600 "${@//@/$night-$runs}" >"$log" 2>&1
        status=$?
        read -r good bad < <(counts "$log" $status)
        all_good=$((all_good + good))
        all_bad=$((all_bad + bad))
        runs=$((runs + 1))
    done
    finish "$name" "$started" $all_good $all_bad "$log"
}

closing() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit $?
}
trap closing EXIT

tools/install.sh test || { failed=1; exit; }
mkdir -p "$logs" "$corpora"
echo "night $night: seeds from $first, POLLUX_TEST_SEED=$POLLUX_TEST_SEED"

timed pipe build 8 build/tests/net/run_pipe -s "$first"
timed pipe-asan build-asan 6 build-asan/tests/net/run_pipe -s $((first + 900000))
timed soak build 8 build/tests/net/run_soak -H 24 -s "$first"
timed soak-asan build-asan 6 build-asan/tests/net/run_soak -H 24 -s $((first + 500000))
targets=(tests/fuzz/fuzz_*.c)
for source in "${targets[@]}"; do
    target=${source##*/fuzz_}
    target=${target%.c}
    seconds=$(($(part 32) / ${#targets[@]} + 1))
    corpus=()
    [ -d "tests/fuzz/corpus/$target" ] && corpus=("$root/tests/fuzz/corpus/$target")
    [[ $wanted != *" fuzz "* ]] || wanted="$wanted fuzz-$target "
    once "fuzz-$target" build-fuzz $((seconds + 600)) tests/fuzz/smoke.sh \
        "build-fuzz/tests/fuzz/fuzz_$target" "$corpora/$target" -max_total_time=$seconds \
        -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 "${corpus[@]}"
done
again stress build-tsan 12 meson test -C build-tsan --no-rebuild --print-errorlogs --suite stress
again integration build 6 $python tests/integration/run.py --server build/polluxd
again differential build 10 $python tests/differential/run.py --server build/polluxd --seed @
again hostile build 6 $python tests/hostile/run.py --server build/polluxd
again interop build 6 $python tests/interop/run.py --server build/polluxd
once kills build 7200 $python tests/interop/kills.py --server build/polluxd --kills 30
once memif-kills build 7200 $python tests/interop/memif_kills.py --server build/polluxd \
    --kills 150 --load build/tools/pollux-bench/pollux-bench
once bypass build 7200 $python tests/bench/bypass.py --build build --rounds 9 --minutes 60 \
    --json "$logs/bypass.json"
once vm build 10800 $python tests/vm/run.py --build build
once arm build 10800 tests/arm/run.sh
