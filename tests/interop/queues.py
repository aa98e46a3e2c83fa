#!/usr/bin/python3
"""Fewer queues than workers: those without one own slots and serve them for the others. And a queue
each, where every worker's port is reached by whichever queue its frames come to. Over af_packet,
AF_XDP and memif.

    queues.py --server build/polluxd [--drivers af_packet,af_packet_each,...] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import binascii
import errno
import itertools
import os
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from client import SECONDS, Client, equal, info  # noqa: E402
from kernel_path import only_for_polluxd  # noqa: E402
from memif_kills import Polluxd, peer_works  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import PORT, SERVER  # noqa: E402

SLOTS = 16384
CORE_PORT, MOVED_PORT = PORT + 1, 7500
XDP_QUEUES = 2
KEYS = 600
CONNECTIONS = 64


class PortClient(Client):
    """A connection to a port of one's choice, whose replies may be arrays and numbers."""

    def __init__(self, network, port=PORT):  # pylint: disable=super-init-not-called
        self.socket = network.client.socket(socket.AF_INET)
        self.socket.settimeout(SECONDS)
        self.socket.connect((SERVER, port))
        self.input = self.socket.makefile("rb")

    def reply(self):
        kind = self.input.peek(1)[:1]
        if kind not in b"*%:":
            return super().reply()
        number = int(self.input.readline()[1:])
        if kind == b":":
            return number
        return [self.reply() for _ in range(number * (2 if kind == b"%" else 1))]


def owner(network, key):
    return (binascii.crc_hqx(key.encode(), 0) % SLOTS) * network.workers // SLOTS


def keys_of(network, worker, count):
    names = (f"key:{number}" for number in range(1 << 20))
    return list(itertools.islice((n for n in names if owner(network, n) == worker), count))


# ---- cases ----


def all_slots_by_the_common_port(network):
    with PortClient(network) as client:
        for number in range(KEYS):
            equal(client.call("SET", f"key:{number}", number), b"OK", "SET")
        equal(client.call("MGET", *[f"key:{n}" for n in range(KEYS)]),
              [str(n).encode() for n in range(KEYS)], "MGET over all slots")
        equal(client.call("DBSIZE"), KEYS, "DBSIZE")


def every_worker_has_a_port_that_answers(network):
    for worker in range(network.workers):
        with PortClient(network, CORE_PORT + worker) as client:
            for key in keys_of(network, worker, 20):
                equal(client.call("SET", key, worker), b"OK", f"SET at worker {worker}")
                equal(client.call("GET", key), str(worker).encode(), f"GET at worker {worker}")
            other = (worker + 1) % network.workers
            reply = client.call("GET", keys_of(network, other, 1)[0])
            equal(reply.endswith(f"{SERVER}:{CORE_PORT + other}".encode()), True, reply)


def keys_and_deadlines(client):
    """Of INFO keyspace."""
    for line in client.call("INFO", "keyspace").decode().splitlines():
        if line.startswith("db0:"):
            figures = dict(part.split("=") for part in line[len("db0:"):].split(","))
            return int(figures["keys"]), int(figures["expires"])
    return 0, 0


def every_port_tells_the_keys_of_its_worker(network):
    """Also that of a worker without a queue, which another one serves; all together tell all."""
    names = [f"told:{number}" for number in range(300)]
    with PortClient(network) as client:
        equal(client.call("FLUSHALL"), b"OK", "FLUSHALL")
        for number, name in enumerate(names):
            more = ("EX", 1000) if number % 3 == 0 else ()
            equal(client.call("SET", name, number, *more), b"OK", "SET")
        equal(keys_and_deadlines(client), (300, 100), "keys of the common port")
    for worker in range(network.workers):
        own = [name for name in names if owner(network, name) == worker]
        deadlines = sum(int(name[len("told:"):]) % 3 == 0 for name in own)
        with PortClient(network, CORE_PORT + worker) as client:
            equal(keys_and_deadlines(client), (len(own), deadlines), f"INFO at worker {worker}")
            equal(client.call("DBSIZE"), len(own), f"DBSIZE at worker {worker}")
            equal(client.call("MULTI"), b"OK", "MULTI")
            for words in (("CLIENT", "ID"), ("DBSIZE",), ("SET", own[0], 1)):
                equal(client.call(*words), b"QUEUED", words[0])
            equal(client.call("EXEC")[1:], [len(own), b"OK"], f"EXEC at worker {worker}")


