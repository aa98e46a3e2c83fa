"""The rows of the report: what each one starts, loads and compares. README.md has their meaning."""

import mmap
import os
import re
import shutil
import socket
import tempfile
import time

from figures import Figure
from measure import KEY_BYTES, KEYS, VALUE_BYTES
from servers import HOST, BenchError, Server, echo_server, server_kind

PER_CPU = "requests for each CPU second"
CPU_US = "CPU us for each request"
MULTI = 10
MEMORY_KEYS = (600000, 1000000, 1300000)
MEMORY_KEY_BYTES = 20
MEMORY_VALUE_BYTES = 20
MEMORY_TTL_S = 10000000
GROW_FROM = 1000000
GROW_MEMORY = 3 << 30
GROW_PIPELINE = 16
IDLE_CLIENTS = 1000
IDLE_WORKERS = 4
IDLE_SECONDS = 10
CALLGRIND_KEYS = 20000
CALLGRIND_PIPELINE = 16
CALLGRIND_REQUESTS = 300000
CALLGRIND_DEADLINE_S = 120
HOPS_FIELD = "hops"
TURN_FIELD = "longest_turn_cpu_us"


# ---- Against redis-server, one worker ---------------------------------------------------------

def against_redis(bench, row, what, must, aim, **options):
    server, redis = bench.pair()
    figure = Figure(row, what, PER_CPU, "higher", must, aim)
    bench.interleave(figure, [("server", server, options), ("redis", redis, options)], "per_cpu")
    return figure


def row_single(bench):
    return [against_redis(bench, "single", name.upper() + ", no pipeline", 1.2, 1.45, mix=name)
            for name in ("get", "set")]


def row_pipeline16(bench):
    return [against_redis(bench, "pipeline16", name.upper() + ", pipelines of 16", 1.8, 2.5,
                          mix=name, pipeline=16) for name in ("get", "set")]


def row_pipeline64(bench):
    return [against_redis(bench, "pipeline64", "GET, pipelines of 64", 2, 3, mix="get",
                          pipeline=64)]


def row_incr_mset(bench):
    for server in bench.pair():
        bench.preload(server, KEYS, prefix="n:", value_len=4, int_values=True)
    return [
        against_redis(bench, "incr-mset", "INCR, pipelines of 16", 1, 1.5, mix="incr", pipeline=16,
                      prefix="n:"),
        against_redis(bench, "incr-mset", "MSET of 10 keys, pipelines of 16", 1, 1.5, mix="mset",
                      multi=MULTI, pipeline=16),
    ]


def row_echo(bench):
    _, redis = bench.pair()
    echo = bench.keep("echo", lambda: echo_server(bench.options.echo, {bench.server_core}))
    figure = Figure("echo", "ceiling: a bare epoll echo against redis GET, no pipeline", PER_CPU,
                    "higher")
    bench.interleave(figure, [("echo", echo, {"mix": "get"}), ("redis", redis, {"mix": "get"})],
                     "per_cpu")
    return [figure]


# ---- Several workers --------------------------------------------------------------------------

def filled(bench, label, **options):
    server = bench.server(label, bench.options.server, **options)
    bench.preload(server, KEYS)
    return server


def two_against_one(bench, row, what, must, aim, **options):
    """On one core, where the target counts, and on two, where the load has to share one of them if
    the machine has no third."""
    one_core, two_cores = {bench.server_core}, {bench.server_core, bench.second_core()}
    load_core = bench.load_core if bench.load_core not in two_cores else -1
    figures = []
    for cores, bounds, cpu, where in ((one_core, (must, aim), None, "both on one core"),
                                      (two_cores, (None, None), load_core, "on two cores")):
        figure = Figure(row, "%s: two workers (%s) against one" % (what, where), CPU_US, "lower",
                        *bounds)
        if cpu == -1:
            figure.note("the load shares the cores of the server: there is no third")
        variants = []
        for label, workers, on in (("2 workers", 2, cores), ("1 worker", 1, one_core)):
            server = bench.keep((label, tuple(on)), lambda label=label, workers=workers, on=on:
                                filled(bench, label, cores=on, workers=workers))
            variants.append((label, server, {"cpu": cpu, **options}))
        bench.interleave(figure, variants, "cpu_us")
        figures.append(figure)
    return figures


def row_workers(bench):
    return [figure for name in ("get", "set") for figure in two_against_one(
        bench, "workers", name.upper() + ", no pipeline", 1.35, 1.15, mix=name)]


def row_workers_set16(bench):
    return two_against_one(bench, "workers-set16", "SET, pipelines of 16", 1.6, 1.3, mix="set",
                           pipeline=16)


