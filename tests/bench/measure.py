"""Measuring: one call of the load generator, and calls of several servers in turn.

Noise on a shared machine comes in waves, so the variants of a figure always run A B A B, and CPU
time is read from the server's own clock rather than from the wall.
"""

import contextlib
import json
import os
import subprocess
import sys

from servers import HOST, BenchError, CoreUse, Server

KEYS = 1000000
KEY_BYTES = 16
VALUE_BYTES = 64
TAKEN_NOTED = 0.05


class Bench:
    """The options of a run and what its rows share."""

    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds
        self.server_core = options.server_core
        self.load_core = options.load_core
        self.stack = contextlib.ExitStack()
        self.servers = {}

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def show(self, figure):
        print(figure.text() + "\n", flush=True)

    def second_core(self):
        """Where a second worker runs: any allowed core but the first, the load's one last."""
        others = sorted(os.sched_getaffinity(0) - {self.server_core, self.load_core})
        return others[0] if others else self.load_core

    # ---- Servers ---------------------------------------------------------------------------

    def server(self, label="server", path=None, cores=None, **options):
        """A server on the server core. It stops with close() or its own `with` block."""
        if path is None:
            path = self.options.redis if label == "redis" else self.options.server
        arguments = self.options.server_args.split() if path == self.options.server else []
        return Server(label, path, cores or {self.server_core}, arguments=arguments, **options)

    def keep(self, key, make):
        """The server of that key, made once, kept until close(): rows in a row share a preload."""
        if key not in self.servers:
            self.servers[key] = self.stack.enter_context(make())
        return self.servers[key]

    def close(self):
        self.servers = {}
        self.stack.close()

    def pair(self):
        """polluxd with one worker and redis-server, each with KEYS keys of VALUE_BYTES."""
        def make(label):
            server = self.server(label)
            self.preload(server, KEYS)
            return server
        return [self.keep(label, lambda label=label: make(label)) for label in ("server", "redis")]

    # ---- Load ------------------------------------------------------------------------------

    def load(self, server, port=None, may_miss=False, may_move=False, cpu=None, **options):
        """Runs the load generator once; its JSON object, with what may spoil it checked."""
        command = [self.options.load, "--json", "--progress", "0", "--host", HOST,
                   "--port", str(port or server.port), "--server-pid", str(server.pid)]
        if cpu is None:
            cpu = self.load_core
        command += ["--cpu", str(cpu)]
        options.setdefault("spin", cpu >= 0 and cpu not in server.cores)
        for name, value in options.items():
            name = "--" + name.replace("_", "-")
            if value is True:
                command.append(name)
            elif value is not False:
                command += [name, str(value)]
        before = CoreUse(server)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise BenchError("%s on %s: %s" % (os.path.basename(self.options.load), server.label,
                                               done.stderr.strip()))
        result = json.loads(done.stdout)
        result["taken"] = before.taken_by_others() if cpu not in (-1, *server.cores) else 0.0
        self.check(server, result, may_miss, may_move)
        return result

    def check(self, server, result, may_miss, may_move):
        if result["errors"] > 0:
            raise BenchError("%s answered %d errors, first: %s" % (
                server.label, result["errors"], result["first_error"]))
        if result["moved"] > 0 and not may_move:
            raise BenchError("%s answered %d times MOVED" % (server.label, result["moved"]))
        if result["nulls"] > 0 and not may_miss:
            raise BenchError("%s lacks keys: %d nulls" % (server.label, result["nulls"]))

    def preload(self, server, keys, **options):
        options.setdefault("key_len", KEY_BYTES)
        options.setdefault("value_len", VALUE_BYTES)
        self.load(server, mix="setnew", requests=keys, keys=keys, clients=1, pipeline=64, **options)

    def measure(self, server, **options):
        """One timed run with the usual keys; `per_cpu` and `cpu_us` are the figures."""
        options.setdefault("keys", KEYS)
        options.setdefault("key_len", KEY_BYTES)
        options.setdefault("value_len", VALUE_BYTES)
        options.setdefault("clients", 50)
        options.setdefault("seconds", self.options.seconds)
        result = self.load(server, **options)
        if result["requests"] == 0 or result["server_cpu_seconds"] <= 0:
            raise BenchError("%s: nothing was measured" % server.label)
        result["per_cpu"] = result["requests"] / result["server_cpu_seconds"]
        result["cpu_us"] = 1e6 / result["per_cpu"]
        result["per_second"] = result["requests"] / result["seconds"]
        result["busy"] = result["server_cpu_seconds"] / result["seconds"]
        return result

    def interleave(self, figure, variants, field):
        """Adds `field` of each variant's run to the figure, round after round: A B A B. `variants`
        are (label, server, options of measure)."""
        results = {}
        for turn in range(self.rounds):
            for label, server, options in variants:
                result = self.measure(server, seed=turn + 1, **options)
                figure.add(label, result[field])
                results.setdefault(label, []).append(result)
        for label, runs in results.items():
            middle = sorted(runs, key=lambda run: run["per_second"])[len(runs) // 2]
            latency = middle["latency_us"]
            figure.note("%s: %d requests a second, %.0f %% of a core, p50 %.0f us, p99.99 %.0f us"
                        % (label, middle["per_second"], 100 * middle["busy"], latency["p50"],
                           latency["p99.99"]))
            taken = max(run["taken"] for run in runs)
            if taken > TAKEN_NOTED:
                figure.note("%s: the host or other programs took up to %.0f %% of its core"
                            % (label, 100 * taken))
        self.show(figure)
        return results
