#!/usr/bin/python3
"""The TCP of net-driver dpdk against Linux's, through a router that loses, delays and narrows.

    run.py --server build/polluxd [--drivers af_xdp,af_packet,tap] [--only TEXT] [--nightly]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import array
import errno
import fcntl
import hashlib
import itertools
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

sys.dont_write_bytecode = True

from client import (MEGABYTE, SECONDS, Client, equal, eventually, random_bytes,  # noqa: E402
                    transfer)
from runner import Setup, by_driver, main  # noqa: E402
from topology import PORT, SERVER, SERVER6, die_with_parent  # noqa: E402


class Losses:
    """While it lasts, the router loses every n-th packet at random, both ways."""

    def __init__(self, network, share):
        self.router, self.share = network.router, share

    def __enter__(self):
        self.router.run(f"iptables -A FORWARD -m statistic --mode random "
                        f"--probability {self.share} -j DROP")
        return self

    def dropped(self):
        for line in self.router.run("iptables -L FORWARD -v -x -n").splitlines():
            if "DROP" in line and "statistic" in line:
                return int(line.split()[0])
        return 0

    def __exit__(self, *_):
        self.router.run("iptables -F FORWARD")


# ---- cases: each gets the network; the server is the same for all of a driver ----


def small_requests(network):
    with Client(network) as client:
        for number in range(300):
            equal(client.call("SET", f"key:{number}", number), b"OK", "SET")
            equal(client.call("GET", f"key:{number}"), str(number).encode(), "GET")


def redis_cli(network):
    words = network.client.command("redis-cli", "-h", SERVER, "-p", str(PORT), "PING")
    output = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    equal(output.stdout.strip(), "PONG", "redis-cli PING")


def bulk_both_ways(network):
    transfer(network, 16 * MEGABYTE)


def bulk_over_ipv6(network):
    transfer(network, 4 * MEGABYTE, SERVER6)


def uneven_pieces(network):
    """Small segments behind large ones, many of them before anybody reads: they share packets."""
    data = random_bytes(6, 4 * MEGABYTE)
    with Client(network) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.socket.sendall(b"*3\r\n$3\r\nSET\r\n$6\r\nuneven\r\n$%d\r\n" % len(data))
        at = 0
        for size in itertools.cycle((1448, 500, 1448, 300, 200)):
            if at >= len(data):
                break
            client.socket.sendall(data[at:at + size])
            at += size
        client.socket.sendall(b"\r\n")
        equal(client.reply(), b"OK", "SET")
        equal(client.call("GET", "uneven") == data, True, "what comes back is what was sent")


def fifty_connections_with_pipelines(network):
    clients = [Client(network) for _ in range(50)]
    for client in clients:
        client.socket.sendall(b"*2\r\n$4\r\nINCR\r\n$5\r\ncount\r\n" * 40)
    last = max(int(client.reply()) for client in clients for _ in range(40))
    with Client(network) as client:
        equal(client.call("GET", "count"), b"2000", "sum of all increments")
        client.call("DEL", "count")
    equal(last, 2000, "highest reply")
    for client in clients:
        client.close()


def half_close(network):
    """The peer has said all it wants to say: it still gets its replies, then the end."""
    value = random_bytes(3, 500000)
    with Client(network) as client:
        client.call("SET", "half", value)
        client.socket.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\nhalf\r\n" * 5)
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(5):
            equal(client.reply() == value, True, "reply after the half-close")
        equal(client.input.read(), b"", "end of the stream")


def reset_in_the_middle(network):
    with Client(network) as watcher:
        watcher.call("SET", "big", random_bytes(4, 2 * MEGABYTE))
        for _ in range(10):
            victim = Client(network)
            victim.send("GET", "big")
            victim.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            victim.close()
        deadline = time.monotonic() + SECONDS
        while watcher.info("connected_clients") > 1:
            if time.monotonic() > deadline:
                raise AssertionError("connections that were reset stay")


def unread(sock):
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]


def closed_window(network):
    """A peer that reads nothing for a while, then everything."""
    value = random_bytes(5, 8 * MEGABYTE)
    with Client(network) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.call("SET", "big", value)
        client.send("GET", "big")
        seen, since = 0, time.monotonic()
        while time.monotonic() - since < 2.5:  # nothing more arrives: the window is closed
            now = unread(client.socket)
            if now != seen:
                seen, since = now, time.monotonic()
        equal(seen < len(value), True, "the window closed")
        with Client(network) as other:
            equal(other.call("PING"), b"PONG", "another client meanwhile")
        equal(client.reply() == value, True, "all of it, once read")


def path_mtu_shrinks(network):
    """Behind the router the path is narrower than both ends know: it says so by ICMP."""
    transfer(network, MEGABYTE)
    route = "ip route change 10.8.0.0/24 dev r0 proto kernel scope link src 10.8.0.1"
    network.router.run(route + " mtu lock 900")
    try:
        transfer(network, 2 * MEGABYTE)
    finally:
        network.router.run(route)


def smallest_mtu(network):
    network.client.run("ip link set c0 mtu 576")
    network.router.run("ip link set r0 mtu 576")
    try:
        transfer(network, MEGABYTE)
    finally:
        network.client.run("ip link set c0 mtu 1500")
        network.router.run("ip link set r0 mtu 1500")
        # An MTU below 1280 took IPv6 away.
        network.client.run("ip -6 addr replace fd08::2/64 dev c0 nodad")
        network.router.run("ip -6 addr replace fd08::1/64 dev r0 nodad")
        network.client.run("ip -6 route replace default via fd08::1")


def mtu_1280(network):
    """The least that IPv6 allows."""
    for namespace, interface in ((network.client, "c0"), (network.router, "r0")):
        namespace.run(f"ip link set {interface} mtu 1280")
    try:
        transfer(network, MEGABYTE)
        transfer(network, MEGABYTE, SERVER6)
    finally:
        for namespace, interface in ((network.client, "c0"), (network.router, "r0")):
            namespace.run(f"ip link set {interface} mtu 1500")


def path_mtu_shrinks_unsaid(network):
    """A black hole (RFC 2923): the router drops what is too long and its ICMP error is blocked."""
    router = network.router
    blocked = "OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"
    route = "ip route change 10.8.0.0/24 dev r0 proto kernel scope link src 10.8.0.1"
    value = random_bytes(7, MEGABYTE)
    with Client(network) as client:
        equal(client.call("SET", "hole", value), b"OK", "SET")
        router.run(f"iptables -A {blocked}")
        router.run(route + " mtu lock 900")
        try:
            client.socket.settimeout(60)
            equal(client.call("GET", "hole") == value, True, "all of it, in smaller segments")
            counts = router.run("iptables -L OUTPUT -v -x -n").splitlines()
            dropped = sum(int(line.split()[0]) for line in counts if "DROP" in line)
            equal(dropped > 0, True, "the router had something to say")
        finally:
            router.run(route)
            router.run(f"iptables -D {blocked}")


def counted(router, table, chain):
    """The packets that each rule of the chain has met."""
    lines = router.run(f"iptables -t {table} -L {chain} -v -x -n").splitlines()[2:]
    return [int(line.split()[0]) for line in lines]


def peer_with_ecn(network):
    """The router marks 1 % of the packets that allow it; each end tells, and hears of it."""
    router = network.router
    rules = [f"-p tcp {way} r0 -m ecn {what}" for way in ("-i", "-o")
             for what in ("--ecn-ip-ect 3", "--ecn-tcp-ece", "--ecn-tcp-cwr")]
    network.client.run("sysctl -q -w net.ipv4.tcp_ecn=1")
    try:
        with Client(network) as client:
            port = client.socket.getsockname()[1]
            shown = network.client.run(f"ss -H -t -i -o -n sport = :{port}")
            equal("ecn" in shown.split(), True, f"both agreed on ECN; {shown}")
        router.run("iptables -t mangle -A PREROUTING -p tcp -m ecn --ecn-ip-ect 2 "
                   "-m statistic --mode random --probability 0.01 -j TOS --set-tos 0x03/0x03")
        for rule in rules:
            router.run(f"iptables -t mangle -A POSTROUTING {rule}" if "-o" in rule else
                       f"iptables -t mangle -A FORWARD {rule}")
        transfer(network, 8 * MEGABYTE)
        for chain, whose in (("FORWARD", "the peer"), ("POSTROUTING", "the server")):
            marked, told, heard = counted(router, "mangle", chain)
            equal(min(marked, told, heard) > 0, True,
                  f"of {whose}: {marked} marked, {told} with ECE, {heard} with CWR")
    finally:
        network.client.run("sysctl -q -w net.ipv4.tcp_ecn=2")
        router.run("iptables -t mangle -F")


def keepalive_finds_a_cut_link(network):
    router = network.router
    with Client(network, namespace=router) as watcher:
        before = watcher.call("CONFIG", "GET", "tcp-keepalive")
        period = [watcher.reply() for _ in range(int(before))][1]
        equal(watcher.call("CONFIG", "SET", "tcp-keepalive", 1), b"OK", "CONFIG SET")
        victim = Client(network)
        try:
            equal(victim.call("PING"), b"PONG", "PING")
            equal(watcher.info("connected_clients"), 2, "clients before")
            router.run("ip link set r0 down")
            eventually(lambda: watcher.info("connected_clients") == 1, "the dead peer is dropped")
        finally:
            router.run("ip link set r0 up")
            router.run("ip -6 addr replace fd08::1/64 dev r0 nodad")
            victim.close()
            watcher.call("CONFIG", "SET", "tcp-keepalive", period)


def refused(network, port):
    try:
        Client(network, port=port).close()
    except ConnectionRefusedError:
        return True
    return False


def port_changes_and_comes_back(network):
    """The connection over which it is asked for goes on."""
    with Client(network) as client:
        for port, former in ((PORT + 1, PORT), (PORT, PORT + 1)):
            equal(client.call("CONFIG", "SET", "port", port), b"OK", "CONFIG SET port")
            eventually(lambda: refused(network, former), f"port {former} is closed")
            with Client(network, port=port) as other:
                equal(other.call("PING"), b"PONG", f"PING at port {port}")
            equal(client.call("PING"), b"PONG", "PING of the one who asked")


def address_of_the_peer_flaps(network):
    """It is away for a while in the middle of a transfer each way."""
    value, namespace = random_bytes(8, 64 * MEGABYTE), network.client
    replies = []

    def move():
        with Client(network) as client:
            client.socket.settimeout(60)
            replies.append(client.call("SET", "flap", value))
            replies.append(client.call("GET", "flap") == value)

    with Client(network, namespace=network.router) as watcher:
        mover = threading.Thread(target=move)
        start = {way: watcher.info(way) for way in ("rx_bytes", "tx_bytes")}
        mover.start()
        try:
            for finished, way in enumerate(start):
                eventually(lambda: watcher.info(way) > start[way] + 16 * MEGABYTE, "it goes on")
                namespace.run("ip addr del 10.8.0.2/24 dev c0")
                try:
                    equal(len(replies), finished, "transfers that are over")
                    time.sleep(0.5)  # how long it is away
                finally:
                    namespace.run("ip addr add 10.8.0.2/24 dev c0")
                    namespace.run("ip route add default via 10.8.0.1")
        finally:
            mover.join()
    equal(replies, [b"OK", True], "both transfers")


READER = """
import hashlib, socket, sys
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
sock.connect((sys.argv[1], int(sys.argv[2])))
sock.sendall(b"GET stopped\\r\\n")
print("asked", flush=True)
sys.stdin.readline()
stream, size = sock.makefile("rb"), 0
size = int(stream.readline()[1:])
print(hashlib.sha256(stream.read(size)).hexdigest(), flush=True)
"""


def stopped_peer(network):
    """A process that SIGSTOP holds while its window is shut: probes, and then the rest."""
    value, seconds = random_bytes(9, 8 * MEGABYTE), 60 if network.arguments.nightly else 5
    with Client(network) as client:
        client.call("SET", "stopped", value)
        before = client.info("tx_probes")
        with subprocess.Popen(
                network.client.command(sys.executable, "-c", READER, SERVER, str(PORT)), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent) as peer:
            try:
                equal(peer.stdout.readline(), "asked\n", "the peer")
                peer.send_signal(signal.SIGSTOP)
                time.sleep(seconds)  # how long it stands still
                probes = client.info("tx_probes") - before
                equal(2 <= probes <= 4 * seconds, True, f"{probes} probes in {seconds} s")
                peer.send_signal(signal.SIGCONT)
                peer.stdin.write("\n")
                peer.stdin.flush()
                equal(peer.stdout.readline().strip(), hashlib.sha256(value).hexdigest(), "hash")
            finally:
                peer.kill()


# ethtool.h: scatter-gather, transmit checksums, TSO, GSO.
TRANSMIT_CHECKSUMS = 0x17
OFFLOADS = (0x19, TRANSMIT_CHECKSUMS, 0x1f, 0x24)
SIOCETHTOOL = 0x8946


def offloads_on(namespace, interface):
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in OFFLOADS:
            value = array.array("B", struct.pack("II", command, 1))
            request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(sock, SIOCETHTOOL, request)
            except OSError as error:
                # A veth whose peer runs XDP has no long frames, but may leave checksums out.
                if error.errno != errno.EOPNOTSUPP or command == TRANSMIT_CHECKSUMS:
                    raise


def offloads_left_on(network):
    """The peer's frames come without checksums and as long as 64 KiB: none of it is taken."""
    value = random_bytes(10, MEGABYTE)
    ends = ((network.client, "c0"), (network.router, "r1"))

    def rejected(client):
        return client.info("rx_bad_checksum") + client.info("rx_malformed")

    with Client(network) as client:
        before = rejected(client)
        try:
            for namespace, interface in ends:
                offloads_on(namespace, interface)
            client.socket.settimeout(1)
            try:
                client.call("SET", "offloads", value)
            except socket.timeout:
                pass
            else:
                raise AssertionError("frames without checksums were taken")
        finally:
            for namespace, interface in ends:
                network.offloads_off(namespace, interface)
    with Client(network) as client:
        equal(rejected(client) > before, True, "they are counted")
        equal(client.call("GET", "offloads"), None, "what came of them")
    transfer(network, MEGABYTE)


