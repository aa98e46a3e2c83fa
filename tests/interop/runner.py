"""Runs the cases of a program here, and leaves nothing behind, however it ends.

A program hands over its setups: for each a network is made, what comes before is done, a polluxd is
started, the cases run, the server has to end well, and all of it goes. Whatever a program makes (its
namespaces with all interfaces, processes, sockets, its folder) hangs on its processes and its folder.
Those go at its end, after a case that failed, and on SIGTERM, SIGINT and SIGHUP. After SIGKILL the
processes go by themselves (PR_SET_PDEATHSIG), the folder with the next program that starts here.
"""
import argparse
import dataclasses
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import types

from topology import Network, Server

PREFIX = "pollux-interop"
MARK = "POLLUX_INTEROP"  # in the environment of whatever a program starts: who it was
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
END_SECONDS = 10


def nothing(_network):
    pass


@dataclasses.dataclass
class Setup:
    """One network, one server, its cases. A case gets the network (without a driver: a plain object),
    in which are `folder`, `arguments`, and `polluxd`, the server; functions here get it as well."""
    name: str  # goes before the names of the cases, if it is not empty
    cases: callable  # gives functions, or pairs of name and function
    driver: str = ""  # of the network; empty: there is none, and no server
    queues: int = 1  # of the interface that the server drives
    serves: bool = True  # a server runs before the cases
    options: callable = lambda network: ()  # of the server
    before: callable = nothing  # what is set up before all
    first: tuple = ()  # cases before the server is there; one of them may start it
    before_each: callable = nothing
    after_each: callable = nothing


# ---- who a program is, and what is left of dead ones ----


def start_time(pid):
    """In ticks since boot: with it a pid names one process for good. None: there is no such process,
    or only what its parent has not yet asked for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def mark_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            found = re.search(rb"(?:^|\0)" + MARK.encode() + rb"=(\d+-\d+)\0", file.read())
    except OSError:
        return None
    return found[1].decode() if found else None


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_alive(owner):
    pid, started = owner.split("-")
    return start_time(pid) == started


def started_by(owner):
    """Processes that descend from the program, or were started by it and have lost their parent, and
    when each started. All of it was read once: any of them may end at any time."""
    family = {int(owner.split("-")[0])}
    parents = {pid: parent_of(pid) for pid in processes()}
    for _ in range(len(parents)):
        more = {pid for pid, parent in parents.items() if parent in family} - family
        if not more:
            break
        family |= more
    marked = {pid for pid in parents if mark_of(pid) == owner}
    found = {pid: start_time(pid) for pid in (family | marked) - {int(owner.split("-")[0])}}
    return {pid: started for pid, started in found.items() if started is not None}


def end_processes(owner):
    """Those it started, at once; none of them has anything to save."""
    deadline = time.monotonic() + END_SECONDS
    while (left := started_by(owner)) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)  # between two looks


def sweep():
    """What programs left that could not clean up: theirs alone, and only if they are dead."""
    top, own = tempfile.gettempdir(), os.geteuid()
    for name in os.listdir(top):
        found = re.match(rf"{PREFIX}-(\d+-\d+)-", name)
        if found is None or is_alive(found[1]):
            continue
        path = os.path.join(top, name)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue  # another program was faster
        if stat.S_ISDIR(status.st_mode) and status.st_uid == own:
            print(f"removes what a program that was killed has left: {path}")
            shutil.rmtree(path, ignore_errors=True)
    for owner in {mark_of(pid) for pid in processes()} - {None}:
        if not is_alive(owner):
            print(f"ends what a program that was killed has left: {sorted(started_by(owner))}")
            end_processes(owner)


class Stay:
    """From a program's start to its end: its folder, and nothing of it is left afterwards."""

    def __init__(self, program):
        self.pid = os.getpid()
        self.owner = f"{self.pid}-{start_time(self.pid)}"
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}-{self.owner}-{program}-")
        os.environ[MARK] = self.owner
        for number in SIGNALS:
            signal.signal(number, self.stop)

    def clean(self):
        end_processes(self.owner)
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, number, _frame):
        """Does not return: cases may wait for long in their `finally`."""
        if os.getpid() == self.pid:  # else: a child that is not yet what it will be
            for other in SIGNALS:
                signal.signal(other, signal.SIG_IGN)
            self.clean()
            os.write(2, f"ended by {signal.Signals(number).name}; nothing is left\n".encode())
        os._exit(128 + number)


# ---- results ----


class Results:
    def __init__(self):
        self.passed = self.failed = 0

    def note(self, name, problem, started):
        word = "FAILED" if problem else "ok"
        print(f"{word:6} {name} ({time.monotonic() - started:.1f} s)", flush=True)
        if problem:
            print(problem, flush=True)
        self.failed += bool(problem)
        self.passed += not problem

    def attempt(self, name, case, *words):
        started = time.monotonic()
        try:
            case(*words)
            self.note(name, None, started)
        except Exception:
            self.note(name, traceback.format_exc(), started)


# ---- running the cases ----


def named(setup, case):
    """A case with its full name."""
    name, case = case if isinstance(case, tuple) else (case.__name__.replace("_", " "), case)
    return (f"{setup.name}: {name}" if setup.name else name), case


def run_case(setup, case, place, results):
    name, case = named(setup, case)
    if place.arguments.only not in name:
        return
    setup.before_each(place)
    results.attempt(name, case, place)
    setup.after_each(place)


def server_ends(place):
    status = place.polluxd.end()
    if status != 0:
        raise AssertionError(f"exit status: {status}, not 0")


def run_server(setup, place, results):
    setup.before(place)
    for case in setup.first:
        run_case(setup, case, place, results)
    if setup.driver and setup.serves and place.polluxd is None:
        place.polluxd = Server(place.arguments.server, place, place.folder, setup.options(place))
    for case in setup.cases(place):
        run_case(setup, case, place, results)
    if setup.driver and setup.serves and place.polluxd.process.returncode is None:
        results.attempt(named(setup, ("the server ends well", None))[0], server_ends, place)


def run_setup(setup, arguments, folder, results):
    started, failed = time.monotonic(), results.failed
    place = Network(setup.driver, setup.queues) if setup.driver else types.SimpleNamespace()
    place.folder, place.arguments, place.polluxd, place.control = folder, arguments, None, "cubic"
    try:
        run_server(setup, place, results)
    except Exception:
        results.note(named(setup, ("what it needs is there", None))[0], traceback.format_exc(),
                     started)
    finally:
        if place.polluxd is not None and place.polluxd.process.poll() is None:
            place.polluxd.process.kill()
            place.polluxd.process.wait()
        if results.failed > failed and place.polluxd is not None:
            print(place.polluxd.text())
        if setup.driver:
            place.end()


def by_driver(drivers):
    """The option of programs whose setups are named after drivers."""
    return ("--drivers", {"default": drivers})


def main(doc, setups, *options, needs_root=True):
    """`setups` gives them for the arguments; `options` are pairs: an argument, and what argparse is to
    know of it. Paths of programs become absolute. Returns the exit status."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--server", required=True, type=os.path.abspath)
    parser.add_argument("--only", default="", help="cases with this text in their name")
    for name, keywords in options:
        parser.add_argument(name, **keywords)
    arguments = parser.parse_args()
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    if needs_root and os.geteuid() != 0:
        print(f"{program}.py: needs root, for network namespaces of its own", file=sys.stderr)
        return 2
    sweep()
    results, stay = Results(), Stay(program)
    try:
        for setup in setups(arguments):
            run_setup(setup, arguments, stay.folder, results)
    finally:
        stay.clean()
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed or not results.passed else 0
