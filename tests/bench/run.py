#!/usr/bin/python3
"""Benchmarks of polluxd against redis-server. README.md beside this file says what each row means.

    run.py all --server build/polluxd
    run.py single pipeline16 --server build/polluxd --rounds 9 --json figures.json
"""

import argparse
import json
import os
import platform
import sys

sys.dont_write_bytecode = True

from figures import table  # noqa: E402
from measure import Bench  # noqa: E402
from rows import ROWS  # noqa: E402
from servers import BenchError, server_kind  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parse():
    cores = sorted(os.sched_getaffinity(0))
    rows = "\n".join("  %-15s %s" % (name, text) for name, _, text, _ in ROWS)
    parser = argparse.ArgumentParser(
        description="Measures polluxd against redis-server, in turn and in CPU time.",
        epilog="rows:\n" + rows, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", metavar="row",
                        choices=["all"] + [row[0] for row in ROWS], help="what to measure, or all")
    build = os.path.join(ROOT, "build")
    programs = os.path.join(build, "tests", "bench")
    parser.add_argument("--server", default=os.path.join(build, "polluxd"), help="(build/polluxd)")
    parser.add_argument("--redis", default="/usr/bin/redis-server", help="(/usr/bin/redis-server)")
    parser.add_argument("--compare", help="polluxd built with -Dslot_layer=false")
    parser.add_argument("--server-args", default="", help="more arguments for --server")
    parser.add_argument("--callgrind-args", default="--net-driver epoll",
                        help="arguments for polluxd under callgrind (--net-driver epoll)")
    parser.add_argument("--load", default=os.path.join(build, "tools/pollux-bench/pollux-bench"))
    parser.add_argument("--echo", default=os.path.join(programs, "pollux-echo"))
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, in turn (5)")
    parser.add_argument("--seconds", type=float, default=2, help="length of a run (2)")
    parser.add_argument("--grow-to", type=int, default=10000000, help="keys at the end of growth")
    parser.add_argument("--grow-rate", type=float, default=200000,
                        help="requests a second of growth (200000)")
    parser.add_argument("--grow-rounds", type=int, default=1, help="growths of each server (1)")
    parser.add_argument("--server-core", type=int, default=cores[0])
    parser.add_argument("--load-core", type=int, default=cores[-1])
    parser.add_argument("--json", help="write all samples to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure misses its must")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0 or options.grow_rounds < 1:
        parser.error("--rounds, --seconds and --grow-rounds are positive")
    if options.server_core == options.load_core:
        parser.error("the server and the load need a core each")
    for path in (options.server, options.redis, options.load, options.echo, options.compare):
        if path is not None and not os.access(path, os.X_OK):
            parser.error("%s is no program; build first, or name another" % path)
    return options


def machine():
    model = ""
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release()}


def write_json(options, figures, skipped):
    report = {
        "machine": machine(),
        "server": server_kind(options.server)[1], "redis": server_kind(options.redis)[1],
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "figures": [figure.as_json() for figure in figures],
        "skipped": skipped,
    }
    with open(options.json, "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


def main():
    options = parse()
    wanted = [row for row in ROWS if "all" in options.rows or row[0] in options.rows]
    bench = Bench(options)
    figures, skipped = [], {}
    print("%s against %s" % (server_kind(options.server)[1], server_kind(options.redis)[1]))
    print("%(cpu)s, %(cores)d cores, Linux %(kernel)s\n" % machine(), flush=True)
    try:
        for name, run, _, closes in wanted:
            bench.say("-- " + name)
            try:
                figures += run(bench)
            except BenchError as error:
                skipped[name] = str(error)
                print("%s: not measured: %s\n" % (name, error), flush=True)
                bench.close()
            if closes:
                bench.close()
    finally:
        bench.close()
    if figures:
        print(table(figures))
    if options.json:
        write_json(options, figures, skipped)
    missed = any(figure.is_missed() for figure in figures)
    return 1 if skipped or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
