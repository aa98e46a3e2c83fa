#!/usr/bin/python3
"""dpdk-kernel-path: the service ports are the dataplane's alone, whatever the kernel and others try.

    kernel_ports.py --server build/polluxd [--drivers af_packet,af_xdp] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import errno
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from client import SECONDS, Client, equal  # noqa: E402
from kernel_path import (CLIENT, INTERFACE, checksum, only_for_polluxd,  # noqa: E402
                         resets_of_the_kernel)
from run import redis_cli  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import PORT, SERVER, SERVER6, Server  # noqa: E402

OTHER = "10.9.0.77"
SECOND_PORT, TAKEN_PORT = 7500, 7600
CORE_PORT = 7501
ETHERTYPE_ALL, ETHERTYPE_IPV4, TCP_SYN, TCP_RST = 3, 0x0800, 2, 4
RESETS = 50


def binding(network, address, port, *options):
    """How another program of the server's machine fares that wants to listen there: 0 or an errno."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with network.server.socket(family) as sock:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            sock.bind((address, port))
            sock.listen(1)
        except OSError as error:
            return error.errno
    return 0


def reserved(network, port):
    return [binding(network, address, port, *options)
            for address in (SERVER, SERVER6, "0.0.0.0", "::")
            for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,))]


def configure(network, *words):
    with Client(network) as client:
        return client.call("CONFIG", "SET", *words)


# ---- cases ----


def nobody_else_gets_our_ports(network):
    for port in (PORT, *network.core_ports):
        equal(set(reserved(network, port)), {errno.EADDRINUSE}, f"binding {port}")
    equal(set(reserved(network, PORT + 1)), {0}, "binding another one")
    equal(binding(network, "127.0.0.1", PORT), 0, "our port on an address that is not ours")


def reservations_follow_the_port(network):
    equal(configure(network, "port", SECOND_PORT), b"OK", "CONFIG SET port")
    try:
        equal(set(reserved(network, SECOND_PORT)), {errno.EADDRINUSE}, "binding the new one")
        equal(set(reserved(network, PORT)), {0}, "binding the old one")
        with network.client.socket(socket.AF_INET) as sock:
            sock.settimeout(SECONDS)
            equal(sock.connect_ex((SERVER, PORT)), errno.ECONNREFUSED, "the old one is the kernel's")
    finally:
        with network.client.socket(socket.AF_INET) as sock:
            sock.settimeout(SECONDS)
            sock.connect((SERVER, SECOND_PORT))
            sock.sendall(f"CONFIG SET port {PORT}\r\n".encode())
            equal(sock.recv(100), b"+OK\r\n", "CONFIG SET port, back")
    equal(set(reserved(network, PORT)), {errno.EADDRINUSE}, "binding the first one again")
    equal(set(reserved(network, SECOND_PORT)), {0}, "binding the second one")
    redis_cli(network)


def a_port_that_another_program_has_is_refused(network):
    with network.server.socket(socket.AF_INET) as sock:
        sock.bind(("0.0.0.0", TAKEN_PORT))
        sock.listen(1)
        equal(configure(network, "port", TAKEN_PORT)[:4], b"ERR ", "CONFIG SET port")
        equal(f"Could not reserve TCP port {SERVER}:{TAKEN_PORT}" in network.polluxd.text(), True,
              "the log names address and port")
    equal(set(reserved(network, PORT)), {errno.EADDRINUSE}, "binding the present one")
    redis_cli(network)


def local_ports(network, text=None):
    """Those that connect(2) chooses from: sets them, or reads them."""
    name = "net.ipv4.ip_local_port_range"
    words = ["-n", name] if text is None else ["-q", "-w", f"{name}={text}"]
    return subprocess.run(network.server.command("sysctl", *words), capture_output=True, text=True,
                          check=True).stdout.strip()


def the_kernel_opens_nothing_from_our_ports(network):
    """Of two ports for outgoing connections one is ours: only the other one is ever used."""
    server = network.server
    before = local_ports(network)
    with network.client.socket(socket.AF_INET) as listener:
        listener.bind((CLIENT, 0))
        listener.listen(8)
        try:
            local_ports(network, f"{PORT} {PORT + 1}")
            for _ in range(4):
                with server.socket(socket.AF_INET) as sock:
                    sock.settimeout(SECONDS)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.connect(listener.getsockname())
                    equal(sock.getsockname(), (SERVER, PORT + 1), "its own end")
            local_ports(network, f"{PORT} {PORT}")
            with server.socket(socket.AF_INET) as sock:
                sock.settimeout(SECONDS)
                equal(sock.connect_ex(listener.getsockname()), errno.EADDRNOTAVAIL,
                      "connecting with ours alone")
        finally:
            local_ports(network, before)


def syn(port, source_port):
    """Ethernet, IPv4 and TCP of a SYN from the client to the server."""
    ends = socket.inet_aton(CLIENT) + socket.inet_aton(SERVER)
    tcp = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, TCP_SYN, 65535, 0, 0)
    total = checksum(ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0) + ends
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return bytes(12) + struct.pack("!H", ETHERTYPE_IPV4) + head + tcp


def resets_seen(sniffer, port):
    """Frames that came by so far, with a reset of the server's from that port."""
    seen = 0
    while True:
        try:
            frame = sniffer.recv(2048)
        except BlockingIOError:
            return seen
        seen += (frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_TCP and
                 frame[26:30] == socket.inet_aton(SERVER) and
                 struct.unpack("!H", frame[34:36])[0] == port and frame[47] & TCP_RST != 0)