def with_losses(settings, control="cubic"):
    """A case that moves data through a router which loses 1 % each way."""

    def case(network):
        network.control = control
        with Client(network) as client:
            before = client.info("tx_retransmits")
        network.client.run(f"sysctl -q -w {settings}")
        with Losses(network, 0.01) as losses:
            transfer(network, 3 * MEGABYTE)
            dropped = losses.dropped()
        equal(dropped > 10, True, "packets were lost")
        with Client(network) as client:
            equal(client.info("tx_retransmits") > before, True, "we sent some again")

    return case


DEFAULTS = "net.ipv4.tcp_sack=1 net.ipv4.tcp_timestamps=1 net.ipv4.tcp_window_scaling=1"


def loss_cases(network):
    yield "losses, peer without SACK", with_losses("net.ipv4.tcp_sack=0")
    yield "losses, peer without timestamps", with_losses("net.ipv4.tcp_timestamps=0")
    yield "losses, peer without window scaling", with_losses("net.ipv4.tcp_window_scaling=0")
    yield "losses, peer with none of them", with_losses(
        "net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0 net.ipv4.tcp_window_scaling=0")
    offered = network.client.run("sysctl -n net.ipv4.tcp_available_congestion_control").split()
    for control in ("cubic", "reno", "bbr"):
        if control in offered:
            yield f"losses, peer with {control}", with_losses(DEFAULTS, control)
        else:
            print(f"this kernel does not offer {control}: that peer is left out")


def cases(network):
    for case in (small_requests, redis_cli, bulk_both_ways, bulk_over_ipv6, uneven_pieces,
                 fifty_connections_with_pipelines, half_close, reset_in_the_middle, closed_window,
                 path_mtu_shrinks, smallest_mtu, mtu_1280, path_mtu_shrinks_unsaid, peer_with_ecn,
                 keepalive_finds_a_cut_link, port_changes_and_comes_back,
                 address_of_the_peer_flaps, stopped_peer):
        yield case.__name__.replace("_", " "), case
    if network.driver != "tap":  # there the kernel fills in checksums for whoever reads the tap
        yield "offloads left on", offloads_left_on
    yield from loss_cases(network)


# ---- running them ----


def before_each(network):
    network.control = "cubic"
    network.client.run(f"sysctl -q -w {DEFAULTS}")


def setups(arguments):
    for driver in arguments.drivers.split(","):
        yield Setup(driver, cases, driver=driver, before_each=before_each)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, by_driver("af_xdp,af_packet,tap"),
                  ("--nightly", {"action": "store_true", "help": "peers stand still for a minute"})))
