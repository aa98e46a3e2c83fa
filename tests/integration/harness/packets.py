"""A server that drives an interface itself, for tests that were written for kernel sockets.

With --drivers af_xdp the runner lives in a network namespace of its own. Each server gets another
one and a veth pair between the two, on whose far end its workers poll AF_XDP queues; clients reach
it at an address of its own (`server.host`) instead of 127.0.0.1. A namespace ends with the process
that holds it, which dies with the runner: nothing stays behind.
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.append(os.path.join(ROOT, "tests", "interop"))  # behind all else: a run.py is there, too

from topology import Namespace  # noqa: E402  (the path must be set first)

DRIVER = "af_xdp"
INSIDE = "POLLUX_TEST_NAMESPACE"

SAME_CODE = "whatever the driver, the same code; left out to save time"
# Tests with 1 and with 4 workers: here the latter have some without a network, and stand for both.
WITH_FOUR = ("test_configure.", "test_process.")

# Tests (prefixes of their names) that are about kernel sockets or about what only those have.
NOT_APPLICABLE = {
    "test_listeners.": "addresses and ports of kernel sockets",
    "test_command_line.": "starts without a port of its own",
    "test_configure.test_port_in_use": "ports that others have taken are the kernel's",
    "test_configure.test_a_worker_that_cannot_listen": "addresses of kernel sockets",
    "test_configure.test_addresses_come_and_go": "addresses of kernel sockets",
    "test_configure.test_keepalive": "looks for connections in /proc/net/tcp",
    "test_configure.test_maxclients": "connections take no descriptors",
    "test_configure.test_epoll_takes_over": "starts a server with kernel sockets",
    "test_configure.test_failed_start_of_a_daemon": "ports that others have taken are the kernel's",
    "test_process.test_daemonize": "starts without a port of its own",
    "test_process.test_supervised_by_systemd_in_the_abstract_namespace":
        "abstract sockets do not lead out of a network namespace",
    "test_process.test_log_levels": SAME_CODE,
    "test_process.test_default_number_of_workers": SAME_CODE,
    "test_limits.test_few_descriptors": "connections take no descriptors",
    "test_limits.test_far_too_few_descriptors": "connections take no descriptors",
    "test_limits.test_soft_limit": "connections take no descriptors",
    "test_idle.": "workers that poll are not idle",
    "test_config.test_protected_settings": "no client is local",
    "test_config.test_rewrite_round_trip": "starts a server from a file, without a port of its own",
    "test_slots.test_workers_that_sleep_tell_no_gaps": "workers that poll do not sleep",
    "test_watchdog.test_a_worker_that_hangs": SAME_CODE,
    "test_watchdog.test_a_server_that_stood_still": SAME_CODE,
    "test_watchdog.test_the_watchdog_does_not_depend": SAME_CODE,
    "test_watchdog.test_systemd": SAME_CODE,
    "test_auth.test_protected_mode": "no client is local",
}


def why_not(name, workers):
    """Why this test, made for these numbers of workers, is left out, or None."""
    for prefix, why in NOT_APPLICABLE.items():
        if name.startswith(prefix):
            return why
    if name.startswith(WITH_FOUR) and 4 in workers and f"[4 {DRIVER}]" not in name:
        return "runs with 4 workers, some of them without a network"
    return None


def inside():
    return bool(os.environ.get(INSIDE))


def enter():
    """Goes on in namespaces of the runner's own."""
    if inside():
        return
    os.environ[INSIDE] = "yes"
    # /sys shows the interfaces of the namespace that it was mounted in.
    script = 'mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"'
    words = ["unshare", "-n", "-m", "sh", "-c", script, "sh", sys.executable, *sys.argv]
    os.execvp(words[0], words)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def arguments(directives):
    """{name: value or None} as command-line arguments."""
    return [word for name, value in directives.items() if value is not None
            for word in (f"--{name}", str(value))]


class Wire:
    """The namespace of one server and the veth pair to it."""

    numbers = iter(range(1, 1 << 16))

    def __init__(self):
        number = next(Wire.numbers)
        self.name = f"c{number}"
        self.host = f"10.{9 + number // 256}.{number % 256}.1"
        self.client_host = f"10.{9 + number // 256}.{number % 256}.2"
        self.namespace = Namespace()
        try:
            # One queue: worker 0 has the network, the others serve their slots for it.
            run("ip", "link", "add", self.name, "numrxqueues", "1", "numtxqueues", "1", "type",
                "veth", "peer", "name", "s0", "numrxqueues", "1", "numtxqueues", "1", "netns",
                str(self.namespace.pid))
            run("ip", "addr", "add", self.client_host + "/24", "dev", self.name)
            run("ip", "link", "set", self.name, "up")
            self.namespace.run("ip link set s0 up")
            # A veth leaves checksums and segments to a card that isn't there.
            tune = os.path.join(ROOT, "tools", "pollux-nic")
            run(tune, "tune", "--interface", self.name)
            self.namespace.run(f"{tune} tune --interface s0")
        except BaseException:
            self.end()
            raise

    def directives(self):
        return {"net-driver": "dpdk", "dpdk-port": "net_af_xdp0,iface=s0",
                "dpdk-address": self.host + "/24", "dpdk-idle": 100, "bind": None,
                "protected-mode": "no"}

    def command(self, words):
        return self.namespace.command(*words)

    def end(self):
        self.namespace.end()  # and with it the pair
