"""Starts and stops the servers under comparison.

Each runs in a temporary directory of its own, on a free loopback port and a unix socket, and dies
with the runner (PR_SET_PDEATHSIG), also when that one is killed. Only own processes are signalled.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from resp import Channel

# Behind all else: a run.py is there as well.
sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                             "integration"))
from harness import packets  # noqa: E402  (the path must be set first)

START_SECONDS = 20
ALIVE_SECONDS = 10
STOP_SECONDS = 10
START_TRIES = 3
PR_SET_PDEATHSIG = 1
MAX_CLIENTS = 500
DATABASES = 16

COMMON = [
    "--bind", "127.0.0.1",
    "--protected-mode", "no",
    "--save", "",
    "--enable-debug-command", "yes",
    "--databases", str(DATABASES),
    "--maxclients", str(MAX_CLIENTS),
]  # fmt: skip


class ServerDied(Exception):
    """The process is gone or does not answer; the text holds its last log lines."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server process. `label` names it in reports."""

    def __init__(self, label, binary, arguments=(), transport="mixed", on_packets=False):
        self.label = label
        self.binary = binary
        self.arguments = list(arguments)
        self.transport = transport
        self.on_packets = on_packets  # drives an interface of its own: harness/packets.py
        self.wire = None
        self.process = None
        self.directory = None
        self.port = 0
        self.log_path = None
        self.generation = 0  # counts starts: connections of an older one are void

    def start(self):
        for attempt in range(START_TRIES):
            self._launch()
            try:
                self._wait_until_ready()
                return
            except ServerDied:
                taken = b"ddress already in use" in self._log_bytes()
                if not taken or attempt == START_TRIES - 1:
                    raise
                self.kill()  # somebody else took the port in between

    def _launch(self):
        self.directory = tempfile.mkdtemp(prefix="pollux-diff-")
        self.port = free_port()
        self.log_path = os.path.join(self.directory, "log")
        command = [self.binary, "--port", str(self.port), "--dir", self.directory] + COMMON
        if self.on_packets:
            self.wire = packets.Wire()
            command += packets.arguments(self.wire.directives())
        if self.transport != "tcp":
            command += ["--unixsocket", self.socket_path()]
        log = open(self.log_path, "wb")
        try:
            command += self.arguments
            self.process = subprocess.Popen(
                command if self.wire is None else self.wire.command(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                preexec_fn=die_with_parent,
            )
        finally:
            log.close()
        self.generation += 1

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                channel = Channel((self.host(), self.port))
            except OSError:
                time.sleep(0.01)  # the deadline above bounds this poll
                continue
            ready = channel.call("PING", seconds=2).raw == b"+PONG\r\n"
            channel.close()
            if ready:
                return
        raise ServerDied("%s did not start: %s" % (self.label, self.obituary()))

    def socket_path(self):
        return os.path.join(self.directory, "socket")

    def host(self):
        return "127.0.0.1" if self.wire is None else self.wire.host

    def address(self, conn):
        """Where connection number `conn` goes: mixed transports alternate."""
        if self.transport == "unix" or (self.transport == "mixed" and conn % 2 == 0):
            return self.socket_path()
        return (self.host(), self.port)

    def connect(self, conn):
        return Channel(self.address(conn))

    def alive(self):
        """True while the process runs and answers a new connection. A process that is writing
        its crash report is given the time to end."""
        try:
            channel = self.connect(1)
            try:
                if channel.call("PING", seconds=ALIVE_SECONDS).value is not None:
                    return True
            finally:
                channel.close()
        except OSError:
            pass
        try:
            self.process.wait(timeout=ALIVE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        return False

    def _log_bytes(self):
        try:
            with open(self.log_path, "rb") as log:
                return log.read()
        except OSError:
            return b""

    def obituary(self, lines=30):
        """Exit status and last log lines."""
        status = self.process.poll() if self.process else None
        how = "still running" if status is None else "exit status %d" % status
        tail = self._log_bytes().decode("utf-8", "replace").splitlines()[-lines:]
        return "\n".join([how] + ["    | " + line for line in tail])

    def stop(self):
        """Asks the server to end by SIGTERM. Returns None, or what was wrong with its end."""
        problem = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                problem = "%s ignored SIGTERM for %d s" % (self.label, STOP_SECONDS)
        if self.process is not None and problem is None and self.process.returncode != 0:
            problem = "%s ended badly: %s" % (self.label, self.obituary())
        self.kill()
        return problem

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.wire is not None:
            self.wire.end()
            self.wire = None
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def restart(self):
        self.kill()
        self.start()


def oracle(binary, transport, label="redis"):
    return Server(label, binary, ["--appendonly", "no", "--daemonize", "no"], transport)


def subject(binary, workers, driver, transport, extra=()):
    arguments = ["--workers", str(workers)] + list(extra)
    if driver == packets.DRIVER:
        return Server("polluxd", binary, arguments, transport, on_packets=True)
    return Server("polluxd", binary, arguments + ["--net-driver", driver], transport)
