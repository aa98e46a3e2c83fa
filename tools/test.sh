#!/bin/bash
# Installs what is missing, builds every variant and runs every test.
# The last line is "N passed, N failed"; the exit status is 0 only if nothing failed.
# Usage: test.sh    Logs are kept in build/test-logs.
# Random sequences follow POLLUX_TEST_SEED, by default the commit: one that passed passes again, and
# each has sequences of its own.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$root" || exit 1
logs=$root/build/test-logs
python=/usr/bin/python3
passed=0
failed=0
declare -A broken=()  # build directories that could not be built

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

if [ -z "${POLLUX_TEST_SEED:-}" ]; then
    POLLUX_TEST_SEED=$(git rev-parse --short=12 HEAD 2>/dev/null) || POLLUX_TEST_SEED=$RANDOM$RANDOM
fi
export POLLUX_TEST_SEED

# finish NAME STARTED PASSED FAILED [LOG]: one line for the step, and its log where it failed.
finish() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    printf '%-34s %5d s  %5d passed  %3d failed\n' "$1" $((SECONDS - $2)) "$3" "$4"
    if [ "$4" -gt 0 ] && [ -n "${5:-}" ]; then
        echo "---- the end of $5"
        tail -n 60 "$5"
        echo "----"
    fi
}

# build NAME DIRECTORY COMPILER OPTIONS...: sets up and builds; a failure counts as one.
build() {
    local name=$1 dir=$2 compiler=$3 started=$SECONDS log
    shift 3
    log=$logs/${name// /-}.log
    if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" "$@" >"$log" 2>&1
    else
        CC=$compiler meson setup "$dir" . "$@" >"$log" 2>&1
    fi && ninja -C "$dir" >>"$log" 2>&1 && {
        finish "$name" "$started" 0 0
        return
    }
    broken[$dir]=1
    finish "$name" "$started" 0 1 "$log"
}

# unbuilt NAME DIRECTORY: whether the step has nothing to run; it counts as failed then.
unbuilt() {
    [ -n "${broken[$2]:-}" ] || return 1
    echo "$1: not run, $2 could not be built"
    finish "$1" "$SECONDS" 0 1
}

# keep_log LOG: of a first attempt, beside the second's; its failures are shown at once.
keep_log() {
    cp "$1" "${1%.log}.first.log"
    grep -E '^(FAIL|FAILED|DIFFERENCE|\[FAIL\])|FAIL  ' "$1" | head -n 10
    return 0
}

# again NAME STARTED COMMAND: whether a step that failed runs once more. Its sequences are the same, so a
# difference stays one; what only the machine's other work brought about goes. What passes then is
# named in the end, for it wants a look. A program with --retry has done so itself.
again() {
    [[ $3 != *--retry* ]] || return 1
    [ $((2 * SECONDS - $2)) -lt $AGAIN_UNTIL ] || return 1
    echo "$1: failed, and runs once more"
    unsteady_steps="$unsteady_steps $1;"
}

# step NAME HOW COUNTED COMMAND...: runs it and counts its cases: tally.py HOW COUNTED.
step() {
    local name=$1 how=$2 counted=$3 started=$SECONDS log=$logs/${1// /-}.log status attempt retried
    shift 3
    local command=("$@")
    for attempt in 1 2; do
        rm -f "$counted"
        $plain timeout -k 10 1500 "${command[@]}" >"$log" 2>&1
        status=$?
        # shellcheck disable=SC2046
        set -- $($python tests/tally.py "$how" "$counted" || echo 0 1)
        [ $status -eq 0 ] || [ "$2" -gt 0 ] || set -- "$1" 1
        if [ "$2" -eq 0 ] || [ $attempt -eq 2 ]; then break; fi
        keep_log "$log"
        again "$name" "$started" "${command[*]}" || break
    done
    retried=$(sed -n 's/^passed at the second attempt: //p' "$log")
    [ -z "$retried" ] || unsteady_steps="$unsteady_steps $name: $retried;"
    finish "$name" "$started" "$1" "$2" "$log"
}

# meson_suites NAME DIRECTORY SUITE...: tests that Meson knows.
meson_suites() {
    local name=$1 dir=$2 suite arguments=()
    shift 2
    unbuilt "$name" "$dir" && return
    for suite in "$@"; do arguments+=(--suite "$suite"); done
    step "$name" meson "$dir/meson-logs/testlog.json" \
        meson test -C "$dir" --no-rebuild --print-errorlogs "${arguments[@]}"
}

# program NAME DIRECTORY SCRIPT ARGUMENTS...: a Python program that closes with its own counts.
program() {
    local name=$1 dir=$2 script=$3
    shift 3
    unbuilt "$name" "$dir" && return
    step "$name" lines "$logs/${name// /-}.log" $python "$script" --server "$root/$dir/polluxd" "$@"
}

# A step that failed is not run again where it would end later than that, seconds.
AGAIN_UNTIL=2400
unsteady_steps=

# The last line comes whatever happens; ending before the last step is a failure.
complete=
closing() {
    [ -n "$complete" ] || failed=$((failed + 1))
    [ -z "$unsteady_steps" ] || echo "failed at first, see build/test-logs/*.first.log:$unsteady_steps"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit $?
}
trap closing EXIT

tools/install.sh test || exit 1
echo "POLLUX_TEST_SEED=$POLLUX_TEST_SEED"
mkdir -p build
# Clang 14's TSan cannot place its shadow where the kernel spreads mappings over more than 28 bits.
plain=
bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)
if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then plain="setarch -R"; fi

mkdir -p "$logs"
build 'build release' build gcc -Dtests=true -Dlto=true
build 'build asan' build-asan clang -Dsanitizer=address
build 'build tsan' build-tsan clang -Dsanitizer=thread
build 'build fuzz' build-fuzz clang -Dfuzzing=true -Dsanitizer=address
build 'build without dpdk' build-nodpdk clang -Ddpdk=disabled -Dbuildtype=debugoptimized

# Leaks are found by means of ptrace, which some containers forbid; the other findings need nothing.
if build-asan/tests/unit/unit_config_words --list 2>&1 | grep -q 'LeakSanitizer has encountered'; then
    echo "test.sh: ptrace is forbidden here: leaks are not looked for"
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
fi

meson_suites 'unit release' build rooms unit
meson_suites 'bench' build bench
meson_suites 'unit asan' build-asan unit
meson_suites 'unit without dpdk' build-nodpdk unit net
meson_suites 'tools' build tools
meson_suites 'net release' build net
meson_suites 'net asan' build-asan net
meson_suites 'stress tsan' build-tsan stress
meson_suites 'fuzz smoke' build-fuzz fuzz-smoke
program 'integration' build tests/integration/run.py --quick --retry
program 'differential selftest' build tests/differential/selftest.py
program 'differential' build tests/differential/run.py
program 'hostile' build tests/hostile/run.py --retry
program 'integration af_xdp' build tests/integration/run.py --drivers af_xdp --quick --retry
program 'differential af_xdp' build tests/differential/run.py --drivers af_xdp --workers 1,4
program 'interop' build tests/interop/run.py
program 'interop cleanup' build tests/interop/cleanup.py
program 'interop kernel path' build tests/interop/kernel_path.py
program 'interop kernel ports' build tests/interop/kernel_ports.py
program 'interop kernel traffic' build tests/interop/kernel_traffic.py
program 'interop mtu' build tests/interop/mtu.py
program 'interop offloads' build tests/interop/offloads.py
program 'interop queues' build tests/interop/queues.py
program 'interop kills' build tests/interop/kills.py --kills 3
program 'interop unprivileged' build tests/interop/unprivileged.py \
    --load build/tools/pollux-bench/pollux-bench
program 'interop memif kills' build tests/interop/memif_kills.py --kills 15 \
    --load build/tools/pollux-bench/pollux-bench
program 'integration asan' build-asan tests/integration/run.py --quick --patience 4 --retry
program 'hostile asan' build-asan tests/hostile/run.py --quick --patience 4 --retry
program 'integration tsan' build-tsan tests/integration/run.py --quick --patience 4 --retry

complete=yes