def row_slot_layer(bench):
    """Reported as percent that the layer costs over the comparison build."""
    path = bench.options.compare
    if path is None:
        raise BenchError("needs --compare PATH: a polluxd built with -Dslot_layer=false")
    server = bench.keep("server", lambda: filled(bench, "server"))

    def make():
        compare = bench.server("compare", path)
        bench.preload(compare, KEYS)
        return compare
    compare = bench.keep("compare", make)
    figures = []
    for name in ("get", "set"):
        what = name.upper() + ", pipelines of 16: cost of slots and mailboxes"
        figure = Figure("slot-layer", what, CPU_US, "lower", 5, 3, percent=True)
        options = {"mix": name, "pipeline": 16}
        bench.interleave(figure, [("server", server, options), ("compare", compare, options)],
                         "cpu_us")
        figures.append(figure)
    return figures


def row_cross_keys(bench):
    """Ten random keys on two workers, against ten random keys that one of the workers owns, on the
    same server. A worker owns half of the slots, so each connection keeps to one half; as ever,
    either worker may have accepted it. Keys of one hash tag stand beside it: they were stored
    together and lie together in memory, so that even redis-server answers them at half the cost."""
    workers = 2

    def make():
        server = filled(bench, "2 workers", workers=workers)
        bench.preload(server, KEYS, prefix="t:", group=MULTI)
        return server
    two = bench.keep("2 workers with tags", make)
    one = bench.keep(("1 worker", (bench.server_core,)),
                     lambda: filled(bench, "1 worker", workers=1))
    figures = []
    for name in ("mget", "mset"):
        options = {"mix": name, "multi": MULTI}
        what = name.upper() + " of 10 random keys on 2 workers: of both against of one"
        figure = Figure("cross-keys", what, CPU_US, "lower", 1.8, 1.4)
        bench.interleave(figure, [
            ("keys of both workers", two, options),
            ("keys of one worker", two, {**options, "split": workers}),
            ("keys of one tag", two, {**options, "prefix": "t:", "group": MULTI}),
            ("server of 1 worker", one, options)], "cpu_us")
        beside = Figure("cross-keys", name.upper() + " of 10 keys on 2 workers: random keys "
                        "against keys of one tag, memory locality included", CPU_US, "lower")
        for label in ("keys of both workers", "keys of one tag"):
            beside.samples[label] = figure.samples[label]
        bench.show(beside)
        figures += [figure, beside]
    return figures


def row_per_core_ports(bench):
    """The share of requests that hopped: MOVED replies that the client saw, or hops that the
    workers counted, whichever is more."""
    def make():
        server = filled(bench, "2 workers with ports", workers=2, per_core_ports=True)
        bench.preload(server, KEYS, prefix="t:", group=MULTI)
        return server
    server = bench.keep("per-core ports", make)
    if server.kind != "pollux":
        raise BenchError("needs polluxd: %s has no port for each core" % server.version)
    figures = []
    tagged = {"prefix": "t:", "group": MULTI, "multi": MULTI}
    for name, options in (("get", {}), ("set", {}), ("mget", tagged), ("mset", tagged)):
        figure = Figure("per-core-ports", "%s through a port for each core: share that hops"
                        % name.upper(), "of all requests", "lower", 0, 0, relative=False)
        for turn in range(bench.rounds):
            before = sum(server.worker_numbers(HOPS_FIELD))
            result = bench.measure(server, port=server.first_core_port, cluster=True, mix=name,
                                   may_move=True, seed=turn + 1, **options)
            hops = sum(server.worker_numbers(HOPS_FIELD)) - before
            figure.add("hops", max(hops, result["moved"]) / result["replies"])
            if result["ports"] != server.workers:
                raise BenchError("CLUSTER SLOTS names %d ports" % result["ports"])
        figure.note("%d ports, %.3g %s" % (result["ports"], result["cpu_us"], CPU_US))
        bench.show(figure)
        figures.append(figure)
    return figures


# ---- Memory, growth, idling -------------------------------------------------------------------

def overhead_bytes(bench, label, keys, **options):
    """Bytes of RSS a key beyond its 40 bytes of key and value. The base is read after some traffic
    on one key, so that code and buffers touched by any load do not count."""
    with bench.server(label) as server:
        bench.load(server, mix="set,get", requests=20000, keys=1, clients=1, pipeline=64,
                   key_len=MEMORY_KEY_BYTES, value_len=MEMORY_VALUE_BYTES, may_miss=True)
        server.call("FLUSHALL")
        base = server.settled_rss_bytes()
        bench.preload(server, keys, key_len=MEMORY_KEY_BYTES, value_len=MEMORY_VALUE_BYTES,
                      **options)
        grown = server.settled_rss_bytes() - base
        held = server.call("DBSIZE")
        if held != keys:
            raise BenchError("%s holds %s keys instead of %d" % (label, held, keys))
    return grown / keys - MEMORY_KEY_BYTES - MEMORY_VALUE_BYTES


