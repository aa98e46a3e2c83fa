#!/usr/bin/python3
"""dpdk-kernel-path: what a machine's kernel does besides, through the TAP interface, while polluxd
serves: connections both ways, fragments, DHCP, IPv6 neighbour discovery, VLANs, floods.

    kernel_traffic.py --server build/polluxd [--drivers af_packet,af_xdp] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True

from client import MEGABYTE, SECONDS, Client, equal, eventually, random_bytes  # noqa: E402
from kernel_path import (CLIENT, INTERFACE, checksum, only_for_polluxd, ping,  # noqa: E402
                         stack_figure)
from run import redis_cli, small_requests  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import SERVER, SERVER6, Server, die_with_parent  # noqa: E402

BGP_PORT, LINES = 179, 500
DHCP_SERVER, DHCP_CLIENT = 67, 68
VLAN, VLAN_NEAR, VLAN_FAR = 7, "10.77.0.1", "10.77.0.254"
ALL, ADVERTISEMENT = 3, 136  # ETH_P_ALL; of ICMPv6
OPTIONS = ["--dpdk-kernel-path", "yes"]
SLOW_S = 2.0  # a request beside a flood, on a machine that others use too


def receive(sock, size):
    parts = []
    while size > 0:
        part = sock.recv(min(size, 1 << 16))
        equal(bool(part), True, "the connection lasts")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Listener:
    """A TCP service of the kernel's in a namespace; runs `serve(sock)` for one connection."""

    def __init__(self, namespace, address, port, serve):
        self.socket = namespace.socket(socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(8)
        self.socket.settimeout(SECONDS)
        self.address, self.serve = self.socket.getsockname(), serve
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            peer, _ = self.socket.accept()
            with peer:
                peer.settimeout(SECONDS)
                self.serve(peer)
        except OSError:
            pass  # the other side of the test says what went wrong

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.socket.close()


def connected(namespace, address):
    sock = namespace.socket(socket.AF_INET)
    sock.settimeout(SECONDS)
    sock.connect(address)
    return sock


def echo_lines(peer):
    with peer.makefile("rb") as stream:
        for line in stream:
            peer.sendall(line)


# ---- cases ----


def fragments_of_8000_bytes_reach_the_kernel(network):
    for size in (1473, 4000, 8000):
        ping(network, SERVER, size)
    ping(network, SERVER6, 8000)


def the_kernel_fetches_and_sends_much(network):
    """What a replica or curl on the server's machine does: it connects, both move megabytes."""
    data = random_bytes(11, 8 * MEGABYTE)

    def serve(peer):
        equal(receive(peer, len(data)) == data, True, "what the kernel sent")
        peer.sendall(data[::-1])

    with Listener(network.client, CLIENT, 0, serve) as listener, \
            connected(network.server, listener.address) as sock, Client(network) as client:
        equal(sock.getsockname()[0], SERVER, "its own address")
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        for number in range(200):
            equal(client.call("SET", "beside", number), b"OK", "SET meanwhile")
        sender.join()
        equal(receive(sock, len(data)) == data[::-1], True, "what it got")


def redis_server_of_another_machine_is_reachable(network):
    """The dataplane's own port number as destination: only as source it is ours."""
    def serve(peer):
        equal(peer.recv(100), b"PING\r\n", "the request")
        peer.sendall(b"+PONG\r\n")

    with Listener(network.client, CLIENT, 6379, serve) as listener, \
            connected(network.server, listener.address) as sock:
        sock.sendall(b"PING\r\n")
        equal(sock.recv(100), b"+PONG\r\n", "the reply")


def a_long_session_line_by_line(network):
    """As ssh would be: small segments to and fro, beside requests of the dataplane's."""
    with Listener(network.server, SERVER, 2222, echo_lines) as listener, \
            connected(network.client, listener.address) as sock, Client(network) as client:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock.makefile("rb") as stream:
            for number in range(LINES):
                sock.sendall(b"line %d\n" % number)
                equal(client.call("INCR", "lines") is not None, True, "INCR meanwhile")
                equal(stream.readline(), b"line %d\n" % number, "the line that comes back")


def dhcp_both_ways(network):
    """Broadcasts of somebody who has no address yet, and to him."""
    with network.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, \
            network.router.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        for sock, port, interface in ((client, DHCP_CLIENT, INTERFACE), (server, DHCP_SERVER, "r1")):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.settimeout(SECONDS)
            sock.bind(("", port))
        client.sendto(b"discover", ("255.255.255.255", DHCP_SERVER))
        equal(server.recv(100), b"discover", "what the DHCP server hears")
        server.sendto(b"offer", ("255.255.255.255", DHCP_CLIENT))
        equal(client.recv(100), b"offer", "what the DHCP client hears")


def neighbour_discovery_by_the_kernel(network):
    for _ in range(3):
        network.router.run("ip -6 neigh flush dev r1")
        ping(network, SERVER6, 56)


def duplicate_addresses_are_defended(network):
    """Somebody else who wants our address asks from nowhere (RFC 4862), and is told."""
    router = network.router
    router.run("sysctl -q -w net.ipv6.conf.r1.accept_dad=1")
    router.run("sysctl -q -w net.ipv6.conf.r1.dad_transmits=1")
    router.run(f"ip -6 addr add {SERVER6}/128 dev r1")
    try:
        eventually(lambda: "dadfailed" in router.run("ip -6 addr show dev r1"),
                   "the other one notices that the address is taken")
    finally:
        router.run(f"ip -6 addr del {SERVER6}/128 dev r1")
        router.run("sysctl -q -w net.ipv6.conf.r1.accept_dad=0")
    ping(network, SERVER6, 56)


def kernel_has_vlans(network):
    try:
        network.router.run(f"ip link add link r1 name try{VLAN} type vlan id {VLAN}")
        network.router.run(f"ip link del try{VLAN}")
    except RuntimeError as error:
        equal("Unknown device type" in str(error), True, str(error))
        print("this kernel has no VLANs (modprobe 8021q): that case is left out")
        return False
    return True


def vlans_of_the_kernel(network):
    for namespace, interface, address in ((network.server, INTERFACE, VLAN_NEAR),
                                          (network.router, "r1", VLAN_FAR)):
        namespace.run(f"ip link add link {interface} name vlan{VLAN} type vlan id {VLAN}")
        namespace.run(f"ip addr add {address}/24 dev vlan{VLAN}")
        namespace.run(f"ip link set vlan{VLAN} up")
    client, network.client = network.client, network.router
    try:
        ping(network, VLAN_NEAR, 1000)
    finally:
        network.client = client
        network.router.run(f"ip link del vlan{VLAN}")
        network.server.run(f"ip link del vlan{VLAN}")


def a_start_is_announced(network):
    """Twice (RFC 5227 section 2.3), the second time because the link has come up: whoever had the
    addresses before is in everybody's caches."""
    arps = advertisements = 0
    with network.router.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as sniffer:
        sniffer.bind(("r1", ALL))
        sniffer.settimeout(0.1)
        network.polluxd = Server(network.arguments.server, network, network.folder, OPTIONS)
        own, six = socket.inet_aton(SERVER), socket.inet_pton(socket.AF_INET6, SERVER6)
        deadline = time.monotonic() + SECONDS
        while arps < 2 or advertisements < 2:
            equal(time.monotonic() < deadline, True, f"in time; {arps} and {advertisements} so far")
            try:
                frame = sniffer.recv(2048)
            except socket.timeout:
                continue
            arps += frame[12:14] == b"\x08\x06" and frame[28:32] == own and frame[38:42] == own
            advertisements += (frame[12:14] == b"\x86\xdd" and frame[54] == ADVERTISEMENT and
                               frame[62:78] == six)


class Flood:
    """While it lasts, frames of one kind go to the server as fast as this machine makes them."""

    SOURCE = ("import socket, sys\n"
              "sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n"
              "sock.bind((sys.argv[1], 0))\n"
              "frame = bytes.fromhex(sys.argv[2])\n"
              "while True:\n"
              "    try:\n"
              "        sock.send(frame)\n"
              "    except OSError:\n"
              "        pass\n")

    def __init__(self, network, frame):
        words = network.router.command(sys.executable, "-c", self.SOURCE, "r1", frame.hex())
        self.process = subprocess.Popen(words, preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def mac_of(namespace, interface):
    with open(f"/proc/{namespace.pid}/root/sys/class/net/{interface}/address",
              encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace(":", ""))


def packet_to_server(network, protocol, body):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    head += socket.inet_aton("10.9.0.254") + socket.inet_aton(SERVER)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return (mac_of(network.server, "s0") + mac_of(network.router, "r1") + b"\x08\x00" + head + body)


def arp_question(network, target):
    sender = mac_of(network.router, "r1")
    return (b"\xff" * 6 + sender + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sender +
            socket.inet_aton("10.9.0.254") + bytes(6) + socket.inet_aton(target))


def while_flooded(network, frame, counter):
    """The limit of that class takes hold; the dataplane serves, ARP and BGP get through."""
    before = stack_figure(network, counter)
    with Flood(network, frame):
        eventually(lambda: stack_figure(network, counter) > before + 1000, f"{counter} rises")
        with Client(network) as client:
            for number in range(200):
                began = time.monotonic()
                equal(client.call("SET", "flooded", number), b"OK", "SET meanwhile")
                equal(time.monotonic() - began < SLOW_S, True, "it did not take long")
        for _ in range(3):
            network.router.run("ip neigh flush dev r1")
            redis_cli(network)
        with Listener(network.server, SERVER, BGP_PORT, echo_lines) as listener, \
                connected(network.client, listener.address) as sock:
            sock.sendall(b"OPEN\n")
            equal(sock.recv(100), b"OPEN\n", "BGP meanwhile")
    ping(network, SERVER, 56)


def flood_of_pings(network):
    echo = struct.pack("!BBHHH", 8, 0, 0xf7ff, 0, 0)
    while_flooded(network, packet_to_server(network, socket.IPPROTO_ICMP, echo),
                  "kernel_icmp_limited")


def flood_of_datagrams(network):
    datagram = struct.pack("!HHHH", 9, 9, 8, 0)
    while_flooded(network, packet_to_server(network, socket.IPPROTO_UDP, datagram),
                  "kernel_other_limited")


def flood_of_arp(network):
    """Its own class: others are served beside it, though ARP itself may be lost then."""
    before = stack_figure(network, "kernel_first_limited")
    with Flood(network, arp_question(network, "10.9.0.33")):
        eventually(lambda: stack_figure(network, "kernel_first_limited") > before + 1000,
                   "kernel_first_limited rises")
        small_requests(network)
        ping(network, SERVER, 56)
    small_requests(network)


def cases(network):
    if network.driver == "af_packet":
        # Linux puts fragments together before an af_packet queue sees them.
        print("af_packet: no fragments, that case is left out")
        if kernel_has_vlans(network):
            yield vlans_of_the_kernel  # XDP on veth loses tags, which are not in the frame there
    else:
        yield fragments_of_8000_bytes_reach_the_kernel
    yield from (the_kernel_fetches_and_sends_much, redis_server_of_another_machine_is_reachable,
                a_long_session_line_by_line, dhcp_both_ways, neighbour_discovery_by_the_kernel,
                duplicate_addresses_are_defended)
    yield from (flood_of_pings, flood_of_datagrams, flood_of_arp)


# ---- running them ----


def setups(arguments):
    for driver in arguments.drivers.split(","):
        yield Setup(driver, cases, driver=driver, options=lambda _: OPTIONS, before=only_for_polluxd,
                    first=(a_start_is_announced,))


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, by_driver("af_packet,af_xdp")))
