"""Finds test functions, gives each its server, limits its time, and counts.

A test is a function test_*(t) in a module test_*.py, optionally marked with @case(...). `t` is a
Context: t.server is shared by tests of one kind (emptied before each), t.start(...) starts a server
of the test's own. Everything that a Context made is removed when its test ends.
"""
import argparse
import faulthandler
import importlib.util
import os
import random
import signal
import tempfile
import threading
import shutil
import time
import traceback

from . import packets
from .server import Server, StartFailed, Target, built_with_sanitizer, tail
from .table import Table


# More failures than that have a cause which a second run does not take away.
RETRIES = 5


class Skip(Exception):
    """Does not apply here (only for what --as-redis can't do)."""


class TimeUp(BaseException):
    """The test took longer than its limit. Not an Exception, so that no test swallows it."""


def case(workers=(4,), drivers="first", pollux=False, timeout=120, quick=True):
    """How a test is run: each of `workers`, the first or "each" of --drivers; pollux=True leaves it
    out with --as-redis, quick=False leaves it out with --quick; `timeout` in seconds."""
    def mark(function):
        function.case = {"workers": tuple(workers), "drivers": drivers, "pollux": pollux,
                         "timeout": timeout, "quick": quick}
        return function
    return mark


class Context:
    """What one run of one test sees."""

    def __init__(self, session, name, workers, driver):
        self.session = session
        self.target = session.target
        self.as_redis = session.target.as_redis
        self.rss_counts = not session.target.sanitized
        self.quick = session.quick
        self.name = name
        self.workers = workers
        self.driver = driver
        self.seed = f"{session.seed}:{name}:{workers}:{driver}"
        self.rng = random.Random(self.seed)
        self.notes = []
        self.own = []
        self._cleanups = []
        self._shared = None
        self._lock = threading.Lock()

    @property
    def server(self):
        with self._lock:  # also asked for by the threads of a load
            if self._shared is None:
                self._shared = self.session.shared_server(self.workers, self.driver)
            return self._shared

    def seconds(self, quick, full):
        """How long a load runs."""
        return quick if self.quick else full

    def client(self, **options):
        conn = self.server.client(**options)
        self.cleanup(conn.close)
        return conn

    def connect(self, server, **options):
        conn = server.client(**options)
        self.cleanup(conn.close)
        return conn

    def start(self, directives=None, **options):
        """A server of this test's own."""
        chosen = {"workers": self.workers, "net-driver": self.driver}
        chosen.update(directives or {})
        server = Server(self.target, chosen, **options)
        self.cleanup(server.kill)
        self.own.append(server)
        return server

    def temp_dir(self):
        path = tempfile.mkdtemp(prefix="pollux-test-")
        self.cleanup(lambda: shutil.rmtree(path, ignore_errors=True))
        return path

    def cleanup(self, function):
        self._cleanups.append(function)

    def note(self, text):
        """A figure to print beside the result."""
        self.notes.append(text)

    def tabulate(self, title, figure, target):
        """A figure for a table of all tests at the end; `target` is what it should not exceed."""
        table = self.session.tables.setdefault(title, Table(title, target))
        table.add(self.name.partition("[")[0], f"{self.workers} {self.driver}", figure)

    def need_pollux(self):
        if self.as_redis:
            raise Skip()

    def close(self):
        problems = []
        for function in reversed(self._cleanups):
            try:
                function()
            except Exception as error:
                problems.append(f"clean-up: {error}")
        self._cleanups = []
        return problems


