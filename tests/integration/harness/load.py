"""Threads that put load on a server, with a watchdog: nothing is waited for without a limit."""
import random
import sys
import threading
import time
import traceback


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
        self._deadline = None

    def add(self, function, copies=1):
        self.jobs += [(function, number) for number in range(copies)]

    def going(self):
        return not self.stop.is_set() and time.monotonic() < self._deadline

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

    def run(self, seconds, join_s=30.0, on_stuck=None):
        """Runs all jobs for `seconds`; returns the counts. `on_stuck()` tells what hangs."""
        self._deadline = time.monotonic() + seconds
        threads = [threading.Thread(target=self._body, args=job, daemon=True,
                                    name=f"{job[0].__name__}-{job[1]}") for job in self.jobs]
        try:
            for thread in threads:
                thread.start()
            end = time.monotonic() + seconds + join_s
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
        return self.counts
