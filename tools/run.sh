#!/bin/sh
# Installs what is missing, builds the release build and runs the server in the foreground.
# Usage: run.sh [file] [--directive value ...]    Arguments go to polluxd: run.sh --port 7000
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1

"$root/tools/install.sh" run || exit 1

if [ ! -f "$root/build/build.ninja" ]; then
    meson setup "$root/build" "$root" -Dtests=false >"$root/.setup.log" 2>&1 || {
        cat "$root/.setup.log" >&2
        rm -f "$root/.setup.log"
        echo "run.sh: meson could not set up $root/build" >&2
        exit 1
    }
    rm -f "$root/.setup.log"
fi
ninja -C "$root/build" --quiet polluxd || {
    echo "run.sh: the build failed" >&2
    exit 1
}

# The port that counts is the last one named; with a file, polluxd alone knows.
port=6379
previous=
for argument in "$@"; do
    case "$previous" in --port) port=$argument ;; esac
    previous=$argument
done
case "${1:---}" in
--*)
    # Column 2 of /proc/net/tcp* is the local address, column 4 the state: 0A listens.
    hex=$(printf '%04X' "$port" 2>/dev/null) || hex=none
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v hex="$hex" '$4 == "0A" && $2 ~ ":" hex "$" { found = 1 } END { exit !found }'; then
        echo "run.sh: port $port is taken (a redis-server?); stop it, or name another: $0 --port 7000" >&2
        exit 1
    fi
    ;;
esac
exec "$root/build/polluxd" "$@"
