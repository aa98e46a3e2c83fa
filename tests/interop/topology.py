"""Three network namespaces in a row, and a polluxd with its own TCP at the far end.

    client (c0) -- (r0) router (r1) -- (s0) server       AF_XDP, af_packet: polluxd drives s0
    client (c0) -- (r0) router (t0) -- polluxd           TAP: polluxd runs in the router's namespace

A namespace lives as long as the process that holds it, and that process dies with this one: nothing
stays behind, however the tests end. Nothing leaves the namespaces.
"""
import ctypes
import os
import signal
import socket
import subprocess
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SERVER, SERVER6, PORT = "10.9.0.1", "fd09::1", 6379
START_SECONDS = 30


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Namespace:
    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "-n", "-m", "sh", "-c",
             "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        if self.holder.stdout.readline() != b"ready\n":
            raise RuntimeError("cannot make a network namespace: are we root?")
        self.pid = self.holder.pid

    def command(self, *words):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", *words]

    def run(self, text):
        """Runs one command line without quoting; its output. An error ends the test."""
        result = subprocess.run(self.command(*text.split()), capture_output=True, text=True,
                                check=False)
        if result.returncode != 0:
            raise RuntimeError(f"{text}: {result.stderr.strip()}")
        return result.stdout

    def write(self, path, text):
        """Into a file as the namespace sees it."""
        with open(f"/proc/{self.pid}/root{path}", "w", encoding="ascii") as file:
            file.write(text)

    def socket(self, family, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that belongs to the namespace: setns(2) changes the calling thread only."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            if LIBC.setns(other, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(family, kind, protocol)
            finally:
                LIBC.setns(own, CLONE_NEWNET)
        finally:
            os.close(own)
            os.close(other)

    def end(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Network:
    """Client and router, and the server's end for the given driver."""

    def __init__(self, driver, queues=1):
        self.driver, self.queues = driver, queues
        self.wrapper = []  # words before the server's own
        self.client, self.router = Namespace(), Namespace()
        self.server = Namespace() if driver != "tap" else self.router
        # Without a link-local address that is known to be its own, the router asks nobody for a MAC,
        # and after three seconds tells the client that the server cannot be reached.
        for namespace in (self.client, self.router, self.server):
            namespace.run("sysctl -q -w net.ipv6.conf.default.accept_dad=0")
        self.pair(self.client, "c0", self.router, "r0")
        self.client.run("ip addr add 10.8.0.2/24 dev c0")
        self.client.run("ip -6 addr add fd08::2/64 dev c0 nodad")
        self.client.run("ip route add default via 10.8.0.1")
        self.router.run("ip addr add 10.8.0.1/24 dev r0")
        self.router.run("ip -6 addr add fd08::1/64 dev r0 nodad")
        self.client.run("ip -6 route add default via fd08::1")
        self.router.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        if driver != "tap":
            self.pair(self.router, "r1", self.server, "s0", queues)
            self.far_side("r1")

    @staticmethod
    def offloads_off(namespace, interface):
        namespace.run(f"{ROOT}/tools/pollux-nic tune --interface {interface}")

    def pair(self, left, left_name, right, right_name, queues=1):
        count = f" numrxqueues {queues} numtxqueues {queues}" if queues > 1 else ""
        left.run(f"ip link add {left_name}{count} type veth peer name {right_name}{count} "
                 f"netns {right.pid}")
        for namespace, name in ((left, left_name), (right, right_name)):
            namespace.run(f"ip link set {name} up")
            self.offloads_off(namespace, name)

    def far_side(self, interface):
        self.router.run(f"ip addr add 10.9.0.254/24 dev {interface}")
        self.router.run(f"ip -6 addr add fd09::254/64 dev {interface} nodad")

    def port_spec(self):
        return {"tap": "net_tap0,iface=t0", "af_xdp": "net_af_xdp0,iface=s0",
                "af_packet": "net_af_packet0,iface=s0"}[self.driver]

    def end(self):
        for namespace in {self.client, self.router, self.server}:
            namespace.end()


class Server:
    """A polluxd on the network's far end."""

    def __init__(self, program, network, folder, extra=()):
        self.log = os.path.join(folder, f"{network.driver}.log")
        words = [program, "--net-driver", "dpdk", "--dpdk-port", network.port_spec(),
                 "--dpdk-address", SERVER + "/24", SERVER6 + "/64",
                 "--dpdk-gateway", "10.9.0.254", "fd09::254", "--dpdk-idle", "200",
                 "--workers", "1", "--port", str(PORT), "--protected-mode", "no", "--save", "",
                 "--dir", folder, *extra]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(network.server.command(*network.wrapper, *words),
                                            stdout=log, stderr=log, preexec_fn=die_with_parent)
        deadline = time.monotonic() + START_SECONDS
        while "Ready to accept" not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"polluxd does not start:\n{self.text()}")
            time.sleep(0.02)  # between two looks
        if network.driver == "tap":
            network.router.run("ip link set t0 up")
            network.far_side("t0")

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def end(self):
        """Its exit status after SIGTERM; a server that hangs is killed and told."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "no end within 20 seconds"