class Session:
    """One invocation of run.py."""

    def __init__(self, options, folder):
        self.target = Target(os.path.abspath(options.server), options.as_redis,
                             built_with_sanitizer(options.server))
        self.quick = options.quick
        self.seed = options.seed
        self.options = options
        self.folder = folder
        self.shared = {}
        self.never_started = {}
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.unsteady = []  # failed at first, and passed then
        self.left_out = []  # with the reason
        self.tables = {}  # by their titles
        self.retry_budget = RETRIES if options.retry else 0

    # Servers shared by tests

    def shared_server(self, workers, driver):
        key = (workers, driver)
        server = self.shared.get(key)
        if server is None or not server.alive():
            if key in self.never_started:
                raise AssertionError(f"no server with {key}: {self.never_started[key]}")
            try:
                server = Server(self.target, {"workers": workers, "net-driver": driver})
            except StartFailed as failure:
                self.never_started[key] = failure  # no test of this kind waits for it again
                raise
            self.shared[key] = server
        with server.client() as conn:
            conn.must("FLUSHALL")
            conn.must("CONFIG", "RESETSTAT")
        return server

    def drop_shared(self, key):
        server = self.shared.pop(key, None)
        if server is not None:
            server.kill()

    def stop_shared(self):
        for key, server in list(self.shared.items()):
            del self.shared[key]
            try:
                server.stop()
            except AssertionError as error:
                self.report_failure(f"shutdown of the shared server {key}", str(error))

    # Running

    def modules(self):
        names = sorted(name[:-3] for name in os.listdir(self.folder)
                       if name.startswith("test_") and name.endswith(".py"))
        for name in names:
            spec = importlib.util.spec_from_file_location(
                name, os.path.join(self.folder, f"{name}.py"))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            yield name, module

    def prepare(self):
        """What tests need of the machine's own network, before we leave it: a module's prepare()."""
        for name in sorted({run[0].split(".")[0] for run in self.runs()}):
            module = dict(self.modules())[name]
            if hasattr(module, "prepare"):
                module.prepare()

    def runs(self):
        """(full name, function, case, workers, driver) of everything that was asked for."""
        plain = {"workers": (4,), "drivers": "first", "pollux": False, "timeout": 120,
                 "quick": True}
        for module_name, module in self.modules():
            for name, function in list(vars(module).items()):
                if not (name.startswith("test_") and callable(function)):
                    continue
                how = getattr(function, "case", plain)
                if self.quick and not how["quick"]:
                    continue
                for workers, driver in self.variants(how):
                    full = f"{module_name}.{name}"
                    if not self.target.as_redis:
                        full += f"[{workers} {driver}]"
                    if self.options.only and not any(part in full for part in self.options.only):
                        continue
                    why = None
                    if driver == packets.DRIVER:
                        why = packets.why_not(full, how["workers"])
                    if why:
                        self.left_out.append(f"{full}: {why}")
                    else:
                        yield full, function, how, workers, driver

    def variants(self, how):
        drivers = self.options.drivers if how["drivers"] == "each" else self.options.drivers[:1]
        if self.target.as_redis:
            return [(how["workers"][-1], drivers[0])]
        # A test made for one number of workers keeps to it; --workers narrows a choice.
        counts = [n for n in how["workers"] if n in self.options.workers]
        if not counts and len(how["workers"]) == 1:
            counts = list(how["workers"])
        return [(n, driver) for driver in drivers for n in counts]

    def report_failure(self, name, text):
        self.failed += 1
        self.failures.append(name)
        print(f"FAIL {name}\n{indent(text)}", flush=True)

    def run_one(self, name, function, how, workers, driver):
        if how["pollux"] and self.target.as_redis:
            self.skipped += 1
            return
        context = Context(self, name, workers, driver)
        began = time.monotonic()
        failure = None
        try:
            signal.setitimer(signal.ITIMER_REAL, how["timeout"] * self.options.patience)
            function(context)
        except Skip:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.skipped += 1
            context.close()
            return
        except TimeUp:
            failure = f"no end after {how['timeout']} s\n{traceback.format_exc()}"
        except Exception:
            failure = traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        failure = self.check_shared(context, failure)
        if failure:
            failure += "".join(self.end_of_log(server) for server in context.own)
        problems = context.close()
        if problems:
            failure = (failure or "") + "\n".join(problems)
        took = time.monotonic() - began
        if failure:
            self.report_failure(f"{name} ({took:.1f} s, seed {self.seed})", failure)
        else:
            self.passed += 1
            print(f"ok   {name} ({took:.1f} s)" + "".join(f"; {n}" for n in context.notes),
                  flush=True)

    def check_shared(self, context, failure):
        server = context._shared
        if server is None:
            return failure
        alarms = server.alarms()
        if not server.alive() or alarms:
            failure = (failure or "the test itself passed, but the server failed") \
                + "\n".join(alarms)
        if failure:
            failure += self.end_of_log(server)
            self.drop_shared((context.workers, context.driver))
        return failure

    @staticmethod
    def end_of_log(server):
        state = "running" if server.alive() else f"ended with {server.process.poll()}"
        return f"\nserver on port {server.port}: {state}, end of its log:\n{tail(server.output())}"

    def run(self):
        signal.signal(signal.SIGALRM, self._alarm)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: clean up
        try:
            for run in self.runs():
                if self.options.list:
                    print(run[0])
                    continue
                failed = self.failed
                self.run_one(*run)
                if failed < self.failed and self.retry_budget > 0:
                    self.retry(run)
        finally:
            self.stop_shared()

    def retry(self, run):
        """Once more with the same sequences: what only the machine's other work brought about goes."""
        self.retry_budget -= 1
        before = (self.failed, list(self.failures))
        print(f"once more: {run[0]}", flush=True)
        self.run_one(*run)
        if self.failed == before[0]:
            self.failed -= 1
            self.failures = before[1][:-1]
            self.unsteady.append(run[0])
        else:  # twice the same
            self.failed, self.failures = before

    @staticmethod
    def _alarm(*_):
        faulthandler.dump_traceback(all_threads=True)
        raise TimeUp()


