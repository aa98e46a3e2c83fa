#!/usr/bin/python3
"""Feeds redis-server and polluxd the same commands and compares the raw replies. See README.md."""

import argparse
import glob
import itertools
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import known  # noqa: E402
import specials  # noqa: E402
import steps  # noqa: E402
from engine import Pair  # noqa: E402
from gen import builder, table  # noqa: E402
from resp import encode, quote, show  # noqa: E402
from servers import ServerDied, oracle, packets, subject  # noqa: E402
from shrink import Shrinker  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SHRINK_SECONDS = 20
CASE_FAILURES_SHOWN = 8
QUICK_DIVISOR = 12
# Sequences of a group for one configuration; --sequences replaces them.
SEQUENCES = {
    "strings": 150, "bitmaps": 100, "keys": 150, "connection": 100, "transactions": 150,
    "server": 50, "pipelines": 75, "mixed": 150, "protocol": 30,
}  # fmt: skip


class Tally:
    """Counts groups and prints what happens."""

    def __init__(self, verbose):
        self.passed = 0
        self.failed = 0
        self.verbose = verbose

    def group(self, name, good, note=""):
        self.passed += bool(good)
        self.failed += not good
        print("%s %s%s" % ("ok  " if good else "FAIL", name, "  (%s)" % note if note else ""))
        sys.stdout.flush()

    def say(self, text):
        print(text)
        sys.stdout.flush()


