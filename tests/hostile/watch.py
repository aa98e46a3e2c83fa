"""What must hold during every attack: PING is answered, memory stays bounded, nobody crashes."""
import json
import os
import subprocess
import sys
import threading

from harness.server import tail

PROBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prober.py")
PROBES = 8          # connections of the prober: with several workers it meets most of them
GAP_LIMIT_S = 1.0   # the target is 100 ms; the machine may be shared, and the figures are printed
TARGET_MS = 100
MB = 1 << 20


class Watch:
    """with Watch(t, server, grow_mb=64): ... attacks ..."""

    def __init__(self, t, server, grow_mb=64, gap_s=GAP_LIMIT_S, password=None):
        self.t = t
        self.server = server
        self.grow = grow_mb * MB
        self.gap_s = gap_s * t.session.options.patience
        self.password = password or server.password or ""
        self.peak = 0
        self.result = None
        self._stop = threading.Event()

    def __enter__(self):
        self.before = self.server.rss_bytes()
        self.prober = subprocess.Popen(
            [sys.executable, PROBER, str(self.server.port), str(PROBES), self.password],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.t.cleanup(self._end_prober)
        assert self.prober.stdout.readline() == b"ready\n", "the prober can't reach the server"
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()
        return self

    def _sample(self):
        while not self._stop.wait(0.02):
            try:
                self.peak = max(self.peak, self.server.rss_bytes())
            except OSError:
                return

    def _end_prober(self):
        if self.prober.poll() is None:
            self.prober.kill()
        self.prober.wait()
        self.prober.stdin.close()
        self.prober.stdout.close()

    def __exit__(self, kind, error, trace):
        self._stop.set()
        self.sampler.join(5)
        assert self.server.alive(), \
            f"the server is gone, status {self.server.process.poll()}\n{tail(self.server.output())}"
        output, _ = self.prober.communicate(timeout=60)
        if kind is not None:
            return
        self.result = json.loads(output)
        grown = max(self.peak, self.server.rss_bytes()) - self.before
        self.t.note(f"longest PING {self.result['longest_s'] * 1000:.0f} ms in "
                    f"{self.result['rounds']} rounds, RSS +{grown // MB} MB")
        self.t.tabulate("longest PING during each attack, ms", self.result["longest_s"] * 1000,
                        TARGET_MS)
        assert self.result["problem"] is None, f"prober: {self.result['problem']}"
        assert self.result["rounds"] > 0, "the prober was never answered"
        assert self.result["longest_s"] < self.gap_s, \
            f"PING took {self.result['longest_s']:.2f} s during the attack"
        assert grown < self.grow or not self.t.rss_counts, \
            f"RSS grew by {grown // MB} MB, allowed {self.grow // MB} MB"
        assert not self.server.alarms(), self.server.alarms()