def announced_ports_are_those(network):
    with PortClient(network) as client:
        ranges = client.call("CLUSTER", "SLOTS")
    equal([entry[2][1] for entry in ranges], [CORE_PORT + k for k in range(network.workers)], "ports")
    equal(sum(entry[1] - entry[0] + 1 for entry in ranges), SLOTS, "slots")


def info_and_the_log_say_it(network):
    equal(info(network, "network_queues"), "1", "network_queues")
    equal(info(network, "network_flow_spreading"), "one_queue", "who spreads")
    equal(info(network, "network_workers_without_queue"), str(network.workers - 1), "workers without")
    text = network.polluxd.text()
    lines = [line for line in text.splitlines() if "without network" in line]
    equal(len(lines), 1, f"lines that say so, of\n{text}")
    equal("set workers 1, or more queues: " in lines[0], True, lines[0])


def the_log_tells_what_is_left_to_the_kernel(network):
    text = network.polluxd.text()
    lines = [line for line in text.splitlines() if "reach the kernel and are served by nobody" in line]
    equal(len(lines), 1, f"lines that say so, of\n{text}")
    equal(f"drives 1 of its interface's {XDP_QUEUES} queues" in lines[0], True, lines[0])


def a_closed_port_is_refused_once(network):
    """Strays go round the workers, if they are passed on at all, and one answers."""
    with network.client.socket(socket.AF_INET) as sock:
        sock.settimeout(SECONDS)
        equal(sock.connect_ex((SERVER, CORE_PORT + network.workers)), errno.ECONNREFUSED, "connect")


def connections_of_queues(network):
    """The queue line of each in INFO network: how many connections its worker has."""
    with Client(network) as client:
        lines = client.call("INFO", "network").decode().splitlines()
    figures = [dict(part.split("=") for part in line.partition(":")[2].split(","))
               for line in lines if line.startswith("queue")]
    equal(len(figures), network.workers, "queues in INFO")
    return [(int(queue["connections"]), int(queue["rx_packets"])) for queue in figures]