class Configuration:
    """One pair of running servers and all that is compared on it."""

    def __init__(self, options, tally, name, second):
        self.options = options
        self.tally = tally
        self.name = name
        self.first = oracle(options.redis, options.transport)
        self.second = second
        self.pair = None
        self.missing = set()
        self.types = set()

    def wanted(self, group):
        return not self.options.only or any(
            group == only or group.startswith(only + "/") for only in self.options.only
        )

    def run(self):
        begin = time.monotonic()
        try:
            self.first.start()
            self.second.start()
            self.pair = Pair(self.first, self.second, self.options.timeout)
            self.look_around()
            self.run_cases()
            self.run_specials()
            self.run_groups()
            self.pair.close()
            self.stop()
        except ServerDied as error:
            self.tally.group("%s server" % self.name, False, "a server died")
            self.tally.say(str(error))
        finally:
            if self.pair:
                self.pair.close()
            self.first.kill()
            self.second.kill()
        seconds = time.monotonic() - begin
        count = self.pair.commands_run if self.pair else 0
        self.tally.say("     %s: %d commands in %.0f s" % (self.name, count, seconds))

    def stop(self):
        problems = [p for p in (self.first.stop(), self.second.stop()) if p]
        self.tally.group("%s stop" % self.name, not problems)
        for problem in problems:
            self.tally.say("     " + problem)

    def look_around(self):
        """Which commands does the second server lack? Each one that has to be there and is not is
        a failure here, and is kept out of the sequences, so that these can find something else."""
        gone = []
        for name in sorted(known.IMPLEMENTED):
            if not self.knows(self.second, name):
                gone.append(name)
        self.missing = set(gone)
        self.types = {
            kind
            for kind, words in known.TYPE_MAKERS.items()
            if all(self.knows(s, words[0].decode()) for s in (self.first, self.second))
        }
        if self.wanted("commands"):
            note = "missing: " + " ".join(gone) if gone else "%d present" % len(known.IMPLEMENTED)
            self.tally.group("%s commands" % self.name, not gone, note)

    @staticmethod
    def knows(server, name):
        """Asks by name with arguments that no command takes: nothing but the name is looked at."""
        channel = server.connect(1)
        try:
            channel.send(encode([name.encode()] + [b"?"] * 9), 5)
            return b"unknown command" not in channel.read(5).raw
        finally:
            channel.close()

    def run_cases(self):
        for path in sorted(glob.glob(os.path.join(HERE, "cases", "*.txt"))):
            group = "cases/" + os.path.splitext(os.path.basename(path))[0]
            if not self.wanted(group):
                continue
            with open(path, encoding="utf-8") as file:
                cases = steps.parse_cases(file.read(), os.path.basename(path))
            failures, lines = 0, 0
            for case in cases:
                lines += case.size()
                found = self.run_sequence(case, every=True)
                for diff in found:
                    failures += 1
                    if failures <= CASE_FAILURES_SHOWN or self.tally.verbose:
                        self.report_difference(case, diff)
            note = "%d cases, %d lines" % (len(cases), lines)
            if failures:
                note += ", %d differences" % failures
            self.tally.group("%s %s" % (self.name, group), not failures, note)

    def run_sequence(self, sequence, every=False):
        found = self.pair.run(sequence, every)
        for diff in found:
            if diff.fatal == "died":
                self.tally.say("     %s died: %s" % (self.second.label, self.second.obituary()))
            if diff.fatal:
                self.pair.restart_subject()
        return found

    def run_specials(self):
        for name, check in specials.CHECKS.items():
            group = "special/" + name
            if not self.wanted(group):
                continue
            try:
                problems = check(self.pair)
            except (ServerDied, OSError) as error:
                problems = ["%s: %s" % (type(error).__name__, error)]
                self.pair.recover()
            except (AttributeError, TypeError, IndexError) as error:
                problems = ["a reply has an unexpected form: %r" % error]
            self.tally.group("%s %s" % (self.name, group), not problems)
            for problem in problems if self.tally.verbose else problems[:20]:
                self.tally.say("     " + problem)

    def run_groups(self):
        seed = "%s/%s" % (self.options.seed, self.name)
        maker = builder.Builder(seed, self.missing, self.types)
        for group in builder.GROUPS:
            if not self.wanted(group):
                continue
            failures, done = 0, 0
            for number in range(self.options.first, self.options.first + self.sequences(group)):
                sequence = maker.sequence(group, number, self.options.length)
                done += 1
                if self.tally.verbose:
                    self.tally.say("     %s" % sequence.origin)
                if not self.examine(group, number, sequence):
                    failures += 1
                    if failures >= self.options.max_failures:
                        break
            note = "%d sequences" % done
            if failures:
                note += ", %d failed" % failures
            self.tally.group("%s %s" % (self.name, group), not failures, note)

    def sequences(self, group):
        if self.options.sequences is not None:
            return self.options.sequences
        count = SEQUENCES[group]
        return max(2, count // QUICK_DIVISOR) if self.options.quick else count

    def examine(self, group, number, sequence):
        """Runs one random sequence; shrinks and prints what fails. True if nothing did."""
        found = self.run_sequence(sequence)
        if not found:
            return True
        diff = found[0]
        small = sequence.steps if diff.step is None else sequence.steps[: diff.step + 1]
        shrinker = Shrinker(self.pair, diff.sort(), SHRINK_SECONDS)
        again = shrinker.fails(small)
        if again:
            small = shrinker.shrink(small)
            final = self.pair.run(steps.Sequence(small, sequence.origin))
            if final:
                diff = final[0]
                if diff.fatal:
                    self.pair.restart_subject()
        self.tally.say("")
        self.tally.say(
            "DIFFERENCE in %s %s, sequence %d of %d steps, shrunk to %d in %d runs%s"
            % (self.name, group, number, len(sequence.steps), len(small), shrinker.tries,
               "" if again else " (did not show again: depends on timing)")
        )  # fmt: skip
        self.tally.say("  again with: %s" % self.again(group, number))
        self.print_steps(small)
        self.print_replies(diff)
        return False

    def again(self, group, number):
        words = ["tests/differential/run.py"]
        words += ["--self-check"] if self.options.self_check else ["--server", self.second.binary]
        words += ["--seed", str(self.options.seed), "--only", group, "--first", str(number)]
        words += ["--sequences", "1", "--length", str(self.options.length)]
        words += ["--transport", self.options.transport]
        arguments = self.second.arguments
        if "--workers" in arguments:
            words += ["--workers", arguments[arguments.index("--workers") + 1]]
            words += ["--drivers", packets.DRIVER if self.second.on_packets
                      else arguments[arguments.index("--net-driver") + 1]]
        return " ".join(words)

    def report_difference(self, case, diff):
        self.tally.say("")
        self.tally.say("DIFFERENCE in %s, case %s" % (self.name, case.origin))
        if diff.step is not None and not diff.cmd.startswith("(raw)"):
            step = case.steps[diff.step]
            prefix = "%d> " % step.conn if getattr(step, "conn", 1) != 1 else ""
            self.tally.say("  %s%s" % (prefix, diff.cmd[:400]))
        else:
            self.tally.say("  %s" % diff.cmd[:400])
        self.print_replies(diff)

    def print_steps(self, list_of_steps):
        self.tally.say("== shrunk")
        for step in list_of_steps:
            for line in step.lines():
                self.tally.say(line)

    def print_replies(self, diff):
        self.tally.say("  # %s: %s%s" % (diff.cmd[:300], diff.why, self.fate(diff)))
        a, b = shown_pair(diff.a, diff.b)
        self.tally.say("  #   %-8s %s" % (self.first.label + ":", a))
        self.tally.say("  #   %-8s %s" % (self.second.label + ":", b))

    @staticmethod
    def fate(diff):
        return {"died": "; the server died", "hung": "; the server hangs"}.get(diff.fatal, "")


def shown_pair(a, b):
    """Both replies for a human. Long ones begin shortly before the first byte that differs."""
    limit = 300
    if len(a.raw) <= limit and len(b.raw) <= limit:
        return show(a), show(b)
    place = len(os.path.commonprefix([a.raw, b.raw]))
    begin = max(0, place - 80)
    if begin == 0:
        return show(a, limit), show(b, limit)
    form = "(%d bytes, from byte %d) %s"
    return tuple(form % (len(r.raw), begin, quote(r.raw[begin:], limit)) for r in (a, b))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", help="polluxd to compare", metavar="PATH")
    parser.add_argument("--redis", default="/usr/bin/redis-server", metavar="PATH")
    parser.add_argument("--self-check", action="store_true", help="compare redis with redis")
    parser.add_argument("--seed",
                        help="any word; printed; by default POLLUX_TEST_SEED or a fresh one")
    parser.add_argument("--sequences", type=int, help="number for each group", metavar="N")
    parser.add_argument("--first", type=int, default=0, help="number of the first one", metavar="N")
    parser.add_argument("--length", type=int, default=80, help="commands each", metavar="N")
    parser.add_argument("--workers", default="1,2,4", help="list, default 1,2,4")
    parser.add_argument("--drivers", default="uring,epoll", help="list, default uring,epoll")
    parser.add_argument("--transport", choices=["mixed", "tcp", "unix"], default="mixed")
    parser.add_argument("--quick", action="store_true", help="fewer sequences")
    parser.add_argument(
        "--only", action="append", metavar="GROUP",
        help="a group (strings ... protocol, commands, cases, cases/FILE, special, special/NAME)",
    )  # fmt: skip
    parser.add_argument("--max-failures", type=int, default=1, help="for each group", metavar="N")
    parser.add_argument("--timeout", type=float, default=5, help="seconds for a reply", metavar="S")
    parser.add_argument("--server-args", default="", help="further arguments for polluxd")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if bool(options.server) == options.self_check:
        parser.error("either --server or --self-check")
    if options.seed is None:
        options.seed = os.environ.get("POLLUX_TEST_SEED") or (
            "%d" % random.SystemRandom().randrange(10**9))
    return options


def configurations(options, tally):
    if options.self_check:
        second = oracle(options.redis, options.transport, label="redis-2")
        yield Configuration(options, tally, "self", second)
        return
    extra = options.server_args.split()
    chosen = itertools.product(options.workers.split(","), options.drivers.split(","))
    for workers, driver in chosen:
        server = os.path.abspath(options.server)
        second = subject(server, workers, driver, options.transport, extra)
        yield Configuration(options, tally, "w%s/%s" % (workers, driver), second)


def interrupted(number, frame):
    raise KeyboardInterrupt


def main():
    options = parse_arguments()
    if packets.DRIVER in options.drivers.split(","):
        packets.enter()
        # No client is local there: protected mode would lock out polluxd's, and none of redis's.
        table.CONFIG_VALUES[b"protected-mode"] = [b"no"]
    tally = Tally(options.verbose)
    signal.signal(signal.SIGTERM, interrupted)
    tally.say("seed %s" % options.seed)
    try:
        for configuration in configurations(options, tally):
            configuration.run()
    except KeyboardInterrupt:
        tally.say("interrupted")
        tally.failed += 1
    tally.say("%d passed, %d failed" % (tally.passed, tally.failed))
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
