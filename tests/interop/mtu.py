#!/usr/bin/python3
"""The MTU, from the smallest to jumbo frames: bulk data both ways over ports that carry it, and what
is said of those that do not.

    mtu.py --server build/polluxd [--cases af_packet_9000,af_xdp_3414,...] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import socket
import struct
import subprocess
import sys

sys.dont_write_bytecode = True

from client import MEGABYTE, Client, equal, transfer  # noqa: E402
from runner import Setup, main  # noqa: E402
from topology import SERVER, SERVER6  # noqa: E402

XDP_MOST = 3414
XDP_LINK_MOST = 3430  # a veth pair with an XDP program takes little more
SECONDS = 10
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
IP4, IP6, TCP, TIMESTAMPS = 20, 40, 20, 12
START_SECONDS = 30


class Echo:
    """ICMP echo requests of a length, from the client."""

    def __init__(self, network):
        self.socket = network.client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        self.socket.settimeout(SECONDS)

    def send(self, size):
        message = struct.pack("!BBHHH", 8, 0, 0, 1, size) + bytes(size - 8)
        total = sum(struct.unpack(f"!{len(message) // 2}H", message))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        self.socket.sendto(message[:2] + struct.pack("!H", ~total & 0xffff) + message[4:],
                           (SERVER, 0))

    def length_of_reply(self):
        while True:
            packet = self.socket.recv(65536)
            if packet[IP4] == 0:
                return len(packet) - IP4


# ---- cases: each gets the network, whose `mtu` is the server's ----


def bulk_both_ways(network):
    transfer(network, 8 * MEGABYTE)


def bulk_over_ipv6(network):
    transfer(network, 4 * MEGABYTE, SERVER6)


def many_small_requests(network):
    with Client(network) as client:
        for number in range(200):
            equal(client.call("SET", f"key:{number}", number), b"OK", "SET")
            equal(client.call("GET", f"key:{number}"), str(number).encode(), "GET")


def segments_are_as_large_as_the_mtu(network):
    for address, header in ((SERVER, IP4), (SERVER6, IP6)):
        with Client(network, address) as client:
            client.call("SET", "large", bytes(100000))
            largest = client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            equal(largest, network.mtu - header - TCP - TIMESTAMPS, f"MSS to {address}")
            equal(client.call("GET", "large"), bytes(100000), "GET")


def the_largest_datagram_is_answered(network):
    echo = Echo(network)
    echo.send(network.mtu - IP4)
    equal(echo.length_of_reply(), network.mtu - IP4, "bytes of the reply")


def the_interface_has_it(network):
    text = network.server.run("ip -o link show dev s0")
    equal(f" mtu {network.mtu} " in text, True, text)


def larger_frames_do_no_harm(network):
    """The router believes in more than the server's end has room for."""
    wide = min(2 * network.mtu, XDP_LINK_MOST) if network.driver == "af_xdp" else 2 * network.mtu
    set_path(network, wide)
    try:
        echo = Echo(network)
        for _ in range(50):
            echo.send(wide - IP4)
        transfer(network, MEGABYTE)
    finally:
        set_path(network, network.mtu)


CASES = (the_interface_has_it, many_small_requests, segments_are_as_large_as_the_mtu,
         the_largest_datagram_is_answered, bulk_both_ways, bulk_over_ipv6,
         larger_frames_do_no_harm)


# ---- what is refused ----


def refusal(network, spec, mtu):
    """The line with which polluxd does not start."""
    words = [network.arguments.server, "--net-driver", "dpdk", "--dpdk-port", spec, "--dpdk-address",
             SERVER + "/24", "--dpdk-mtu", str(mtu), "--workers", "1", "--save", "", "--dir", network.folder]
    result = subprocess.run(network.server.command(*words), capture_output=True, text=True,
                            timeout=START_SECONDS, check=False)
    equal(result.returncode != 0, True, "it does not start")
    lines = [line for line in (result.stdout + result.stderr).splitlines()
             if "Cannot start" in line]
    equal(len(lines), 1, f"lines that say why, of\n{result.stdout}{result.stderr}")
    return lines[0]


def ports_that_carry_less_say_how_much(network):
    for spec, mtu, wanted in (
            ("net_af_packet0,iface=s0,framesz=4096,blocksz=8192", 9000, ("68 to 4016", "framesz")),
            ("net_tap0,iface=t9", 9000, ("68 to 1504", "net_af_packet")),
            ("net_af_xdp0,iface=s0", XDP_MOST + 1, (f"68 to {XDP_MOST}", "page"))):
        line = refusal(network, spec, mtu)
        for words in wanted + (f"not {mtu}",):
            equal(words in line, True, f"'{words}' in: {line}")


# ---- running them ----


def set_path(network, mtu):
    network.client.run(f"ip link set c0 mtu {mtu}")
    network.router.run(f"ip link set r0 mtu {mtu}")
    network.router.run(f"ip link set r1 mtu {mtu}")


def before(mtu):
    def prepare(network):
        network.mtu = mtu
        set_path(network, mtu)
        network.server.run("sysctl -q -w net.ipv6.conf.s0.disable_ipv6=1")
    return prepare


def setups(arguments):
    for name in arguments.cases.split(","):
        driver, mtu = name.rsplit("_", 1)
        yield Setup(name, lambda _: CASES, driver=driver, before=before(int(mtu)),
                    options=lambda network: ["--dpdk-mtu", str(network.mtu)])
    yield Setup("", lambda _: (ports_that_carry_less_say_how_much,), driver="af_packet", serves=False)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, ("--cases", {
        "default": f"af_packet_1280,af_packet_4000,af_packet_9000,af_xdp_2000,af_xdp_{XDP_MOST}"})))