def provoke(network, port):
    """SYNs that the kernel of the server's machine gets to see past the dataplane, by its loopback.
    Waits until it has answered all of them."""
    before = resets_of_the_kernel(network)
    with network.server.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("lo", 0))
        for number in range(RESETS):
            sock.send(syn(port, 40000 + number))
    deadline = time.monotonic() + SECONDS
    while resets_of_the_kernel(network) < before + RESETS:
        if time.monotonic() > deadline:
            raise AssertionError("the kernel does not answer: nothing was tried")
        time.sleep(0.01)  # between two looks


def no_reset_of_the_kernel_leaves(network):
    """The kernel knows no connection of our ports. Made to say so, it is not heard."""
    for name in ("all", "lo"):
        network.server.run(f"sysctl -q -w net.ipv4.conf.{name}.rp_filter=0")
    with network.router.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ALL)) as sniffer:
        sniffer.bind(("r1", ETHERTYPE_ALL))
        sniffer.setblocking(False)
        # From a port that is not ours they do leave, so what follows is no proof of a dead sniffer.
        provoke(network, PORT + 1)
        seen, deadline = 0, time.monotonic() + SECONDS
        while seen < RESETS:
            seen += resets_seen(sniffer, PORT + 1)
            if time.monotonic() > deadline:
                raise AssertionError(f"{seen} resets of {RESETS} were seen from a port of the kernel's")
            time.sleep(0.01)  # between two looks
        with Client(network) as client:
            before = client.info("network_kernel_ours")
            for port in (PORT, *network.core_ports):
                provoke(network, port)
            deadline = time.monotonic() + SECONDS
            while client.info("network_kernel_ours") < before + RESETS * (1 + len(network.core_ports)):
                if time.monotonic() > deadline:
                    raise AssertionError("they were not dropped on the way from the TAP")
            equal(client.call("PING"), b"PONG", "PING")
        seen = sum(resets_seen(sniffer, port) for port in (PORT, *network.core_ports))
        equal(seen, 0, "resets from our ports")


def our_port_on_another_address_is_the_kernels(network):
    """The dataplane has what dpdk-address says; addresses that come later are the kernel's alone."""
    server = network.server
    server.run(f"ip addr add {OTHER}/24 dev {INTERFACE}")
    try:
        with server.socket(socket.AF_INET) as listener:
            listener.bind((OTHER, PORT))
            listener.listen(1)
            listener.settimeout(SECONDS)
            with network.client.socket(socket.AF_INET) as sock:
                sock.settimeout(SECONDS)
                sock.connect((OTHER, PORT))
                peer, _ = listener.accept()
                with peer:
                    peer.sendall(b"another server")
                    equal(sock.recv(100), b"another server", "what is heard there")
            redis_cli(network)
    finally:
        server.run(f"ip addr del {OTHER}/24 dev {INTERFACE}")
    redis_cli(network)


def an_address_taken_from_the_kernel_stays_the_dataplanes(network):
    """`ip addr del` on the interface: the workers serve on, and ping and ARP are gone with it. Then
    `ip addr add`: all is as before."""
    server = network.server
    server.run(f"ip addr del {SERVER}/24 dev {INTERFACE}")
    try:
        redis_cli(network)
    finally:
        server.run(f"ip addr add {SERVER}/24 dev {INTERFACE}")
        server.run(f"ip route replace default via 10.9.0.254 dev {INTERFACE} metric 5000")
    redis_cli(network)
    equal(set(reserved(network, PORT)), {errno.EADDRINUSE}, "binding our port")


CASES = (nobody_else_gets_our_ports, reservations_follow_the_port,
         a_port_that_another_program_has_is_refused, the_kernel_opens_nothing_from_our_ports,
         no_reset_of_the_kernel_leaves, our_port_on_another_address_is_the_kernels,
         an_address_taken_from_the_kernel_stays_the_dataplanes)


# ---- running them ----


def options(network):
    return ["--dpdk-kernel-path", "yes", "--workers", str(len(network.core_ports)),
            "--per-core-endpoints", "yes", "--per-core-port-base", str(CORE_PORT)]


def a_taken_port_prevents_the_start(network):
    """Another program has the port on every address: the start says so in one line."""
    with network.server.socket(socket.AF_INET) as sock:
        sock.bind(("0.0.0.0", PORT))
        sock.listen(1)
        try:
            Server(network.arguments.server, network, network.folder, options(network)).end()
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if "Cannot start" in line]
            equal(len(lines), 1, f"lines that say why, of\n{error}")
            equal(f"Could not reserve TCP port {SERVER}:{PORT}" in lines[0], True, lines[0])
            return
    raise AssertionError("it started")


def before(network):
    # The veth pair has one queue for AF_XDP.
    network.core_ports = range(CORE_PORT, CORE_PORT + (2 if network.driver == "af_packet" else 1))
    only_for_polluxd(network)


def setups(arguments):
    for driver in arguments.drivers.split(","):
        first = (a_taken_port_prevents_the_start,) if driver == "af_packet" else ()
        yield Setup(driver, lambda _: CASES, driver=driver, options=options, before=before,
                    first=first)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, by_driver("af_packet,af_xdp")))
