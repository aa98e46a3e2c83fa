#!/usr/bin/python3
"""Does the differential runner find differences? Runs it against servers with known faults.

Each fault of proxy.py has to be found and shrunk to a handful of commands, which pass without the
fault. The proxy without one has to pass; and so has a second redis-server (run.py --self-check).
A server that dies has to be reported. The parser and the text form have units of their own below.
"""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import engine  # noqa: E402
import known  # noqa: E402
import proxy  # noqa: E402
import run  # noqa: E402
from compare import compare  # noqa: E402
from gen import builder, protocol  # noqa: E402
from gen.safety import make_safe  # noqa: E402
from resp import CLOSED, Incomplete, Malformed, Reply, parse  # noqa: E402
from servers import oracle  # noqa: E402
from shrink import Shrinker  # noqa: E402
from steps import Batch, Cmd, Sequence, parse_cases, parse_line  # noqa: E402

REDIS = "/usr/bin/redis-server"
SEED = os.environ.get("POLLUX_TEST_SEED") or "%d" % random.SystemRandom().randrange(10**9)
SEQUENCES_MAX = 60
SHRUNK_MAX = 6
SHRINK_SECONDS = 200  # a machine with other work takes its time
REPLY_SECONDS = 15
SILENCE_SECONDS = 1  # where a failure is that nothing comes
CONTROL_SEQUENCES = 5


class Parser(unittest.TestCase):
    def test_every_type_keeps_its_bytes(self):
        for raw in (
            b"+OK\r\n", b"-ERR x\r\n", b":-5\r\n", b"$-1\r\n", b"*-1\r\n", b"$0\r\n\r\n",
            b"$4\r\na\r\nb\r\n", b"*0\r\n", b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", b"_\r\n", b"#t\r\n",
            b",3.14\r\n", b"(12345678901234567890\r\n", b"!3\r\nERR\r\n", b"=7\r\ntxt:abc\r\n",
            b"%1\r\n+k\r\n:1\r\n", b"~2\r\n:1\r\n:2\r\n", b">1\r\n+push\r\n",
            b"|1\r\n+a\r\n:1\r\n+real\r\n",
        ):  # fmt: skip
            reply, end = parse(raw + b"+next\r\n")
            self.assertEqual((reply.raw, end), (raw, len(raw)))

    def test_every_prefix_is_incomplete(self):
        raw = b"*2\r\n%1\r\n+k\r\n$3\r\nabc\r\n=5\r\ntxt:x\r\n"
        for size in range(len(raw)):
            with self.assertRaises(Incomplete):
                parse(raw[:size])

    def test_other_bytes_are_refused(self):
        for raw in (b"x\r\n", b"$abc\r\n", b"*-2\r\n", b"$+3\r\nabc\r\n", b"$3\r\nabcd\r\n"):
            with self.assertRaises(Malformed):
                parse(raw)


class TextForm(unittest.TestCase):
    def test_lines_come_back_as_they_were(self):
        rng = random.Random(SEED)
        for _ in range(500):
            args = [rng.randbytes(rng.randint(0, 30)) for _ in range(rng.randint(1, 4))]
            args.append(bytes([rng.randrange(256)]) * rng.randint(20, 40))
            step = Batch(rng.randint(1, 3), [Cmd(args)])
            again = parse_line(step.lines()[0])[0]
            self.assertEqual((again.conn, again.cmds[0].args), (step.conn, args), "seed " + SEED)

    def test_pipelines_and_cases(self):
        text = "== one\nSET a b\n| GET a\n| GET b\n2> GET a\n== two\n!raw \"x\"\n"
        cases = parse_cases(text, "t")
        self.assertEqual([len(s.cmds) for s in cases[0].steps], [1, 2, 1])
        self.assertEqual([c.origin for c in cases], ["t:1 one", "t:6 two"])


class BrokenRequests(unittest.TestCase):
    def test_no_argument_becomes_a_command_by_one_mistake(self):
        """PING hallo with a flipped bit and a lost byte before it was HELLO, whose reply differs."""
        for word in {word for words in protocol.GOOD for word in words[1:]}:
            for place in range(min(len(word), 60)):
                head, byte, rest = word[:place], word[place], word[place + 1 :]
                middles = [bytes([byte ^ 1 << bit]) for bit in range(8)] + [b"", bytes([byte])]
                middles += [bytes([stray]) for stray in protocol.STRAY]
                for changed in [head + m + rest for m in middles] + [head]:
                    for name in changed.decode("latin-1").lower().split():
                        self.assertNotIn(name, known.IMPLEMENTED, word)


    def test_no_option_becomes_a_command_that_only_redis_has(self):
        for name in (b"SYNC", b"save"):
            self.assertEqual(make_safe([b"COMMAND", b"GetKeys", name, b"x"])[2], b"nonsense")
        self.assertEqual(make_safe([b"COMMAND", b"GETKEYS", b"GET", b"SYNC"])[3], b"SYNC")


