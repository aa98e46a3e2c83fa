#!/bin/bash
# Builds Pollux for 64-bit ARM and runs what an emulator of one process can run: packet scripts, the
# lossy pipe, and the differential suite against ARM's own redis-server (its long double is wider, so
# INCRBYFLOAT rounds otherwise than on x86). Criterion and io_uring do not start in the emulator; it
# orders memory as this machine does, so it shows nothing about ordering between cores.
# Usage: run.sh [DIRECTORY]    as root: installs a cross compiler and an emulator; the libraries go
# into DIRECTORY (default build-arm64), nowhere else. The last line reads "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mkdir -p "${1:-$root/build-arm64}" && cd "${1:-$root/build-arm64}" && pwd)
sysroot=$dir/sysroot
libraries="libc6-dev liburing-dev libjemalloc-dev libnuma-dev libxxhash-dev libssl-dev libsystemd-dev
libdpdk-dev libcriterion-dev redis-server"

step() { echo "== $*"; }

step "cross compiler and emulator"
command -v aarch64-linux-gnu-gcc qemu-aarch64 >/dev/null ||
    apt-get install -y -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
"$root/tools/install.sh" test

# A package list of its own: this machine's own architecture and packages stay as they are.
apt_arm() {
    apt-get -qq -o Dir::State="$dir/apt" -o Dir::State::status="$dir/apt/status" \
        -o Dir::Cache="$dir/apt/cache" -o APT::Architecture=arm64 -o APT::Architectures::=arm64 "$@"
}

if [ ! -x "$sysroot/usr/bin/redis-server" ]; then
    step "libraries"
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$sysroot"
    touch "$dir/apt/status"
    apt_arm update
    # The list is meant to be split.
    # shellcheck disable=SC2086
    apt_arm install -y --no-install-recommends --download-only $libraries
    for package in "$dir"/apt/cache/archives/*.deb; do dpkg -x "$package" "$sysroot"; done
fi

cat >"$dir/cross.txt" <<END
[binaries]
c = ['aarch64-linux-gnu-gcc', '--sysroot=$sysroot']
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', '$sysroot']
[properties]
sys_root = '$sysroot'
pkg_config_libdir = '$sysroot/usr/lib/aarch64-linux-gnu/pkgconfig:$sysroot/usr/share/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END

# emulated PROGRAM NAME: a command that runs an ARM program.
emulated() {
    printf '#!/bin/bash\nexec qemu-aarch64 -0 %s -L %s %s "$@"\n' "$2" "$sysroot" "$1" >"$dir/$2"
    chmod +x "$dir/$2"
}

step "build"
[ -f "$dir/build/build.ninja" ] ||
    meson setup "$dir/build" "$root" --cross-file "$dir/cross.txt" -Dtests=true >"$dir/setup.log"
ninja -C "$dir/build" polluxd tests/net/run_scripts tests/net/run_pipe >"$dir/build.log"
emulated "$dir/build/polluxd" polluxd
emulated "$sysroot/usr/bin/redis-server" redis-server

step "packet scripts, lossy pipe"
meson test -C "$dir/build" --no-rebuild --suite net --timeout-multiplier 10
step "differential suite"
"$root/tests/differential/run.py" --server "$dir/polluxd" --redis "$dir/redis-server" \
    --drivers epoll --timeout 30 --quick
