#!/usr/bin/python3
"""dpdk-kernel-path: polluxd and services of the kernel on the same port and addresses.

    kernel_path.py --server build/polluxd [--drivers af_packet,af_xdp] [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import errno
import os
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from client import MEGABYTE, SECONDS, Client, equal, random_bytes  # noqa: E402
from run import redis_cli, small_requests  # noqa: E402
from runner import Setup, by_driver, main  # noqa: E402
from topology import SERVER, SERVER6, die_with_parent  # noqa: E402

HTTP_PORT, CLOSED_PORT = 8000, 81
INTERFACE = "pollux0"
CLIENT = "10.8.0.2"
FILE = "some.bytes"


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ping(network, address, size):
    """One echo request and its reply, of `size` bytes of payload."""
    six = ":" in address
    family, protocol = ((socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else
                        (socket.AF_INET, socket.IPPROTO_ICMP))
    kind, answer = (128, 129) if six else (8, 0)
    payload = random_bytes(size, size)
    message = struct.pack("!BBHHH", kind, 0, 0, 77, 1) + payload
    if not six:  # the kernel fills in that of ICMPv6
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    with network.client.socket(family, socket.SOCK_RAW, protocol) as sock:
        deadline = time.monotonic() + SECONDS
        while True:
            sock.sendto(message, (address, 0))
            sock.settimeout(1)  # the first one may be lost while MACs are asked for
            try:
                while True:
                    got, sender = sock.recvfrom(65535)
                    body = got if six else got[(got[0] & 15) * 4:]
                    if sender[0] == address and body[0] == answer and body[8:] == payload:
                        return
            except socket.timeout:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{address} does not answer") from None


def stack_figure(network, name):
    """Of all queues together."""
    with Client(network) as client:
        text = client.call("INFO", "everything").decode()
    return sum(int(part.partition("=")[2]) for part in text.replace("\r\n", ",").split(",")
               if part.startswith(name + "="))


# ---- cases ----


def ping_is_answered_by_the_kernel(network):
    before = stack_figure(network, "kernel_icmp")
    ping(network, SERVER, 56)
    equal(stack_figure(network, "kernel_icmp") > before, True, "it went to the kernel")


def ping_over_ipv6(network):
    ping(network, SERVER6, 56)


def ping_in_fragments(network):
    ping(network, SERVER, 4000)


def redis_beside_it(network):
    redis_cli(network)
    small_requests(network)


def http_get(network):
    sock = network.client.socket(socket.AF_INET)
    with sock:
        sock.settimeout(SECONDS)
        sock.connect((SERVER, HTTP_PORT))
        sock.sendall(f"GET /{FILE} HTTP/1.0\r\n\r\n".encode())
        parts = []
        while part := sock.recv(1 << 16):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    equal(head.split(b"\r\n")[0].split()[1], b"200", "HTTP status")
    return body


def service_of_the_kernel_while_we_serve(network):
    words = network.server.command(sys.executable, "-m", "http.server", str(HTTP_PORT), "--bind",
                                   SERVER, "--directory", network.folder)
    content = random_bytes(9, 2 * MEGABYTE)
    with open(os.path.join(network.folder, FILE), "wb") as file:
        file.write(content)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          preexec_fn=die_with_parent) as server:
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                try:
                    body = http_get(network)
                    break
                except ConnectionRefusedError:
                    if time.monotonic() > deadline:
                        raise
            equal(body == content, True, "the file")
            with Client(network) as client:
                for number in range(20):
                    client.send("SET", "beside", number)
                    equal(http_get(network) == content, True, "the file again")
                    equal(client.reply(), b"OK", "SET meanwhile")
        finally:
            server.terminate()


def closed_ports_are_refused_by_the_kernel(network):
    with network.client.socket(socket.AF_INET) as sock:
        sock.settimeout(SECONDS)
        equal(sock.connect_ex((SERVER, CLOSED_PORT)), errno.ECONNREFUSED, "TCP")
    with network.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SECONDS)
        sock.connect((SERVER, CLOSED_PORT))
        sock.send(b"anybody?")
        try:
            sock.recv(1)
        except ConnectionRefusedError:
            return
        raise AssertionError("UDP to a closed port is answered")


def kernel_connects_to_others(network):
    with network.client.socket(socket.AF_INET) as listener:
        listener.bind((CLIENT, 0))
        listener.listen(1)
        listener.settimeout(SECONDS)
        with network.server.socket(socket.AF_INET) as sock:
            sock.settimeout(SECONDS)
            sock.connect(listener.getsockname())
            peer, address = listener.accept()
            with peer:
                equal(address[0], SERVER, "the address it comes from")
                sock.sendall(b"hello")
                equal(peer.recv(5), b"hello", "what arrives")


def resets_of_the_kernel(network):
    lines = [line.split() for line in network.server.run("cat /proc/net/snmp").splitlines()
             if line.startswith("Tcp:")]
    return int(lines[1][lines[0].index("OutRsts")])


def kernel_is_silent_about_our_port(network):
    before = resets_of_the_kernel(network)
    for _ in range(100):
        with Client(network) as client:
            equal(client.call("PING"), b"PONG", "PING")
    victim = Client(network)
    victim.send("PING")
    victim.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    victim.close()
    with Client(network) as client:
        equal(client.call("PING"), b"PONG", "PING")
    equal(resets_of_the_kernel(network), before, "resets of the kernel")


def neighbours_are_known_to_the_workers(network):
    ping(network, SERVER, 8)
    deadline = time.monotonic() + SECONDS
    while True:
        with Client(network) as client:
            found = (client.info("network_kernel_neighbours"), client.info("network_kernel_routes"))
        if found[0] >= 1 and found[1] >= 2:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"neighbours and routes of the snapshot: {found}")


# ---- refusals ----


def refusal(network, wrapper):
    """What a polluxd says that cannot start."""
    words = [network.arguments.server, "--net-driver", "dpdk", "--dpdk-port", "net_ring0", "--dpdk-address",
             SERVER + "/24", "--dpdk-kernel-path", "yes", "--workers", "1", "--save", ""]
    result = subprocess.run(network.client.command(*wrapper, *words), capture_output=True, text=True,
                            timeout=SECONDS, check=False, cwd=network.folder)
    equal(result.returncode, 1, "exit status")
    lines = [line for line in result.stdout.splitlines() if "Cannot start" in line]
    equal(len(lines), 1, f"lines that say why, of\n{result.stdout}")
    return lines[0]


def refused_without_permission(network):
    line = refusal(network, ["setpriv", "--bounding-set", "-net_admin",
                                        "--inh-caps", "-net_admin"])
    equal("setcap cap_net_admin+ep" in line, True, line)


def refused_without_the_device(network):
    line = refusal(network, ["unshare", "-m", "sh", "-c",
                                        'mount -t tmpfs tmpfs /dev/net && exec "$@"', "sh"])
    equal("modprobe tun" in line, True, line)


# ---- running them ----


def only_for_polluxd(network):
    """af_packet leaves every frame to the kernel as well, which now has the address itself."""
    server = network.server
    server.run("iptables -A INPUT -i s0 -j DROP")
    server.run("sysctl -q -w net.ipv4.conf.s0.arp_ignore=8 net.ipv6.conf.s0.disable_ipv6=1")


def the_interface_ends_with_the_server(network):
    equal(INTERFACE in network.server.run("ip -o link"), True, "the interface is there")
    equal(network.polluxd.end(), 0, "exit status")
    equal(INTERFACE in network.server.run("ip -o link"), False, "the interface is there")


CASES = (redis_beside_it, ping_is_answered_by_the_kernel, ping_over_ipv6, ping_in_fragments,
         service_of_the_kernel_while_we_serve, closed_ports_are_refused_by_the_kernel,
         kernel_connects_to_others, kernel_is_silent_about_our_port,
         neighbours_are_known_to_the_workers, the_interface_ends_with_the_server)


def cases(network):
    for case in CASES:
        if case is ping_in_fragments and network.driver == "af_packet":
            # Its several queues are fed by a kernel that puts fragments together first: what
            # comes then is longer than a packet of the port.
            print("af_packet with several queues: no fragments, that case is left out")
            continue
        yield case


def options(network):
    return ["--dpdk-kernel-path", "yes", "--workers", "2" if network.driver == "af_packet" else "1"]


def setups(arguments):
    yield Setup("", lambda _: (refused_without_permission, refused_without_the_device),
                driver="af_packet", serves=False)
    for driver in arguments.drivers.split(","):
        yield Setup(driver, cases, driver=driver, options=options, before=only_for_polluxd)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, by_driver("af_packet,af_xdp")))