def every_queue_has_connections(network):
    """What the device's flow hash makes of the common port: each has its share, and serves it."""
    before = [packets for _, packets in connections_of_queues(network)]
    clients = [PortClient(network) for _ in range(CONNECTIONS)]
    try:
        for number, client in enumerate(clients):
            equal(client.call("SET", f"spread:{number}", number), b"OK", "SET")
        for number, client in enumerate(clients):
            reply = client.call("GET", f"spread:{(number + 1) % CONNECTIONS}")
            equal(reply, str((number + 1) % CONNECTIONS).encode(), "GET of what another one set")
        shares = connections_of_queues(network)
        equal(sum(count for count, _ in shares), CONNECTIONS + 1, "connections together")
        for (count, packets), former in zip(shares, before):
            equal(count >= CONNECTIONS // network.workers // 3, True, f"shares: {shares}")
            equal(packets > former + 2 * count, True, f"packets: {former}, then {shares}")
        value = bytes(range(256)) * 4096
        for client in clients[:8]:
            equal(client.call("SET", "spread", value), b"OK", "SET")
            equal(client.call("GET", "spread") == value, True, "bulk data")
        for number in range(CONNECTIONS):
            clients[0].call("DEL", f"spread:{number}")
        clients[0].call("DEL", "spread")
    finally:
        for client in clients:
            client.close()


def info_says_who_steers(network):
    equal(info(network, "network_queues"), str(network.workers), "network_queues")
    equal(info(network, "network_core_ports_by_rule"), "0", "by rule")
    equal(info(network, "network_core_ports_by_software"), str(network.workers), "by software")
    equal(info(network, "network_flow_spreading"), "device", "who spreads")
    equal(info(network, "network_passes_on"), "1", "the device shows no redirection table")
    lines = [line for line in network.polluxd.text().splitlines()
             if "steered by rules of the card" in line]
    equal(len(lines), 1, "lines of the log that say so")


def ports_move_while_connections_stay(network):
    """CONFIG SET port moves the workers' ports as well: who is connected goes on."""
    clients = [PortClient(network, CORE_PORT + worker) for worker in range(network.workers)]
    try:
        with PortClient(network) as client:
            equal(client.call("CONFIG", "SET", "port", MOVED_PORT), b"OK", "CONFIG SET port")
        for worker, client in enumerate(clients):
            for key in keys_of(network, worker, 20):
                equal(client.call("GET", key), str(worker).encode(), f"GET at worker {worker}")
        with PortClient(network, MOVED_PORT) as client:
            equal(client.call("CONFIG", "SET", "port", PORT), b"OK", "CONFIG SET port, back")
    finally:
        for client in clients:
            client.close()


CASES = (all_slots_by_the_common_port, every_worker_has_a_port_that_answers,
         announced_ports_are_those, info_and_the_log_say_it,
         every_port_tells_the_keys_of_its_worker)
CASES_EACH = (every_queue_has_connections, all_slots_by_the_common_port, every_worker_has_a_port_that_answers,
              announced_ports_are_those, a_closed_port_is_refused_once, info_says_who_steers,
              ports_move_while_connections_stay, every_port_tells_the_keys_of_its_worker)


# ---- memif: no interface, no kernel; dpdk-queues says how many ----


def over_memif(queues, workers=3, keys=3000):
    """Every key is set and read by the common port, then by that of its worker."""

    def case(place):
        folder = tempfile.mkdtemp(dir=place.folder)
        server = Polluxd(place.arguments.server, folder, "--workers", str(workers), "--dpdk-queues",
                         str(queues), "--per-core-endpoints", "yes", "--per-core-port-base", "0",
                         "--dpdk-idle", "200")
        try:
            ports = {"clients": 16, "queues": queues, "keys": keys, "mix": "get=1,set=1",
                     "value_len": "10-2000"}
            peer_works(place.arguments, server, switches=["--preload"], **ports)
            equal(server.info("db0:keys"), keys, "keys, set by the common port")
            before = [server.info("commands", f"worker{k}:") for k in range(workers)]
            peer_works(place.arguments, server, switches=["--preload", "--cluster"], **ports)
            for worker, former in enumerate(before):
                now = server.info("commands", f"worker{worker}:")
                equal(now - former > keys // workers, True, f"commands of worker {worker}: {now}")
            equal(server.info("network_queues"), queues, "network_queues")
            equal(server.info("network_workers_without_queue"), workers - queues, "workers without")
            lines = [line for line in server.text().splitlines() if "without network" in line]
            equal(len(lines), 1, f"lines that say so, of\n{server.text()}")
            equal(server.end(), 0, "exit status")
        finally:
            server.stop()
    return f"{queues} of {workers} workers have a queue", case


# ---- running them ----


def options(network):
    return (["--workers", str(network.workers), "--per-core-endpoints", "yes",
             "--per-core-port-base", "0"] +
            (["--dpdk-kernel-path", "yes"] if network.kernel else []))


def spread_by_flow(network):
    """A veth takes a frame to the queue that it was sent by, which for a router is the one it came
    in by. With all transmit queues open to all CPUs, the hash of the flow decides (XPS)."""
    for queue in range(network.queues):
        path = f"/sys/class/net/r1/queues/tx-{queue}/xps_cpus"
        network.router.write(path, f"{(1 << os.cpu_count()) - 1:x}")


def tell_the_queues(network):
    """See channels.c."""
    library = os.path.join(network.folder, "channels.so")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library,
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), "channels.c")],
                   check=True)
    network.wrapper = ["env", f"LD_PRELOAD={library}"]


def before(name):
    def prepare(network):
        network.kernel = name.endswith("_kernel")
        network.workers = {"af_xdp_each": XDP_QUEUES, "af_xdp_left": 1}.get(name, 3)
        if name == "af_packet":  # a veth pair has one queue for AF_XDP anyway
            network.port_spec = lambda: "net_af_packet0,iface=s0,qpairs=1"
        if network.queues > 1:
            spread_by_flow(network)
            tell_the_queues(network)
        if network.kernel:
            only_for_polluxd(network)
    return prepare


def setups(arguments):
    arguments.load = arguments.load or os.path.join(os.path.dirname(arguments.server), "tools",
                                                    "pollux-bench", "pollux-bench")
    for name in arguments.drivers.split(","):
        if name == "memif":
            yield Setup(name, lambda _: (over_memif(1), over_memif(2)))
            continue
        driver = name.partition("_each")[0]
        cases = CASES_EACH if "_each" in name else CASES
        if name == "af_xdp_left":
            driver, cases = "af_xdp", (the_log_tells_what_is_left_to_the_kernel,)
        yield Setup(name, lambda _, cases=cases: cases,
                    driver=driver, options=options, before=before(name),
                    queues=XDP_QUEUES if name in ("af_xdp_each", "af_xdp_left") else 1)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups,
                  by_driver("af_packet,af_xdp,af_packet_each,af_packet_each_kernel,af_xdp_each,"
                            "af_xdp_left,memif"),
                  ("--load", {"type": os.path.abspath, "help": "pollux-bench (beside polluxd)"})))