def memory(bench, row, what, must, aim, **options):
    each = {label: [overhead_bytes(bench, label, keys, **options) for keys in MEMORY_KEYS]
            for label in ("server", "redis")}
    figure = Figure(row, what, "bytes a key beyond key and value", "lower", must, aim,
                    relative=False)
    for label, samples in each.items():
        figure.add(label, sum(samples) / len(samples))
        figure.note("%s: %s" % (label, ", ".join(
            "%.1f at %.1f M keys" % (sample, keys / 1e6)
            for sample, keys in zip(samples, MEMORY_KEYS))))
    bench.show(figure)
    return [figure]


def row_memory(bench):
    bench.close()
    return memory(bench, "memory", "20-byte keys and values, mean over 0.6, 1.0 and 1.3 M keys",
                  24, 21)


def row_memory_ttl(bench):
    bench.close()
    return memory(bench, "memory-ttl", "the same with a TTL on each key", 46, 32, ttl=MEMORY_TTL_S)


def grow(bench, label, figures):
    """One growth of a fresh server. Latency counts from the moment a request was due."""
    turn, tail = figures
    new_keys = bench.options.grow_to - GROW_FROM
    with bench.server(label) as server:
        bench.preload(server, GROW_FROM)
        server.call("CONFIG", "RESETSTAT")
        result = bench.load(server, mix="setnew=1,get=1", first=GROW_FROM, keys=GROW_FROM,
                            key_len=KEY_BYTES, value_len=VALUE_BYTES, pipeline=GROW_PIPELINE,
                            requests=2 * new_keys, rate=bench.options.grow_rate)
        if server.call("DBSIZE") != bench.options.grow_to:
            raise BenchError("%s holds %s keys" % (label, server.call("DBSIZE")))
        if server.kind == "pollux":
            turn.add(label, max(server.worker_numbers(TURN_FIELD)) / 1000)
            turn.note("%d of %d turns took over 1 ms" % (sum(server.worker_numbers("long_turns")),
                                                         sum(server.worker_numbers("turns"))))
    tail.add(label, result["latency_us"]["p99.99"] / 1000)
    tail.note("%s: %.0f requests a second, %.0f %% of a core, p99 %.2f ms, p99.9 %.2f ms, "
              "max %.2f ms" % (
                 label, result["requests"] / result["seconds"],
                 100 * result["server_cpu_seconds"] / result["seconds"],
                 result["latency_us"]["p99"] / 1000, result["latency_us"]["p99.9"] / 1000,
                 result["latency_us"]["max"] / 1000))


def backed_memory(size):
    """Touches twice as much memory as a growing server will, and lets every other page go again. On a virtual
    machine the first touch of a page that the host has not backed yet costs milliseconds, whoever touches it, and
    free memory in large pieces is given back to the host at once: so it stays in small ones while the returned
    mapping lives. Returns the longest touch too, in ms of this thread's CPU time."""
    longest = 0
    memory = mmap.mmap(-1, 2 * size)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, 2 * size, mmap.PAGESIZE):
        start = time.thread_time_ns()
        memory[at] = 1
        longest = max(longest, time.thread_time_ns() - start)
    for at in range(0, 2 * size, 2 * mmap.PAGESIZE):
        memory.madvise(mmap.MADV_DONTNEED, at, mmap.PAGESIZE)
    return memory, longest / 1e6


def row_growth(bench):
    bench.close()
    held, touch = backed_memory(GROW_MEMORY)
    print("growth: longest first touch of a page by a bare process, of %d MiB: %.2f ms"
          % (GROW_MEMORY >> 19, touch))
    what = "from %g to %g M keys, pipelines of %d, half SET of a new key, half GET" % (
        GROW_FROM / 1e6, bench.options.grow_to / 1e6, GROW_PIPELINE)
    turn = Figure("growth", "longest turn of a worker in its CPU time, " + what, "ms", "lower",
                  1, 0.3, relative=False)
    tail = Figure("growth", "client-side p99.99, " + what, "ms", "lower", relative=False)
    for _ in range(bench.options.grow_rounds):
        for label in ("server", "redis"):
            grow(bench, label, (turn, tail))
    figures = [turn, tail] if turn.samples else [tail]
    for figure in figures:
        bench.show(figure)
    return figures


