#!/usr/bin/python3
"""What a polluxd with net-driver dpdk leaves behind, killed or ended, and what the next one finds.

    kills.py --server build/polluxd [--drivers af_xdp,af_packet,tap] [--kills 5] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

from client import SECONDS, Client, equal  # noqa: E402
from kernel_path import INTERFACE, only_for_polluxd, ping  # noqa: E402
from run import redis_cli, small_requests  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import PORT, ROOT, SERVER, Server  # noqa: E402

PAGES = 64  # of 2 MB: more than a server with one worker takes
KERNELS_OWN = "10.9.0.9"  # an address of the interface that AF_XDP sits on
FOLDERS = ("/run/dpdk", "/var/run/dpdk", "/dev/hugepages", "/dev/shm", "/sys/fs/bpf")


def files():
    """All that a DPDK program might leave in files, as seen from here."""
    return {os.path.join(folder, name) for top in FOLDERS for folder, _, names in os.walk(top)
            for name in names}


def no_files_since(before):
    """Others start and end on this machine too: only what stays is ours."""
    deadline = time.monotonic() + SECONDS
    while files() - before:
        equal(time.monotonic() < deadline, True, f"files left: {sorted(files() - before)[:5]}")
        time.sleep(0.1)  # between two looks


def free_hugepages():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("HugePages_Free"))


def start(network, *more):
    options = ["--workers", "1", "--unixsocket", os.path.join(network.folder, "unix.sock"),
               "--pidfile", os.path.join(network.folder, "pid")]
    if network.driver != "tap":
        options += ["--dpdk-kernel-path", "yes"]
    network.polluxd = Server(network.arguments.server, network, network.folder, [*options, *more])
    return network.polluxd


def kill(server):
    server.process.kill()
    server.process.wait()


def load(network, stop):
    """Requests without a pause, until the server is gone."""
    try:
        with Client(network) as client:
            client.socket.settimeout(1)
            while not stop.is_set():
                client.send("SET", "load", b"x" * 5000)
                client.reply()
    except (OSError, EOFError):
        pass


def kill_in_mid_load(network):
    server, stop = start(network), threading.Event()
    thread = threading.Thread(target=load, args=(network, stop))
    thread.start()
    try:
        deadline = time.monotonic() + SECONDS
        with Client(network) as client:
            while client.info("total_commands_processed") < 100:
                equal(time.monotonic() < deadline, True, "the load runs")
        kill(server)
    finally:
        stop.set()
        thread.join()


def interfaces(network):
    return {link["ifname"] for link in json.loads(network.server.run("ip -j link show"))}


def our_port_is_free(network):
    with network.server.socket(socket.AF_INET) as sock:
        sock.bind(("0.0.0.0", PORT))
        sock.listen(1)


def xdp_program(network):
    return json.loads(network.server.run("ip -j -d link show dev s0"))[0].get("xdp")


def release(network):
    words = network.server.command(os.path.join(ROOT, "tools", "pollux-nic"), "release", "s0")
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)


# ---- cases: no server runs before and after each ----


def killed_it_leaves_no_interface_address_or_port(network):
    before, routes = interfaces(network), network.server.run("ip route")
    for _ in range(network.arguments.kills):
        kill_in_mid_load(network)
        equal(interfaces(network), before, "interfaces")
        equal(SERVER in network.server.run("ip addr"), False, "its address is there")
        equal(network.server.run("ip route"), routes, "routes")
        our_port_is_free(network)


def killed_it_leaves_no_files(network):
    before = files()
    for _ in range(network.arguments.kills):
        kill_in_mid_load(network)
    no_files_since(before)


def the_next_one_finds_all_it_needs(network):
    """Unix socket and pid file of the dead one are in its way as little as the rest."""
    start(network)
    kill(network.polluxd)
    equal(os.path.exists(os.path.join(network.folder, "unix.sock")), True, "the socket file")
    server = start(network)
    redis_cli(network)
    small_requests(network)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        sock.connect(os.path.join(network.folder, "unix.sock"))
        sock.sendall(b"PING\r\n")
        equal(sock.recv(100), b"+PONG\r\n", "PING by the unix socket")
    equal(server.end(), 0, "exit status")
    for name in ("unix.sock", "pid"):
        equal(os.path.exists(os.path.join(network.folder, name)), False, f"{name} is left")


def ended_it_leaves_nothing(network):
    before, names = files(), interfaces(network)
    server = start(network)
    redis_cli(network)
    equal(server.end(), 0, "exit status")
    equal(interfaces(network), names, "interfaces")
    our_port_is_free(network)
    no_files_since(before)
    if network.driver == "af_xdp":
        equal(xdp_program(network), None, "XDP program")


def hugepages_come_back(network):
    before = free_hugepages()
    kill_in_mid_load(network)
    server = start(network)
    equal(free_hugepages() < before, True, "it uses hugepages")
    equal(server.end(), 0, "exit status")
    equal(free_hugepages(), before, "free hugepages")


def a_worker_that_hangs_ends_it(network):
    """worker-watchdog, with the device as it was in use: the next one starts all the same."""
    server = start(network, "--worker-watchdog", "3", "--enable-debug-command", "yes")
    with Client(network) as client:
        client.send("DEBUG", "SLEEP", 1000)
        equal(server.process.wait(SECONDS), 1, "exit status")
    equal("worker-watchdog ends the server" in server.text(), True, server.text())
    equal(INTERFACE in interfaces(network), False, "the interface is there")
    start(network)
    redis_cli(network)
    equal(network.polluxd.end(), 0, "exit status")


def the_kernel_has_its_interface_again(network):
    """AF_XDP: frames that no socket takes go to the kernel, though the program stays; then
    `pollux-nic release` takes it off, not before the server is dead, and nobody else's."""
    client = network.client
    network.client = network.router  # who pings
    try:
        network.server.run(f"ip addr add {KERNELS_OWN}/24 dev s0")
        server = start(network)
        equal(xdp_program(network)["prog"]["name"], "xsk_def_prog", "the program meanwhile")
        refused = release(network)
        equal((refused.returncode, "in use by process" in refused.stderr), (1, True), "release")
        kill(server)
        ping(network, KERNELS_OWN, 56)
        equal(xdp_program(network)["prog"]["name"], "xsk_def_prog", "the program after it")
        equal(release(network).returncode, 0, "release")
        equal(xdp_program(network), None, "the program after that")
        equal("nothing to release" in release(network).stdout, True, "again")
        ping(network, KERNELS_OWN, 56)
    finally:
        network.client = client
        network.server.run(f"ip addr del {KERNELS_OWN}/24 dev s0")


def cases(network):
    yield from (killed_it_leaves_no_interface_address_or_port, killed_it_leaves_no_files,
                the_next_one_finds_all_it_needs, ended_it_leaves_nothing, a_worker_that_hangs_ends_it)
    if free_hugepages() >= PAGES:
        yield hugepages_come_back
    else:
        print(f"{PAGES} free hugepages are not there: whether they come back is left out")
    if network.driver == "af_xdp":
        yield the_kernel_has_its_interface_again


# ---- running them ----


def before(network):
    if network.driver == "af_packet":
        only_for_polluxd(network)


def no_server_runs(network):
    if network.polluxd is not None and network.polluxd.process.poll() is None:
        kill(network.polluxd)


def setups(arguments):
    for driver in arguments.drivers.split(","):
        yield Setup(driver, cases, driver=driver, serves=False, before=before,
                    after_each=no_server_runs)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, by_driver("af_xdp,af_packet,tap"),
                  ("--kills", {"type": int, "default": 5})))
