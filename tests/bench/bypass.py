#!/usr/bin/python3
"""Figures of the kernel bypass: polluxd with its own stack over memif, pollux-bench as its client.

    bypass.py [--build build] [--rounds 5] [--json FILE]

One core each. A run counts only if the cores were near each other before and after it (the ring
probe of pollux-bench) and both sides had their core to themselves; others, and runs that fail, are
done again, up to --tries and as long as --minutes are not over. README.md beside this file has the
rows.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from figures import Figure, table  # noqa: E402
from servers import HOST, BenchError, Process, Server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ADDRESS = "10.9.0.1"
PORT = 6379
SECOND_PORT = 6380
START_DEADLINE_S = 30
KEYS = 1000000
CLIENTS = 50
OWN_CORE = 0.95
IDLE_CONNECTIONS = 100000
FLOOD_RATE = 1000000
FRAME_REQUESTS = 50000
RUN_DEADLINE_S = 60  # of one run of the load
FAR_NS = 400         # as pollux-bench has it


class Memif(Process):
    """A program that listens on a memif socket; ready once it has printed `ready`."""

    def __init__(self, label, command, ready, core):
        directory = tempfile.TemporaryDirectory(prefix="pollux-bench-")
        self.path = os.path.join(directory.name, "memif")
        self.role = "net_memif0,socket-abstract=no,socket=" + self.path + ",role="
        super().__init__(label, command + ["--dpdk-port", self.role + "server"], 0, {core},
                         directory)
        deadline = time.monotonic() + START_DEADLINE_S
        while ready not in self.output():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.output()
                self.stop()
                raise BenchError("%s does not start:\n%s" % (label, text))
            time.sleep(0.02)


def frame_instructions(program, name, *flags):
    """Instructions of a worker for each request, by callgrind (see frame.c)."""
    with tempfile.TemporaryDirectory(prefix="pollux-bench-") as directory:
        command = ["valgrind", "-q", "--tool=callgrind",
                   "--callgrind-out-file=" + os.path.join(directory, "out"),
                   "--toggle-collect=frames_received", "--toggle-collect=frames_sent",
                   "--collect-atstart=yes", "--zero-before=frames_begin",
                   "--dump-before=frames_end", program, "--requests", str(FRAME_REQUESTS), *flags]
        done = subprocess.run(command + (["--set"] if name == "set" else []), capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise BenchError("%s: %s" % (program, done.stderr.strip()))
        for entry in os.listdir(directory):
            with open(os.path.join(directory, entry)) as profile:
                text = profile.read()
            if "--dump-before=frames_end" in text:
                # Not "summary:", which counts what was before the zero as well.
                return int(re.search(r"^totals: (\d+)", text, re.M).group(1)) / FRAME_REQUESTS
    raise BenchError("callgrind wrote no profile of " + program)


class Bypass:
    def __init__(self, options):
        self.options = options
        self.figures = {}
        self.began = time.monotonic()
        self.round = 0
        self.discarded = []   # why runs were done again
        self.spoiled = []     # what stands in the figures though it was not clean
        self.failed = []      # parts of rounds without any result
        self.probes_ns = []

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def figure(self, row, what, unit, better, must=None, aim=None, relative=True):
        key = (row, what)
        if key not in self.figures:
            self.figures[key] = Figure(row, what, unit, better, must, aim, relative)
        return self.figures[key]

    # ---- Servers ---------------------------------------------------------------------------

    def polluxd(self):
        return Memif("polluxd", [
            os.path.abspath(self.options.server), "--net-driver", "dpdk", "--dpdk-address",
            ADDRESS + "/24", "--port", str(PORT), "--per-core-endpoints", "yes",
            "--per-core-port-base", str(SECOND_PORT), "--maxclients", "200000",
            "--protected-mode", "no", "--save", "", "--appendonly", "no", "--workers", "1",
            *self.options.server_args.split()], "Ready to accept", self.options.server_core)

    def echo(self):
        return Memif("echo", [os.path.abspath(self.options.load), "--l2-echo", "server"],
                     "echoing frames", self.options.server_core)

    # ---- Loads -----------------------------------------------------------------------------

    def command(self, server, *flags, **options):
        command = [self.options.load, "--json", "--cpu", str(self.options.load_core),
                   "--server-pid", str(server.pid),
                   "--probe", "%d,%d" % (self.options.load_core, self.options.server_core)]
        if isinstance(server, Memif):
            command += ["--dpdk-port", server.role + "client", "--host", ADDRESS,
                        "--port", str(PORT)]
        else:
            command += ["--host", HOST, "--port", str(server.port), "--spin"]
        options.setdefault("seconds", self.options.seconds)
        options.setdefault("keys", KEYS)
        options.setdefault("progress", 0)
        command += ["--" + flag for flag in flags]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        return command

    def once(self, server, *flags, **options):
        try:
            done = subprocess.run(self.command(server, *flags, **options), capture_output=True,
                                  text=True, timeout=RUN_DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise BenchError("load on %s: no end after %d s" % (server.label, RUN_DEADLINE_S)
                             ) from None
        if done.returncode != 0:
            raise BenchError("load on %s: %s" % (server.label, done.stderr.strip()))
        return self.checked(server, json.loads(done.stdout))

    def checked(self, server, result):
        """Results with replies that nobody expected are worth nothing."""
        if result["errors"] + result["nulls"] + result["moved"] > 0:
            raise BenchError("%s: %d errors, %d nulls, %d moved; %s" % (
                server.label, result["errors"], result["nulls"], result["moved"],
                result["first_error"]))
        return result

    def what_is_wrong(self, result):
        """Why a run is not to be compared with others; None: it is clean."""
        seconds = result["seconds"]
        for side in ("load", "server"):
            own = result[side + "_cpu_seconds"]
            if own < OWN_CORE * seconds and (own > 0 or side == "load"):
                return "the %s had its core for %.0f %% of the time" % (side, 100 * own / seconds)
        return None if result["cores"] == "near" else "the cores were %s" % result["cores"]

    def may_try_again(self):
        """Each round has its share of the time; what it leaves is for those after it."""
        until = 60 * self.options.minutes * (self.round + 1) / self.options.rounds
        return time.monotonic() - self.began < until

    def load(self, server, *flags, **options):
        """A run in the near state with both cores to themselves, if one of --tries is; else the
        last one that had a result."""
        result = wrong = None
        for number in range(self.options.tries):
            try:
                result = self.once(server, *flags, **options)
                wrong = self.what_is_wrong(result)
                self.probes_ns += [result["probe_before_ns"], result["probe_after_ns"]]
            except BenchError as error:
                if server.process.poll() is not None:
                    raise BenchError("%s ended:\n%s" % (server.label, server.output())) from error
                wrong = str(error)
            if wrong is None:
                return result
            if number + 1 == self.options.tries or not self.may_try_again():
                break
            self.discarded.append(wrong)
            self.say("  again: %s" % wrong)
        if result is None:
            raise BenchError(wrong)
        self.spoiled.append(wrong)
        self.say("  not clean, and kept: %s" % wrong)
        return result

    @staticmethod
    def limit(result):
        """Which side was the limit of a closed loop."""
        share = result["busy_share"]
        return "the generator was busy %.0f %% of its time: %s" % (
            100 * share, "it may have been the limit" if share > 0.95 else "the server was the limit")

    def redis_benchmark(self, redis):
        """Its own tool's word for GET, over random keys of which all are there."""
        done = subprocess.run(
            ["taskset", "-c", str(self.options.load_core), "redis-benchmark", "-h", HOST, "-p",
             str(redis.port), "-c", str(CLIENTS), "-n", str(int(self.options.seconds * 100000)),
             "-r", str(KEYS), "--csv", "GET", "k:00__rand_int__"],
            capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1].split(",")[1].strip('"'))

    # ---- Rows ------------------------------------------------------------------------------

    def against_redis(self, redis):
        with self.echo() as echo:
            bare = self.load(echo, l2_echo="client", frame_len=128)
            alone = self.load(echo, l2_echo="client", frame_len=128, window=1)
        slow = self.load(redis, clients=CLIENTS)
        own = self.redis_benchmark(redis)
        with self.polluxd() as server:
            self.once(server, "preload", requests=1)
            get = self.load(server, clients=CLIENTS)
            write = self.load(server, clients=CLIENTS, mix="set")
            trip = self.load(server, clients=1)
            half = self.load(server, "exclude-gaps", clients=CLIENTS, rate=int(get["rate"] / 2))
            churn = self.load(server, "reset", clients=CLIENTS, mix="ping", churn=1)
            deep = self.load(server, clients=CLIENTS, pipeline=16)
        self.say("  redis %.0f (its own tool %.0f), bare %.0f, GET %.0f, SET %.0f, 16 deep %.0f, "
                 "connections %.0f a second" % (
                     slow["rate"], own, bare["rate"], get["rate"], write["rate"], deep["rate"],
                     churn["connection_rate"]))
        figure = self.figure("get", "GET, 50 connections, no pipeline, against redis-server",
                             "requests a second", "higher", 15, 30)
        figure.add("polluxd", get["rate"])
        figure.add("redis", max(slow["rate"], own))
        figure.note(self.limit(get))
        figure = self.figure("share", "GET against bare frames of 128 bytes", "a second", "higher",
                             0.08, 0.16)
        figure.add("polluxd", get["rate"])
        figure.add("echo", bare["rate"])
        figure = self.figure("set", "SET against GET", "requests a second", "higher", 0.8, 0.9)
        figure.add("set", write["rate"])
        figure.add("get", get["rate"])
        figure.note(self.limit(write))
        for name, must, aim in (("p50", 4, 2), ("p99", 10, 5)):
            figure = self.figure("trip", "unloaded round trip, " + name, "us", "lower", must, aim,
                                 relative=False)
            figure.add("polluxd", trip["latency_us"][name])
            figure.note("bare frames: %.2f us" % alone["latency_us"][name])
        self.half(half)
        figure = self.figure("connections", "connect, PING, close", "a second", "higher", 150000,
                             400000, relative=False)
        figure.add("polluxd", churn["connection_rate"])
        figure.note(self.limit(churn))
        return deep

    def half(self, result):
        gaps = result["gaps"]
        kept = gaps["latency_us"]["count"]
        figure = self.figure("half", "p99 at half the maximum rate, open loop, without gaps", "us",
                             "lower", 30, 15, relative=False)
        figure.add("polluxd", gaps["latency_us"]["p99"])
        figure.note("with them %.1f us; left out %.2f %% of the requests; lost by the generator "
                    "%.1f ms in %d gaps, by the server %.1f ms in %d" % (
                        result["latency_us"]["p99"], 100 * gaps["left_out"] /
                        (gaps["left_out"] + kept), gaps["generator"]["lost_us"] / 1e3,
                        gaps["generator"]["count"], gaps["server"]["lost_us"] / 1e3,
                        gaps["server"]["count"]))

    def against_uring(self, uring, deep):
        figure = self.figure("pipeline16", "pipelines of 16 against our uring driver",
                             "requests a second", "higher", 1.3, 2)
        slow = self.load(uring, clients=CLIENTS, pipeline=16)
        figure.add("bypass", deep["rate"])
        figure.add("uring", slow["rate"])
        figure.note("bypass: " + self.limit(deep))
        figure.note("uring: " + self.limit(slow))

    def idle(self):
        with self.polluxd() as server:
            self.once(server, "preload", requests=1)
            alone = self.load(server, clients=CLIENTS)
            before = server.own_bytes()
            command = self.command(server, clients=CLIENTS, idle=IDLE_CONNECTIONS,
                                   idle_port=SECOND_PORT)
            command[command.index("--progress") + 1] = "0.5"
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as process:
                first = process.stderr.readline()
                grown = server.own_bytes() - before
                out, err = process.communicate()
            if process.returncode != 0:
                raise BenchError("idle connections: %s%s" % (first, err))
            beside = self.checked(server, json.loads(out))
        figure = self.figure("idle-memory", "memory of an idle connection", "bytes", "lower", 1024,
                             512, relative=False)
        figure.add("polluxd", grown / IDLE_CONNECTIONS)
        figure = self.figure("idle-rate", "GET beside 100,000 idle connections against alone",
                             "requests a second", "higher", 0.9, 0.97)
        figure.add("beside", beside["rate"])
        figure.add("alone", alone["rate"])
        figure.note(self.limit(beside))

    def flood(self):
        with self.polluxd() as server:
            self.once(server, "preload", requests=1)
            alone = self.load(server, clients=CLIENTS)
            before = server.rss_bytes()
            flooded = self.load(server, clients=CLIENTS, syn_flood=FLOOD_RATE)
            grown = server.rss_bytes() - before
        figure = self.figure("flood", "GET during a SYN flood against alone", "requests a second",
                             "higher", 0.6, 0.8)
        figure.add("flooded", flooded["rate"])
        figure.add("alone", alone["rate"])
        figure.note("%.2f M SYNs a second; memory grew by %.1f MiB" % (
            flooded["flood_per_second"] / 1e6, grown / 2 ** 20))
        figure.note(self.limit(flooded))

    def instructions(self):
        """Deterministic to a fraction of a percent, so once is enough."""
        if shutil.which("valgrind") is None:
            self.say("no figure for instructions: apt-get install valgrind")
            return
        for name, must, aim in (("get", 3500, 2000), ("set", None, None)):
            figure = self.figure("instructions-" + name, "%s from received frame to sent frame" %
                                 name.upper(), "instructions", "lower", must, aim, relative=False)
            figure.add("checksums in software", frame_instructions(self.options.frame, name))
            figure.note("checksums by the device: %.0f" % frame_instructions(
                self.options.frame, name, "--offload"))

    def run(self):
        self.part("instructions", self.instructions)
        with Server("redis", self.options.redis, {self.options.server_core}) as redis, \
                Server("uring", self.options.server, {self.options.server_core}) as uring:
            for server in (redis, uring):
                self.once(server, "preload", requests=1)
            for self.round in range(self.options.rounds):
                self.say("round %d, after %.0f s" % (self.round + 1,
                                                     time.monotonic() - self.began))
                self.part("against redis and uring",
                          lambda: self.against_uring(uring, self.against_redis(redis)))
                self.part("idle connections", self.idle)
                self.part("SYN flood", self.flood)

    def part(self, name, measure):
        """A part of a round, once more if it fails; figures come only from those that end well."""
        for left in (1, 0):
            try:
                measure()
                return
            except BenchError as error:
                self.say("  %s failed: %s" % (name, error))
                if left == 0 or not self.may_try_again():
                    break
                self.discarded.append("%s failed" % name)
        self.failed.append("round %d: %s" % (self.round + 1, name))

    def summary(self):
        near = sum(1 for probe in self.probes_ns if 0 < probe < FAR_NS)
        if self.probes_ns:
            print("\nring probe: median %.0f ns; near in %d of %d" % (
                statistics.median(self.probes_ns), near, len(self.probes_ns)))
        for what, lines in (("done again", self.discarded), ("not clean and kept", self.spoiled),
                            ("without result", self.failed)):
            print("%d %s%s" % (len(lines), what, ": " + "; ".join(lines) if lines else ""))
        print("%.0f s in all" % (time.monotonic() - self.began))