def idle_share(bench, label):
    cores = {bench.server_core, bench.second_core()}
    clients = []
    with bench.server(label, cores=cores, workers=IDLE_WORKERS) as server:
        try:
            for _ in range(IDLE_CLIENTS):
                clients.append(socket.create_connection((HOST, server.port), timeout=20))
                clients[-1].sendall(b"PING\r\n")
                if clients[-1].recv(16) != b"+PONG\r\n":
                    raise BenchError(label + " does not answer PING")
            start, cpu = time.monotonic(), server.cpu_s()
            # Nothing to wait for: an interval without events is what is measured.
            time.sleep(max(IDLE_SECONDS, bench.options.seconds))
            return 100 * (server.cpu_s() - cpu) / (time.monotonic() - start)
        finally:
            for client in clients:
                client.close()


def row_idle(bench):
    bench.close()
    figure = Figure("idle", "%d workers, %d idle clients" % (IDLE_WORKERS, IDLE_CLIENTS),
                    "% of a core", "lower", 0.5, 0.5, relative=False)
    for label in ("server", "redis"):
        figure.add(label, idle_share(bench, label))
    bench.show(figure)
    return [figure]


# ---- Instructions -----------------------------------------------------------------------------

def callgrind_total(bench, label, path, requests, **options):
    """Instructions of a whole life in user space: start, preload, `requests`, stop. One connection,
    so that every turn of the server's loop finds the same: one burst."""
    with tempfile.TemporaryDirectory(prefix="pollux-bench-") as directory:
        wrapper = ["valgrind", "--tool=callgrind", "--callgrind-out-file=%s/out" % directory, "-q"]
        extra = []
        if server_kind(path)[0] == "pollux":
            extra = bench.options.callgrind_args.split()
        with Server(label, path, {bench.server_core}, arguments=extra, wrapper=wrapper,
                    deadline_s=CALLGRIND_DEADLINE_S) as server:
            bench.preload(server, CALLGRIND_KEYS)
            bench.load(server, requests=requests, keys=CALLGRIND_KEYS, key_len=KEY_BYTES,
                       value_len=VALUE_BYTES, clients=1, spin=False, **options)
        total = 0
        for name in os.listdir(directory):
            with open(os.path.join(directory, name)) as profile:
                found = re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)
            total += int(found.group(1)) if found else 0
    if total == 0:
        raise BenchError("callgrind wrote no total for " + label)
    return total


def row_instructions(bench):
    """Two runs, one of a single burst: their difference leaves out start, preload and stop."""
    bench.close()
    if shutil.which("valgrind") is None:
        raise BenchError("needs valgrind")
    paths = {"server": bench.options.server}
    if bench.options.compare:
        paths["compare"] = bench.options.compare
    paths["redis"] = bench.options.redis
    figures = []
    for name in ("get", "set"):
        each = {}
        for label, path in paths.items():
            few, many = [callgrind_total(bench, label, path, CALLGRIND_PIPELINE + more, mix=name,
                                         pipeline=CALLGRIND_PIPELINE)
                         for more in (0, CALLGRIND_REQUESTS)]
            each[label] = (many - few) / CALLGRIND_REQUESTS
        for reference in [label for label in each if label != "server"]:
            figure = Figure("instructions", "%s, pipelines of %d, user space, against %s" % (
                name.upper(), CALLGRIND_PIPELINE, reference), "instructions for each request",
                "lower", percent=reference == "compare")
            figure.add("server", each["server"])
            figure.add(reference, each[reference])
            bench.show(figure)
            figures.append(figure)
    return figures


# In this order for `all`: rows that share servers stand together. The last word tells whether the
# servers kept by earlier rows are of no more use after the row.
ROWS = [
    ("single", row_single, "GET and SET, 50 connections, no pipeline, against redis-server", False),
    ("pipeline16", row_pipeline16, "the same with pipelines of 16", False),
    ("pipeline64", row_pipeline64, "GET with pipelines of 64", False),
    ("incr-mset", row_incr_mset, "INCR and MSET of 10 keys with pipelines of 16", False),
    ("echo", row_echo, "a bare epoll echo: the ceiling of the first row", True),
    ("workers", row_workers, "two workers against one, no pipeline", False),
    ("workers-set16", row_workers_set16, "two workers against one, SET in pipelines of 16", False),
    ("cross-keys", row_cross_keys, "MGET and MSET of both workers' keys against one's", True),
    ("per-core-ports", row_per_core_ports, "share of requests that hop with a cluster-aware client",
     True),
    ("slot-layer", row_slot_layer, "cost of slots and mailboxes, against --compare", True),
    ("memory", row_memory, "bytes of RSS a key beyond key and value", True),
    ("memory-ttl", row_memory_ttl, "the same with a TTL on each key", True),
    ("growth", row_growth, "longest turn and latency while the table grows", True),
    ("idle", row_idle, "CPU of 4 workers with 1,000 idle clients", True),
    ("instructions", row_instructions, "instructions for each request, by callgrind", True),
]
