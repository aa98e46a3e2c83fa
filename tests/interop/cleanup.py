#!/usr/bin/python3
"""The programs here leave nothing behind: ended in the middle, after a case that failed, and killed.

    cleanup.py --server build/polluxd [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import glob
import os
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from client import SECONDS, equal, eventually  # noqa: E402
from runner import MARK, PREFIX, Setup, main, start_time, started_by  # noqa: E402
from topology import die_with_parent  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
INTERFACES = {"c0", "r0", "r1", "s0", "t0", "pollux0"}
NOBODY = 65534

# A program whose only case says that it is there, waits for a line, and fails.
FAILING = f"""
import sys
sys.path.insert(0, {HERE!r})
from runner import Setup, main

def fails(network):
    print("in the middle", flush=True)
    sys.stdin.readline()
    raise AssertionError("as it should")

sys.argv[0] = "failing.py"
sys.exit(main("fails", lambda _: [Setup("af_xdp", lambda _: (fails,), driver="af_xdp")]))
"""

# One that starts others all the time, which end soon: while somebody looks at all processes.
BUSY = f"""
import random, subprocess, sys
sys.path.insert(0, {HERE!r})
from runner import Setup, main

def starts_others(network):
    print("in the middle", flush=True)
    others = []
    while True:
        others = [other for other in others if other.poll() is None]
        if len(others) < 20:
            others.append(subprocess.Popen(["sleep", str(random.uniform(0, 0.03))]))

sys.argv[0] = "busy.py"
sys.exit(main("starts others", lambda _: [Setup("tap", lambda _: (starts_others,), driver="tap")]))
"""

# One without cases, which does only what each does at its start.
EMPTY = f"""
import os, sys
sys.path.insert(0, {HERE!r})
import run
from runner import main
sys.argv[0] = "run.py"
if len(sys.argv) > 3:
    os.setuid(int(sys.argv.pop()))
sys.exit(main("starts and ends", lambda _: []))
"""


def program(place, *words):
    return subprocess.Popen([sys.executable, *words, "--server", place.arguments.server], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=die_with_parent)


def empty(place, *words):
    return subprocess.run([sys.executable, "-c", EMPTY, "--server", place.arguments.server, *words],
                          capture_output=True, text=True, timeout=SECONDS, check=False)


class Traces:
    """What a program that runs could leave."""

    def __init__(self, process):
        self.owner = f"{process.pid}-{start_time(process.pid)}"
        self.processes = started_by(self.owner)
        self.folders = glob.glob(os.path.join(tempfile.gettempdir(), f"{PREFIX}-{self.owner}-*"))
        self.namespaces = {self.namespace(pid) for pid in self.processes} - {
            self.namespace("self"), None}
        equal(len(self.folders), 1, "folders of the program")
        equal(len(self.namespaces) >= 2, True, f"namespaces: {self.namespaces}")
        equal(len(self.processes) >= 3, True, f"processes: {self.processes}")

    @staticmethod
    def namespace(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return None

    def processes_left(self):
        return [pid for pid, started in self.processes.items()
                if start_time(pid) == started] + list(started_by(self.owner))

    def namespaces_left(self):
        return [pid for pid in os.listdir("/proc")
                if pid.isdigit() and self.namespace(pid) in self.namespaces]

    def nothing_runs(self):
        eventually(lambda: not self.processes_left(), "its processes are gone")
        eventually(lambda: not self.namespaces_left(), "its namespaces are gone")
        equal(INTERFACES & set(os.listdir("/sys/class/net")), set(), "interfaces outside")

    def nothing_is_left(self):
        self.nothing_runs()
        equal([folder for folder in self.folders if os.path.exists(folder)], [], "folders left")


def in_the_middle(process, line):
    while (text := process.stdout.readline()) and not text.startswith(line):
        pass
    equal(text.startswith(line), True, f"it got so far as to say {line}")
    return Traces(process)


# ---- cases ----


def ended_in_the_middle(number, driver):
    def case(place):
        with program(place, os.path.join(HERE, "run.py"), "--drivers", driver) as process:
            traces = in_the_middle(process, "ok ")
            process.send_signal(number)
            _, said = process.communicate(timeout=SECONDS)
        equal(process.returncode, 128 + number, "exit status")
        equal("nothing is left" in said, True, said)
        traces.nothing_is_left()
    return f"{driver}: {signal.Signals(number).name} in the middle", case


def ended_while_it_starts_others(place):
    """Those that have ended when they are looked at are no traces."""
    with program(place, "-c", BUSY) as process:
        looks = [in_the_middle(process, "in the middle"), *(Traces(process) for _ in range(30))]
        process.terminate()
        process.communicate(timeout=SECONDS)
    equal(process.returncode, 128 + signal.SIGTERM, "exit status")
    for traces in looks:
        traces.nothing_is_left()


def ended_before_its_first_case(place):
    """As soon as there is something to clean up, at a moment of its own."""
    with program(place, os.path.join(HERE, "kernel_path.py")) as process:
        eventually(lambda: started_by(f"{process.pid}-{start_time(process.pid)}"), "it starts")
        owner = f"{process.pid}-{start_time(process.pid)}"
        process.terminate()
        process.communicate(timeout=SECONDS)
    equal(process.returncode, 128 + signal.SIGTERM, "exit status")
    equal(started_by(owner), {}, "processes left")
    equal(glob.glob(os.path.join(tempfile.gettempdir(), f"{PREFIX}-{owner}-*")), [], "folders left")


def a_case_that_fails(place):
    with program(place, "-c", FAILING) as process:
        traces = in_the_middle(process, "in the middle")
        said, _ = process.communicate("go on\n", timeout=SECONDS)
    equal(process.returncode, 1, "exit status")
    equal(said.splitlines()[-1], "1 passed, 1 failed", "last line")
    traces.nothing_is_left()


def killed_in_the_middle(place):
    """The next program finds and removes what is left, and no more than that."""
    with program(place, "-c", FAILING) as process:
        traces = in_the_middle(process, "in the middle")
        process.kill()
        process.communicate(timeout=SECONDS)
    traces.nothing_runs()
    equal(os.path.isdir(traces.folders[0]), True, "the folder is there, for want of anybody")
    foreign = tempfile.mkdtemp(prefix=f"{PREFIX}-somebody-")
    with subprocess.Popen(["sleep", "infinity"], env={**os.environ, MARK: traces.owner},
                          preexec_fn=die_with_parent) as stray:
        try:
            said = empty(place).stdout
            equal(traces.folders[0] in said, True, said)
            equal(stray.wait(SECONDS), -signal.SIGKILL, "a process that had survived")
            equal(os.path.isdir(foreign), True, "a folder of somebody else")
            equal(os.path.isdir(place.folder), True, "a folder of a program that lives")
        finally:
            stray.kill()
            os.rmdir(foreign)
    traces.nothing_is_left()


def without_root(place):
    done = empty(place, str(NOBODY))
    equal(done.returncode, 2, "exit status")
    equal(done.stdout, "", "output")
    equal(done.stderr.splitlines(), ["run.py: needs root, for network namespaces of its own"], "errors")


def setups(_arguments):
    yield Setup("", lambda _: (ended_in_the_middle(signal.SIGTERM, "af_xdp"),
                               ended_in_the_middle(signal.SIGTERM, "tap"),
                               ended_in_the_middle(signal.SIGINT, "af_packet"),
                               ended_while_it_starts_others, ended_before_its_first_case,
                               a_case_that_fails, killed_in_the_middle,
                               without_root))


if __name__ == "__main__":
    sys.exit(main(__doc__, setups))