def indent(text):
    return "\n".join(f"    {line}" for line in text.splitlines())


def counts(text):
    return [int(item) for item in text.split(",")]


def main(folder, description):
    """Parses the arguments, runs the tests of `folder`, prints the closing line; exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", required=True, help="path of polluxd")
    parser.add_argument("--as-redis", action="store_true",
                        help="the server is a redis-server: proves the common tests")
    parser.add_argument("--quick", action="store_true", help="shorter loads, smaller numbers")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="only tests whose name contains TEXT (may be repeated)")
    parser.add_argument("--workers", type=counts, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--drivers", type=lambda text: text.split(","),
                        default=["uring", "epoll"], metavar="NAME,NAME")
    parser.add_argument("--seed", default=None, help="repeat a run")
    parser.add_argument("--patience", type=float, default=1.0,
                        help="factor for all time limits (sanitizer builds, slow machines)")
    parser.add_argument("--retry", action="store_true",
                        help=f"tests that fail run once more, up to {RETRIES} of them")
    parser.add_argument("--list", action="store_true", help="only print the names")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = os.environ.get("POLLUX_TEST_SEED") or str(
            random.SystemRandom().randrange(1 << 32))
    if not os.access(options.server, os.X_OK):
        parser.error(f"{options.server} can't be run")
    session = Session(options, folder)
    if packets.DRIVER in options.drivers:
        if not packets.inside():
            session.prepare()
        packets.enter()
    print(f"seed {options.seed}", flush=True)
    try:
        session.run()
    except KeyboardInterrupt:
        session.report_failure("interrupted", "")
    for table in session.tables.values():
        print("\n".join(table.lines()))
    for line in session.left_out:
        print("not applicable: " + line)
    if session.skipped:
        print(f"{session.skipped} not applicable to redis-server")
    if session.unsteady:
        print("passed at the second attempt: " + ", ".join(session.unsteady))
    if session.failures:
        print("failed: " + ", ".join(session.failures))
    print(f"{session.passed} passed, {session.failed} failed", flush=True)
    return 1 if session.failed or (not session.passed and not options.list) else 0
