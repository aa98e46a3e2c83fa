"""Threads that put load on a server, with a watchdog: nothing is waited for without a limit."""
import random
import sys
import threading
import time
import traceback

EXTRA_S = 30.0


class Crew:
    """Runs functions in threads until the time is over or one fails.

    A function gets (crew, rng, number) and loops `while crew.going()`. The first exception stops
    the crew and is raised again by `run`. `counts` collects what the functions did (crew.count).
    """

    def __init__(self, seed):
        self.seed = seed
        self.jobs = []
        self.stop = threading.Event()
        self.failure = None
        self.counts = {}
        self._lock = threading.Lock()
        self._deadline = self._latest = None
        self._at_least = {}

    def add(self, function, copies=1):
        self.jobs += [(function, number) for number in range(copies)]

    def going(self):
        now = time.monotonic()
        return not self.stop.is_set() and (
            now < self._deadline or (now < self._latest and bool(self._lacking())))

    def _lacking(self):
        return {name: self.counts.get(name, 0) for name, least in self._at_least.items()
                if self.counts.get(name, 0) < least}

    def count(self, name, by=1):
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + by

    def _body(self, function, number):
        rng = random.Random(f"{self.seed}:{function.__name__}:{number}")
        try:
            function(self, rng, number)
        except BaseException as error:  # the first failure of any kind is the result
            with self._lock:
                if self.failure is None and not self.stop.is_set():
                    self.failure = (error, f"{function.__name__} {number}\n"
                                           f"{traceback.format_exc()}")
            self.stop.set()

    def run(self, seconds, join_s=30.0, on_stuck=None, at_least=None):
        """Runs all jobs for `seconds`; returns the counts. `on_stuck()` tells what hangs.

        `at_least` {count name: number} makes it go on for up to EXTRA_S more until so much has
        happened, and fails otherwise: on a busy machine a load of fixed length may be no load.
        """
        self._at_least = at_least or {}
        self._deadline = time.monotonic() + seconds
        self._latest = self._deadline + EXTRA_S
        threads = [threading.Thread(target=self._body, args=job, daemon=True,
                                    name=f"{job[0].__name__}-{job[1]}") for job in self.jobs]
        try:
            for thread in threads:
                thread.start()
            end = self._latest + join_s if self._at_least else self._deadline + join_s
            for thread in threads:
                thread.join(max(end - time.monotonic(), 0.0))
        finally:
            self.stop.set()
        stuck = [thread.name for thread in threads if thread.is_alive()]
        timed_out = self.failure and isinstance(self.failure[0], TimeoutError)
        extra = on_stuck() if on_stuck and (stuck or timed_out) else ""
        if self.failure:
            raise AssertionError(f"{self.failure[1]}{extra}") from None
        if stuck:
            frames = sys._current_frames()
            where = "".join("".join(traceback.format_stack(frames[t.ident])[-3:])
                            for t in threads if t.is_alive() and t.ident in frames)
            raise AssertionError(f"still running: {stuck}\n{where}{extra}")
        lacking = self._lacking()
        if lacking:
            raise AssertionError(f"too little happened: {lacking}, wanted {self._at_least}")
        return self.counts
