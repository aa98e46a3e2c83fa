#!/usr/bin/python3
"""Fewer queues than workers: those without one own slots and serve them for the others. And a queue
each, where every worker's port is reached by whichever queue its frames come to.

    queues.py --server build/polluxd [--drivers af_packet,af_packet_each,...] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import binascii
import errno
import socket
import sys

sys.dont_write_bytecode = True

from client import SECONDS, Client, equal, info  # noqa: E402
from kernel_path import only_for_polluxd  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import PORT, SERVER  # noqa: E402

SLOTS, WORKERS = 16384, 3
CORE_PORT, MOVED_PORT = PORT + 1, 7500
KEYS = 600


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


def owner(key):
    return (binascii.crc_hqx(key.encode(), 0) % SLOTS) * WORKERS // SLOTS


def keys_of(worker, count):
    names = (f"key:{number}" for number in range(1 << 20))
    return [name for name, _ in zip((n for n in names if owner(n) == worker), range(count))]


# ---- cases ----


def all_slots_by_the_common_port(network):
    with PortClient(network) as client:
        for number in range(KEYS):
            equal(client.call("SET", f"key:{number}", number), b"OK", "SET")
        equal(client.call("MGET", *[f"key:{n}" for n in range(KEYS)]),
              [str(n).encode() for n in range(KEYS)], "MGET over all slots")
        equal(client.call("DBSIZE"), KEYS, "DBSIZE")


def every_worker_has_a_port_that_answers(network):
    for worker in range(WORKERS):
        with PortClient(network, CORE_PORT + worker) as client:
            for key in keys_of(worker, 20):
                equal(client.call("SET", key, worker), b"OK", f"SET at worker {worker}")
                equal(client.call("GET", key), str(worker).encode(), f"GET at worker {worker}")
            other = (worker + 1) % WORKERS
            reply = client.call("GET", keys_of(other, 1)[0])
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
    for worker in range(WORKERS):
        own = [name for name in names if owner(name) == worker]
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
    equal([entry[2][1] for entry in ranges], [CORE_PORT + k for k in range(WORKERS)], "ports")
    equal(sum(entry[1] - entry[0] + 1 for entry in ranges), SLOTS, "slots")


def info_and_the_log_say_it(network):
    equal(info(network, "network_queues"), "1", "network_queues")
    equal(info(network, "network_flow_spreading"), "one_queue", "who spreads")
    equal(info(network, "network_workers_without_queue"), str(WORKERS - 1), "workers without")
    text = network.polluxd.text()
    lines = [line for line in text.splitlines() if "without network" in line]
    equal(len(lines), 1, f"lines that say so, of\n{text}")
    equal("set workers 1, or more queues: " in lines[0], True, lines[0])


def a_closed_port_is_refused_once(network):
    """Strays go round the workers, if they are passed on at all, and one answers."""
    with network.client.socket(socket.AF_INET) as sock:
        sock.settimeout(SECONDS)
        equal(sock.connect_ex((SERVER, CORE_PORT + WORKERS)), errno.ECONNREFUSED, "connect")


def info_says_who_steers(network):
    equal(info(network, "network_queues"), str(WORKERS), "network_queues")
    equal(info(network, "network_core_ports_by_rule"), "0", "by rule")
    equal(info(network, "network_core_ports_by_software"), str(WORKERS), "by software")
    equal(info(network, "network_flow_spreading"), "device", "who spreads")
    equal(info(network, "network_passes_on"), "1", "af_packet shows no redirection table")
    lines = [line for line in network.polluxd.text().splitlines()
             if "steered by rules of the card" in line]
    equal(len(lines), 1, "lines of the log that say so")


def ports_move_while_connections_stay(network):
    """CONFIG SET port moves the workers' ports as well: who is connected goes on."""
    clients = [PortClient(network, CORE_PORT + worker) for worker in range(WORKERS)]
    try:
        with PortClient(network) as client:
            equal(client.call("CONFIG", "SET", "port", MOVED_PORT), b"OK", "CONFIG SET port")
        for worker, client in enumerate(clients):
            for key in keys_of(worker, 20):
                equal(client.call("GET", key), str(worker).encode(), f"GET at worker {worker}")
        with PortClient(network, MOVED_PORT) as client:
            equal(client.call("CONFIG", "SET", "port", PORT), b"OK", "CONFIG SET port, back")
    finally:
        for client in clients:
            client.close()


CASES = (all_slots_by_the_common_port, every_worker_has_a_port_that_answers,
         announced_ports_are_those, info_and_the_log_say_it,
         every_port_tells_the_keys_of_its_worker)
CASES_EACH = (all_slots_by_the_common_port, every_worker_has_a_port_that_answers,
              announced_ports_are_those, a_closed_port_is_refused_once, info_says_who_steers,
              ports_move_while_connections_stay, every_port_tells_the_keys_of_its_worker)


# ---- running them ----


def options(network):
    return (["--workers", str(WORKERS), "--per-core-endpoints", "yes", "--per-core-port-base", "0"] +
            (["--dpdk-kernel-path", "yes"] if network.kernel else []))


def before(name):
    def prepare(network):
        network.kernel = name.endswith("_kernel")
        if name == "af_packet":  # a veth pair has one queue for AF_XDP anyway
            network.port_spec = lambda: "net_af_packet0,iface=s0,qpairs=1"
        if network.kernel:
            only_for_polluxd(network)
    return prepare


def setups(arguments):
    for name in arguments.drivers.split(","):
        each = name.startswith("af_packet_each")
        yield Setup(name, lambda _, each=each: CASES_EACH if each else CASES,
                    driver="af_packet" if each else name, options=options, before=before(name))


if __name__ == "__main__":
    sys.exit(main(__doc__, setups,
                  by_driver("af_packet,af_xdp,af_packet_each,af_packet_each_kernel")))
