"""Server processes: started with redis-style arguments, waited for, stopped, never left behind."""
import ctypes
import dataclasses
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import packets
from .resp import Closed, Conn, Err, info_fields

START_S = 20.0
STOP_S = 20.0
# Directives that redis-server does not have; left out with --as-redis.
POLLUX_ONLY = {"workers", "worker-cpus", "net-driver", "per-core-endpoints",
               "per-core-port-base", "worker-mailbox-size", "dpdk-port", "dpdk-args",
               "dpdk-address", "dpdk-gateway", "dpdk-mtu", "dpdk-queues",
               "dpdk-flow-isolation", "dpdk-offloads", "dpdk-kernel-path",
               "dpdk-idle", "dpdk-congestion"}
# What no log of a healthy server contains.
ALARMS = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|"
                    r"Assertion .* failed|BUG REPORT START")


LIBC = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP = 24
CAP_SYS_RESOURCE = 24


def keep_below(file_limit):
    """Limits the calling process's descriptors for good: root could raise the limit again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, file_limit)
    if os.geteuid() == 0 and LIBC.prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class StartFailed(Exception):
    """The server ended, or did not answer PING in time."""

    def __init__(self, status, output):
        super().__init__(f"server did not start (status {status}):\n{output}")
        self.status = status
        self.output = output


@dataclasses.dataclass(frozen=True)
class Target:
    """The program under test."""
    path: str
    as_redis: bool = False
    sanitized: bool = False  # RSS says nothing then: shadow memory, redzones, quarantine


def built_with_sanitizer(path):
    with open(path, "rb") as source:
        return re.search(rb"__[at]san_init", source.read()) is not None


def poll(condition, timeout_s=10.0, step_s=0.01, what="condition"):
    """Calls `condition` until it is true and returns its value; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} not reached within {timeout_s} s (last: {value!r})")
        time.sleep(step_s)


def port_is_free(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count=1):
    """The first of `count` free ports in a row, below the range that outgoing connections use."""
    source = random.SystemRandom()
    for _ in range(1000):
        first = source.randrange(12000, 32000)
        if all(port_is_free(port) for port in range(first, first + count)):
            return first
    raise OSError("no free ports")


def directive_arguments(directives):
    """{name: value or list of values} as command-line arguments; None leaves a directive out."""
    arguments = []
    for name, value in directives.items():
        if value is None:
            continue
        arguments.append(f"--{name}")
        values = value if isinstance(value, (list, tuple)) else [value]
        arguments.extend(str(item) for item in values)
    return arguments


