"""Servers under measurement: starting them on their cores, asking them, reading what they cost.

A server is told by its `--version` line: `polluxd` takes directives that redis-server does not
know, so those are passed to polluxd only. Every server runs in its own temporary directory on a
free port of 127.0.0.1 and is stopped by its process id.
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time

HOST = "127.0.0.1"
START_DEADLINE_S = 20
STOP_DEADLINE_S = 20
SETTLE_DEADLINE_S = 60


class BenchError(Exception):
    """What makes a figure impossible or worthless; the text says what and why."""


class Client:
    """A RESP2 connection for the few questions a benchmark asks."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=120)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise BenchError("the server closed the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"-":
            raise BenchError("the server says: " + text.decode(errors="replace"))
        if kind == b"+":
            return text
        if kind == b":":
            return int(text)
        if int(text) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(text) + 2)[:-2]
        return [self._reply() for _ in range(int(text))]


def free_ports(count):
    """The first of `count` neighbouring ports that nobody listens on."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            first = probe.getsockname()[1]
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind((HOST, port))
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for one in held:
                one.close()
    raise BenchError("no free ports")


def server_kind(path):
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    except OSError as error:
        raise BenchError("%s does not start: %s" % (path, error)) from error
    line = (answer.stdout + answer.stderr).strip().splitlines()[:1]
    if line and line[0].startswith("Redis server"):
        return "redis", line[0].split(" sha=")[0]
    if line and "pollux" in line[0].lower():
        return "pollux", line[0]
    raise BenchError("%s is neither polluxd nor redis-server: %r" % (path, line))


class Process:
    """Any program that listens on one port: started on given cores, ended with `with`."""

    def __init__(self, label, command, port, cores, directory):
        self.label = label
        self.port = port
        self.cores = sorted(cores)
        self.directory = directory
        self.log = open(os.path.join(directory.name, "output"), "w+b")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            cwd=directory.name, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-2000:]

    def wait_for_port(self, deadline_s):
        deadline = time.monotonic() + deadline_s
        while True:
            if self.process.poll() is not None:
                raise BenchError("%s ended at start:\n%s" % (self.label, self.output()))
            try:
                socket.create_connection((HOST, self.port), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise BenchError("%s does not listen:\n%s" % (self.label, self.output()))
            time.sleep(0.02)

    def cpu_s(self):
        """CPU seconds of all its threads, also of those that have ended, with ns resolution."""
        process_clock = (~self.pid << 3) | 2
        return time.clock_gettime(process_clock)

    def status_bytes(self, name):
        with open("/proc/%d/status" % self.pid) as status:
            kib = re.search(r"^%s:\s+(\d+) kB" % name, status.read(), re.M)
        return int(kib.group(1)) * 1024

    def rss_bytes(self):
        return self.status_bytes("VmRSS")

    def own_bytes(self):
        """Its RSS without what it shares with others, as the packets of a memif peer that is there."""
        return self.rss_bytes() - self.status_bytes("RssShmem")

    def settled_rss_bytes(self):
        """RSS once it has kept still for a second: a rehash or a purge may go on after the load."""
        deadline = time.monotonic() + SETTLE_DEADLINE_S
        last, since = self.rss_bytes(), time.monotonic()
        while time.monotonic() - since < 1:
            if time.monotonic() > deadline:
                raise BenchError("%s: memory does not come to rest" % self.label)
            time.sleep(0.1)
            now = self.rss_bytes()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise BenchError("%s does not stop at SIGTERM" % self.label) from None
        self.log.close()
        self.directory.cleanup()


class Server(Process):
    """A polluxd or redis-server without persistence."""

    def __init__(self, label, path, cores, workers=1, per_core_ports=False, arguments=(),
                 wrapper=(), deadline_s=START_DEADLINE_S):
        self.kind, self.version = server_kind(path)
        self.workers = workers if self.kind == "pollux" else 1
        port = free_ports(1 + workers if per_core_ports else 1)
        self.first_core_port = port + 1
        directory = tempfile.TemporaryDirectory(prefix="pollux-bench-")
        command = [*wrapper, os.path.abspath(path), "--port", str(port), "--bind", HOST,
                   "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", directory.name]
        if self.kind == "pollux":
            command += ["--workers", str(workers)]
            if per_core_ports:
                command += ["--per-core-endpoints", "yes",
                            "--per-core-port-base", str(self.first_core_port)]
            command += arguments
        super().__init__(label, command, port, cores, directory)
        self.wait_for_port(deadline_s)
        if self.call("PING") != b"PONG":
            raise BenchError(label + " does not answer PING")

    def call(self, *words):
        client = Client(self.port)
        try:
            return client.call(*words)
        finally:
            client.close()

    def worker_fields(self):
        """Lines `workerN:name=value,...` of INFO's section Workers, a dictionary for each."""
        rows = []
        for line in self.call("INFO", "workers").decode().splitlines():
            if re.match(r"worker\d+:", line):
                pairs = [pair.split("=", 1) for pair in line.split(":", 1)[1].split(",")]
                rows.append({pair[0]: pair[1] for pair in pairs if len(pair) == 2})
        if len(rows) != self.workers:
            raise BenchError("%s: INFO workers has %d lines for %d workers" %
                             (self.label, len(rows), self.workers))
        return rows

    def worker_numbers(self, field):
        rows = self.worker_fields()
        if any(field not in row for row in rows):
            raise BenchError("%s: INFO workers has no field %s" % (self.label, field))
        return [float(row[field]) for row in rows]


def echo_server(path, cores):
    port = free_ports(1)
    directory = tempfile.TemporaryDirectory(prefix="pollux-bench-")
    echo = Process("bare epoll echo", [os.path.abspath(path), str(port)], port, cores, directory)
    echo.wait_for_port(START_DEADLINE_S)
    return echo


class CoreUse:
    """What others take of a server's cores from now on: programs, and the host's steal time."""

    def __init__(self, server):
        self.server = server
        self.start = time.monotonic()
        self.cpu_s = server.cpu_s()
        self.taken_s = self._taken_s()

    def _taken_s(self):
        """Seconds of /proc/stat in which the cores were neither idle nor waiting for a disk."""
        ticks = 0
        with open("/proc/stat") as stat:
            for line in stat:
                match = re.match(r"cpu(\d+) (.*)", line)
                if match and int(match.group(1)) in self.server.cores:
                    fields = [int(field) for field in match.group(2).split()]
                    ticks += sum(fields[:3]) + sum(fields[5:8])
        return ticks / os.sysconf("SC_CLK_TCK")

    def taken_by_others(self):
        """As a share of the cores' time since the start. Ticks are coarse for short spans."""
        span = (time.monotonic() - self.start) * len(self.server.cores)
        own = self.server.cpu_s() - self.cpu_s
        return max(0.0, (self._taken_s() - self.taken_s - own) / span)