def parse():
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Measures the kernel bypass over memif.")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"),
                        help="the build whose programs are measured (build)")
    parser.add_argument("--server", help="another polluxd than its")
    parser.add_argument("--server-args", default="", help="more arguments for it over memif")
    parser.add_argument("--redis", default="/usr/bin/redis-server")
    parser.add_argument("--load", help="another pollux-bench than its")
    parser.add_argument("--frame", help="another bench_frame than its")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="length of a run (2)")
    parser.add_argument("--tries", type=int, default=5, help="runs until one is clean (5)")
    parser.add_argument("--minutes", type=float, default=7,
                        help="after which nothing is done again (7)")
    parser.add_argument("--server-core", type=int, default=cores[0])
    parser.add_argument("--load-core", type=int, default=cores[-1])
    parser.add_argument("--json", help="write all samples to this file")
    options = parser.parse_args()
    for name, place in (("server", "polluxd"), ("load", "tools/pollux-bench/pollux-bench"),
                        ("frame", "tests/bench/bench_frame")):
        if getattr(options, name) is None:
            setattr(options, name, os.path.join(options.build, place))
    if options.server_core == options.load_core:
        parser.error("the server and the load need a core each")
    return options


def main():
    options = parse()
    bypass = Bypass(options)
    try:
        bypass.run()
    except BenchError as error:
        print("bypass.py: %s" % error, file=sys.stderr)
        return 1
    finally:
        figures = list(bypass.figures.values())
        for figure in figures:
            print(figure.text() + "\n")
        print(table(figures))
        bypass.summary()
        if options.json:
            with open(options.json, "w") as out:
                json.dump([figure.as_json() for figure in figures], out, indent=1)
    return 1 if bypass.failed else 0


if __name__ == "__main__":
    sys.exit(main())