class Server:
    """One running server; `stop` or `kill` ends it and removes its directory."""

    def __init__(self, target, directives=None, config_text=None, env=None, file_limit=None,
                 protocol_password=None, port=None, wait=True, prefix=()):
        self.target = target
        self.directory = tempfile.mkdtemp(prefix="pollux-test-")
        self.port = free_ports() if port is None else port
        self.wire = None
        self.host = self.client_host = "127.0.0.1"
        self.password = protocol_password
        self.last_words = ""
        self.process = None
        self.stopped_status = None
        chosen = {"port": self.port, "bind": "127.0.0.1", "save": "", "dir": self.directory,
                  "enable-debug-command": "yes"}
        chosen.update(directives or {})
        if chosen.get("net-driver") == packets.DRIVER:
            self.wire = packets.Wire()
            self.host, self.client_host = self.wire.host, self.wire.client_host
            chosen.update({**self.wire.directives(), **(directives or {}),
                           "net-driver": "dpdk"})
        self.address = (self.host, self.port)
        if target.as_redis:
            chosen = {name: value for name, value in chosen.items() if name not in POLLUX_ONLY}
        self.directives = chosen
        self.arguments = [*prefix, target.path]
        if config_text is not None:
            path = os.path.join(self.directory, "test.conf")
            with open(path, "w", encoding="utf-8") as out:
                out.write(config_text)
            self.arguments.append(path)
        self.arguments += directive_arguments(chosen)
        if self.wire is not None:
            self.arguments = self.wire.command(self.arguments)
        self.output_path = os.path.join(self.directory, "output")
        try:
            with open(self.output_path, "wb") as output:
                self.process = subprocess.Popen(
                    self.arguments, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
                    cwd=self.directory, preexec_fn=(lambda: keep_below(file_limit)) if file_limit else None)
            if wait:
                self.wait_ready()
        except BaseException:
            self.kill()
            raise

    # State

    def output(self):
        """What the server wrote to its terminal, and to its log file if it has one."""
        text = ""
        if not os.path.isdir(self.directory):
            return self.last_words
        for path in (self.output_path, self._log_path()):
            if path and os.path.exists(path):
                with open(path, "rb") as source:
                    text += source.read().decode("utf-8", "replace")
        return text

    def _log_path(self):
        name = self.directives.get("logfile")
        return os.path.join(self.directory, name) if name else None

    def alarms(self):
        """Lines that tell of a crash or of a sanitizer's finding."""
        return [line for line in self.output().splitlines() if ALARMS.search(line)]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self, timeout_s=START_S):
        def answers():
            if self.process.poll() is not None:
                raise StartFailed(self.process.returncode, self.output())
            try:
                with Conn(self.address, timeout=5.0) as probe:
                    reply = probe("PING")
            except (OSError, Closed):
                return False
            return reply == b"PONG" or isinstance(reply, Err)
        try:
            poll(answers, timeout_s, what="answer to PING")
        except AssertionError:
            raise StartFailed(None, self.output()) from None

    def client(self, **options):
        options.setdefault("password", self.password)
        return Conn(self.address, **options)

    def info(self, section="everything"):
        with self.client() as conn:
            return info_fields(conn.must("INFO", section))

    # Figures of the process

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as source:
            return int(source.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self):
        """CPU seconds used so far, user and system."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as source:
            fields = source.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stacks(self):
        """Where each thread of the server waits, as far as the kernel tells."""
        lines = []
        base = f"/proc/{self.process.pid}/task"
        try:
            for task in sorted(os.listdir(base), key=int):
                facts = []
                for name in ("comm", "wchan", "syscall"):
                    try:
                        with open(f"{base}/{task}/{name}", encoding="ascii") as source:
                            facts.append(source.read().strip())
                    except OSError:
                        facts.append("?")
                lines.append(f"  task {task}: {' | '.join(facts)}")
        except OSError as error:
            lines.append(f"  {error}")
        return "\n".join(lines)

    # End

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout_s=STOP_S):
        """Waits for the end by itself; returns the exit status."""
        self.stopped_status = self.process.wait(timeout_s)
        return self.stopped_status

    def stop(self):
        """SIGTERM; fails unless the server ends by itself with status 0 and a clean log."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    raise AssertionError(
                        f"no end {STOP_S} s after SIGTERM\n{self.stacks()}") from None
            status, alarms = self.process.returncode, self.alarms()
            if status != 0 or alarms:
                raise AssertionError(
                    f"server ended with status {status} {alarms}\n{tail(self.output())}")
        finally:
            self.kill()

    def kill(self):
        """Ends the process whatever its state and removes the directory."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.wire is not None:
            self.wire.end()
            self.wire = None
        self.last_words = self.output()
        shutil.rmtree(self.directory, ignore_errors=True)


def tail(text, lines=30):
    return "\n".join(text.splitlines()[-lines:])


def run_to_end(arguments, input_bytes=None, timeout_s=20.0, env=None, cwd=None):
    """Runs a program that must end by itself; returns (status, output with errors)."""
    done = subprocess.run(arguments, input=input_bytes, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout_s, check=False, cwd=cwd,
                          env={**os.environ, **(env or {})},
                          **({} if input_bytes is not None else {"stdin": subprocess.DEVNULL}))
    return done.returncode, done.stdout.decode("utf-8", "replace")
