#!/bin/sh
# Installs the Debian packages that are missing, and nothing if none is.
# Usage: install.sh run|test    run: to build and start the server; test: also what the tests need.
set -u

run_packages="gcc libc6-dev meson ninja-build pkg-config liburing-dev libjemalloc-dev libnuma-dev
libxxhash-dev libssl-dev libsystemd-dev libdpdk-dev"
test_packages="clang libclang-rt-14-dev libcriterion-dev redis-server redis-tools python3
python3-redis valgrind iproute2 iptables"

case "${1:-run}" in
run) wanted=$run_packages ;;
test)
    wanted="$run_packages $test_packages"
    # A node that did not come from Debian serves as well, and conflicts with Debian's.
    command -v node >/dev/null || wanted="$wanted nodejs"
    command -v npm >/dev/null || wanted="$wanted npm"
    ;;
*)
    echo "usage: $0 run|test" >&2
    exit 2
    ;;
esac

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: missing packages:$missing; run this as root (sudo) to install them" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp) || exit 1
policy=
trap 'rm -f "$log" $policy' EXIT

# Debian starts a redis-server on port 6379 as soon as it is installed. The tests want the program
# and no service, and the port is the one of tools/run.sh: refuse starts while we install.
case "$missing " in
*" redis-server "*)
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    ;;
esac

echo "install.sh: installing$missing"
# The list is meant to be split; apt-get is quiet unless it fails.
# shellcheck disable=SC2086
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "install.sh: apt-get could not install:$missing" >&2
    exit 1
fi
if [ -n "$policy" ] && [ -d /run/systemd/system ]; then
    systemctl disable --quiet redis-server.service &&
        echo "install.sh: redis-server is installed for the tests and not enabled as a service"
fi
exit 0