class Comparison(unittest.TestCase):
    def check(self, words, a, b, equal):
        why = compare(Cmd(words), parse(a)[0], parse(b)[0])
        self.assertEqual(why is None, equal, (words, a, b, why))

    def test_exact_where_nothing_else_is_said(self):
        self.check([b"GET", b"k"], b"$1\r\na\r\n", b"$1\r\na\r\n", True)
        self.check([b"GET", b"k"], b"$1\r\na\r\n", b"+a\r\n", False)
        self.check([b"GET", b"help"], b"$1\r\na\r\n", b"$1\r\nb\r\n", False)
        self.check([b"COMMAND", b"GETKEYS"], b"*1\r\n+a\r\n", b"*1\r\n+b\r\n", False)

    def test_order_does_not_count_where_there_is_none(self):
        self.check([b"KEYS", b"*"], b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n", True)
        self.check([b"KEYS", b"*"], b"*2\r\n+a\r\n+a\r\n", b"*2\r\n+a\r\n+b\r\n", False)
        self.check([b"MGET", b"a", b"b"], b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n", False)

    def test_times_within_tolerance(self):
        self.check([b"PTTL", b"k"], b":5000\r\n", b":4100\r\n", True)
        self.check([b"PTTL", b"k"], b":5000\r\n", b":2100\r\n", False)
        self.check([b"TTL", b"k"], b":-1\r\n", b":-2\r\n", False)
        self.check([b"PEXPIRETIME", b"k"], b":4102444800123\r\n", b":4102444800124\r\n", False)

    def test_errors_are_exact_also_for_loose_commands(self):
        self.check([b"RANDOMKEY", b"x"], b"-ERR a\r\n", b"-ERR b\r\n", False)
        self.check([b"TTL"], b"-ERR a\r\n", b":1\r\n", False)
        self.check([b"CLIENT", b"ID"], b":4\r\n", b":9\r\n", True)

    def test_states_differ_from_replies(self):
        closed = Reply(CLOSED, None, b"")
        self.assertIsNone(compare(Cmd([b"GET"]), closed, closed))
        self.assertIsNotNone(compare(Cmd([b"LOLWUT"]), parse(b"$1\r\na\r\n")[0], closed))

    def test_a_transaction_that_ends_early(self):
        queue = [Cmd([b"TIME"]), Cmd([b"GET", b"x"]), Cmd([b"GET", b"y"])]
        exec_ = Cmd([b"EXEC"])

        def cut(*parts):
            return Reply(CLOSED, None, b"*3\r\n" + b"".join(parts))

        now, later = b"*2\r\n$1\r\n5\r\n$1\r\n6\r\n", b"*2\r\n$1\r\n5\r\n$1\r\n9\r\n"
        self.assertIsNone(compare(exec_, cut(now, b"$1\r\na\r\n"), cut(later, b"$1\r\na\r\n"),
                                  queue))
        self.assertIsNotNone(compare(exec_, cut(now, b"$1\r\na\r\n"),
                                     cut(later, b"$1\r\nb\r\n"), queue))
        self.assertIsNotNone(compare(exec_, cut(now, b"$1\r\na\r\n"), cut(later), queue))
        self.assertIsNotNone(compare(exec_, cut(now), cut(now, b"$1\r\n"), queue))
        self.assertIsNotNone(compare(exec_, cut(now), Reply(CLOSED, None, b""), queue))


class Faults(unittest.TestCase):
    """One redis-server as the oracle, one behind the proxy."""

    @classmethod
    def setUpClass(cls):
        cls.first = oracle(REDIS, "tcp")
        cls.second = proxy.FaultyServer(REDIS, proxy.Fault())
        cls.addClassCleanup(cls.first.kill)
        cls.addClassCleanup(cls.second.kill)
        cls.first.start()
        cls.second.start()
        cls.addClassCleanup(cls.second.close)

    def setUp(self):
        self.pair = engine.Pair(self.first, self.second, REPLY_SECONDS)
        self.addCleanup(self.pair.close)

    def hunt(self, fault, sequences):
        """The first failing sequence: (steps, difference), or None."""
        self.pair.close()  # the proxy looks at a connection's fault when it begins
        self.pair.seconds = SILENCE_SECONDS if fault.keeps_open() else REPLY_SECONDS
        self.second.fault = fault
        maker = builder.Builder(SEED)
        for number in range(sequences):
            sequence = maker.sequence(fault.group, number, 60)
            if fault.group != "protocol":  # the proxy does not follow inline commands
                sequence = Sequence(without_inline(sequence.steps), sequence.origin)
            found = self.pair.run(sequence)
            if found:
                return sequence.steps, found[0]
        return None

    def test_faults_are_found_and_shrunk(self):
        for kind in proxy.FAULTS:
            with self.subTest(fault=kind.__name__, seed=SEED):
                result = self.hunt(kind(), SEQUENCES_MAX)
                self.assertIsNotNone(result, "not found")
                steps, diff = result
                self.assertIsNone(diff.fatal, diff.why)
                small = Shrinker(self.pair, diff.sort(), SHRINK_SECONDS).shrink(steps)
                lines = [line for step in small for line in step.lines()]
                text = "\n".join(lines)
                found = self.pair.run(Sequence(small, "shrunk"))
                self.assertTrue(found, "shrunk to nothing: " + text)
                self.assertEqual(found[0].sort(), diff.sort(), text)
                self.assertLessEqual(len(lines), SHRUNK_MAX, text)
                self.without_fault(Sequence(small, "shrunk"))

    def without_fault(self, sequence):
        self.pair.close()
        self.second.fault = proxy.Fault(self.second.fault.group)
        self.assertEqual([(d.cmd, d.a, d.b) for d in self.pair.run(sequence)], [])

    def test_the_proxy_itself_makes_no_difference(self):
        for group in sorted({fault.group for fault in proxy.FAULTS}):
            with self.subTest(group=group, seed=SEED):
                result = self.hunt(proxy.Fault(group), CONTROL_SEQUENCES)
                self.assertIsNone(result, result and (result[1].cmd, result[1].a, result[1].b))

    def test_a_printed_failure_fails_again_as_a_case(self):
        steps, diff = self.hunt(proxy.OffByOne(), SEQUENCES_MAX)
        small = Shrinker(self.pair, diff.sort(), SHRINK_SECONDS).shrink(steps)
        text = "== shrunk\n" + "\n".join(line for step in small for line in step.lines())
        found = self.pair.run(parse_cases(text, "pasted")[0], every=True)
        self.assertEqual(found[0].sort(), diff.sort())


class Deaths(unittest.TestCase):
    """A server that dies or falls silent is a failure, and the next sequence gets a new one."""

    def setUp(self):
        self.first = oracle(REDIS, "tcp")
        self.second = oracle(REDIS, "tcp", label="second")
        self.addCleanup(self.first.kill)
        self.addCleanup(self.second.kill)
        self.first.start()
        self.second.start()
        self.pair = engine.Pair(self.first, self.second, REPLY_SECONDS)
        self.addCleanup(self.pair.close)

    def run_with(self, action):
        """Runs PING, the action, PING."""
        plain = self.pair.run_step

        def run_step(index, step):
            if index == 1:
                action()
            return plain(index, step)

        self.pair.run_step = run_step
        sequence = Sequence([Batch(1, [Cmd([b"PING"])]) for _ in range(3)], "deaths")
        found = self.pair.run(sequence)
        self.pair.run_step = plain
        self.assertEqual(len(found), 1)
        self.pair.restart_subject()
        self.assertEqual(self.pair.run(sequence), [])
        return found[0]

    def test_a_dead_server_is_told_from_a_closed_connection(self):
        def kill():
            self.second.process.kill()
            self.second.process.wait()

        diff = self.run_with(kill)
        self.assertEqual((diff.fatal, diff.b.kind), ("died", CLOSED))

    def test_a_silent_server_hangs(self):
        self.pair.seconds = SILENCE_SECONDS
        diff = self.run_with(lambda: self.second.process.send_signal(signal.SIGSTOP))
        self.assertEqual(diff.fatal, "hung")

    def test_a_server_that_does_not_start_fails_with_its_log(self):
        out = self.run_runner(["--server", REDIS, "--workers", "1", "--drivers", "epoll"])
        self.assertEqual(out.returncode, 1, out.stdout)
        self.assertIn("did not start", out.stdout)
        self.assertIn("Bad directive", out.stdout)
        self.assertTrue(out.stdout.endswith("0 passed, 1 failed\n"), out.stdout)

    @staticmethod
    def run_runner(arguments):
        command = [sys.executable, os.path.join(run.HERE, "run.py")] + arguments
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


class WholeRunner(unittest.TestCase):
    def test_two_redis_servers_agree(self):
        out = Deaths.run_runner(["--self-check", "--quick"])
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertRegex(out.stdout, r"\n[1-9]\d+ passed, 0 failed\n\Z")

    def test_wrong_options_are_refused(self):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            sys.argv = ["run.py"]
            run.parse_arguments()


def without_inline(steps):
    for step in steps:
        if isinstance(step, Batch):
            step.cmds = [Cmd(cmd.args) for cmd in step.cmds]
    return steps


if __name__ == "__main__":
    if "--server" in sys.argv:  # as tools/test.sh calls every program; no polluxd takes part here
        at = sys.argv.index("--server")
        del sys.argv[at : at + 2]
    program = unittest.main(exit=False)
    bad = len(program.result.failures) + len(program.result.errors)
    print("%d passed, %d failed" % (max(0, program.result.testsRun - bad), bad))
    sys.exit(1 if bad or not program.result.testsRun else 0)
