#!/usr/bin/python3
"""memif peers that are killed in mid-load, again and again: the server stays, and loses nothing.

    memif_kills.py --server build/polluxd --load build/tools/pollux-bench/pollux-bench
                   [--kills 30] [--seed N] [--only TEXT]

Needs neither root nor the network. The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed. ASan's build needs `setarch -R` in front.
"""
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from client import equal  # noqa: E402
from runner import Setup, main  # noqa: E402
from topology import die_with_parent  # noqa: E402

SECONDS = 60
ADDRESS, PORT, CLIENTS = "10.9.0.1", 6379, 20
KEEPALIVE_S = 1
KNOCKS = 400


class Polluxd:
    """One behind a memif socket; asked by a unix socket, which no memif peer has a part in."""

    def __init__(self, program, folder, *options, **popen):
        self.folder, self.memif = folder, os.path.join(folder, "memif.sock")
        self.unix, self.log = os.path.join(folder, "unix.sock"), os.path.join(folder, "log")
        words = [program, "--net-driver", "dpdk", "--dpdk-port",
                 f"net_memif0,role=server,socket-abstract=no,socket={self.memif}",
                 "--dpdk-address", ADDRESS + "/24", "--port", str(PORT), "--unixsocket", self.unix,
                 "--protected-mode", "no", "--save", "", "--workers", "1", "--dir", folder,
                 "--tcp-keepalive", str(KEEPALIVE_S), *options]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent, **popen)
        self.await_true(lambda: "Ready to accept" in self.text(), "it starts")

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        status = self.process.poll()
        if status is not None:
            raise AssertionError(f"the server has ended, status {status}:\n{self.text()[-8000:]}")

    def await_true(self, condition, what):
        deadline = time.monotonic() + SECONDS
        while not condition():
            self.alive()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {SECONDS} seconds: {what}\n{self.text()[-4000:]}")
            time.sleep(0.02)  # between two looks

    def info(self, name, line=""):
        """A figure of INFO; of the line that begins so, if its name is in several."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(SECONDS)
            sock.connect(self.unix)
            sock.sendall(b"INFO everything\r\n")
            with sock.makefile("rb") as stream:
                text = stream.read(int(stream.readline()[1:])).decode()
        text = "\n".join(one for one in text.splitlines() if one.startswith(line))
        for part in text.replace("\n", ",").split(","):
            if part.startswith((name + "=", name + ":")):
                return int(part[len(name) + 1:])
        raise KeyError(name)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            return f"no end within {SECONDS} seconds"
        finally:
            self.stop()


def load_command(arguments, server, **options):
    options = {"clients": CLIENTS, "keys": 1000, "mix": "get=1,set=1", "value_len": "10-20000",
               "pipeline": 4, "progress": 0, **options}
    words = [arguments.load, "--json", "--reconnect", "--host", ADDRESS, "--port", str(PORT),
             "--dpdk-port", f"net_memif0,role=client,socket-abstract=no,socket={server.memif}"]
    for name, value in options.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return words


def peer_works(arguments, server, popen=None, switches=(), **options):
    """A peer that comes now is served as the first one was."""
    words = load_command(arguments, server, **{"requests": 2000, **options})
    done = subprocess.run([*words, "--reset", *switches], capture_output=True, text=True, timeout=SECONDS,
                          check=False, preexec_fn=die_with_parent, **(popen or {}))
    server.alive()
    equal(done.returncode, 0, f"status of the load; it says: {done.stderr[-500:]}")
    result = json.loads(done.stdout)
    equal(result["errors"], 0, "errors")
    equal(result["requests"] > 100, True, f"requests: {result['requests']}")


def kill_one(arguments, server, dice, number):
    """A peer that is killed at a moment of its own: while it connects, or in the midst of load."""
    with subprocess.Popen(load_command(arguments, server, seconds=SECONDS, progress=0.05, warmup=0),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          preexec_fn=die_with_parent) as peer:
        try:
            if number % 5 != 0:  # the fifth is killed at its start already
                ready, _, _ = select.select([peer.stderr], [], [], SECONDS)
                equal(bool(ready) and peer.poll() is None, True, "the load runs")
            time.sleep(dice.random() * 0.15)  # the moment of the kill is what is varied
        finally:
            peer.send_signal(signal.SIGKILL)
            peer.wait()
    server.alive()


def connections(server):
    return server.info("connections", "queue0") + server.info("half_open", "queue0")


def nothing_is_left(arguments, server, before):
    """Idle connections of the dead end by keepalive; others when a peer that is there now resets
    what their next retransmission comes from. Then every packet is back."""
    deadline = time.monotonic() + 2 * SECONDS
    while connections(server) > 0:
        left = connections(server)
        equal(time.monotonic() < deadline, True, f"in time; {left} connections are left")
        peer_works(arguments, server, rate=100, seconds=2, clients=2, requests=0)
    server.await_true(lambda: server.info("connected_clients") == 1, "no client but the asking one")
    server.await_true(lambda: server.info("pool_free") >= before,
                      f"{before} free packets; there are {server.info('pool_free')}")


def clean(server):
    """No sanitizer has found anything."""
    equal("Sanitizer" in server.text() or "runtime error" in server.text(), False,
          f"a finding in:\n{server.text()[-8000:]}\n")


# ---- cases ----


def kills(arguments, folder, *options):
    """Kills, each followed by a new peer at once; every tenth one has to work properly."""
    dice = random.Random(arguments.seed)
    server = Polluxd(arguments.server, folder, *options)
    try:
        peer_works(arguments, server)
        nothing_is_left(arguments, server, 0)
        before = server.info("pool_free")
        for number in range(1, arguments.kills + 1):
            kill_one(arguments, server, dice, number)
            if number % 10 == 0:
                peer_works(arguments, server)
        peer_works(arguments, server)
        nothing_is_left(arguments, server, before)
        peer_works(arguments, server)
        equal(server.end(), 0, "exit status")
    except AssertionError:
        print(server.text()[-8000:])
        raise
    finally:
        server.stop()
    clean(server)


def peers_are_killed_in_mid_load(arguments, folder):
    kills(arguments, folder)


def peers_are_killed_while_workers_may_sleep(arguments, folder):
    """With dpdk-idle a worker rests in epoll when a peer goes, and is not woken by it."""
    kills(arguments, folder, "--dpdk-idle", "20")


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def a_server_asleep_hears_of_a_new_peer(arguments, folder):
    """The peer ends, the worker falls asleep for good; the next one is served all the same."""
    server = Polluxd(arguments.server, folder, "--dpdk-idle", "20")
    try:
        for _ in range(5):
            peer_works(arguments, server)
            nothing_is_left(arguments, server, 0)
            server.await_true(lambda: server.text().count(": link down\n") ==
                              server.text().count(": link up"), "its end is noticed")
            spent = cpu_seconds(server)
            time.sleep(1)  # what is measured: what an idle second costs
            equal(cpu_seconds(server) - spent < 0.5, True, "the worker sleeps")
        peer_works(arguments, server, rate=100, seconds=3, clients=1, requests=0)
        equal(": link up" in server.text(), True, "the log tells of a peer that stays")
        equal(server.end(), 0, "exit status")
    finally:
        server.stop()
    clean(server)


def the_server_ends_while_peers_come_and_go(arguments, folder):
    """SIGTERM at any moment around the kill of a peer: the port and EAL go while EAL's own thread is
    still busy with that peer. The end is a clean one all the same."""
    dice = random.Random(arguments.seed)
    for number in range(arguments.kills):
        server = Polluxd(arguments.server, folder)
        try:
            with subprocess.Popen(load_command(arguments, server, seconds=SECONDS, progress=0.05,
                                               warmup=0), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, preexec_fn=die_with_parent) as peer:
                if number % 3 != 0:
                    select.select([peer.stderr], [], [], SECONDS)
                else:
                    time.sleep(dice.random() * 0.3)  # it may be anywhere in its start
                peer.kill()
                peer.wait()
            if number % 2 != 0:
                time.sleep(dice.random() * 0.01)  # before or after its end was noticed
            equal(server.end(), 0, f"exit status {number}")
            equal(os.path.exists(server.memif), False, "the socket file is there")
        finally:
            server.stop()
        clean(server)


def the_server_is_killed_and_comes_back(arguments, folder):
    """Its socket file stays behind and is in nobody's way; a peer that lived through it is served
    again, having connected anew by itself."""
    server = Polluxd(arguments.server, folder)
    with subprocess.Popen(load_command(arguments, server, seconds=SECONDS, rate=200, clients=2),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          preexec_fn=die_with_parent) as peer:
        try:
            for _ in range(3):
                server.await_true(lambda: server.info("total_commands_processed") > 100,
                                  "the peer is served")
                server.stop()
                equal(os.path.exists(server.memif), True, "the socket file is there")
                server = Polluxd(arguments.server, folder)
        finally:
            peer.kill()
            server.stop()
    clean(server)


def peers_that_only_knock(arguments, folder):
    """They connect and go, greeted or not; and a second server looks whether the socket is in use."""
    server = Polluxd(arguments.server, folder)
    try:
        for number in range(KNOCKS):
            server.alive()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
                peer.connect(server.memif)  # waits where the server's backlog is full
                peer.settimeout(SECONDS)
                if number % 4 == 0:
                    equal(len(peer.recv(1000)) > 0, True, "a greeting")
        words = [arguments.server, "--net-driver", "dpdk", "--dpdk-port",
                 f"net_memif0,role=server,socket-abstract=no,socket={server.memif}",
                 "--dpdk-address", ADDRESS + "/24", "--dir", folder, "--save", ""]
        for _ in range(3):
            second = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS,
                                    check=False, preexec_fn=die_with_parent)
            equal("another memif server listens" in second.stdout, True, second.stdout)
        peer_works(arguments, server)
        equal(server.end(), 0, "exit status")
    finally:
        server.stop()
    clean(server)


CASES = (peers_that_only_knock, peers_are_killed_in_mid_load, peers_are_killed_while_workers_may_sleep,
         a_server_asleep_hears_of_a_new_peer, the_server_ends_while_peers_come_and_go,
         the_server_is_killed_and_comes_back)


# ---- running them ----


def in_a_folder_of_its_own(case):
    def run(place):
        folder = tempfile.mkdtemp(dir=place.folder)
        case(place.arguments, folder)
        shutil.rmtree(folder)
    return run


def setups(arguments):
    print(f"seed {arguments.seed}")
    yield Setup("", lambda _: [(case.__name__.replace("_", " "), in_a_folder_of_its_own(case))
                               for case in CASES])


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, ("--load", {"type": os.path.abspath, "required": True}),
                  ("--kills", {"type": int, "default": 30}),
                  ("--seed", {"type": int, "default": random.SystemRandom().randrange(1 << 32)}),
                  needs_root=False))
