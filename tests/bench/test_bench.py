#!/usr/bin/python3
"""Tests of the benchmark programs: a load generator that miscounts makes every figure worthless.

Usage: test_bench.py LOAD ECHO [REDIS_SERVER]. Counts are checked against redis-server's own, and
odd behaviour (replies in pieces, MOVED, a stall) against a small server in this process.
"""

import binascii
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True

from figures import Figure  # noqa: E402
from servers import HOST, Client, Process, Server, echo_server, free_ports  # noqa: E402

PROGRAMS = {"load": None, "echo": None, "redis": "/usr/bin/redis-server"}
CORES = {min(os.sched_getaffinity(0))}


def load(port, *flags, **options):
    command = [PROGRAMS["load"], "--json", "--progress", "0", "--port", str(port)]
    command += ["--" + flag for flag in flags]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def loaded(test, port, *flags, **options):
    done = load(port, *flags, **options)
    test.assertEqual(done.returncode, 0, done.stderr)
    return json.loads(done.stdout)


class FakeServer:
    """Answers every command with the next of `replies`, over and over, in pieces of `piece` bytes.
    `stall_s` delays one answer, the `stall_at`th."""

    def __init__(self, replies, piece=0, stall_at=0, stall_s=0):
        self.replies, self.piece = replies, piece
        self.stall_at, self.stall_s = stall_at, stall_s
        self.commands = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(one,), daemon=True).start()

    def serve(self, one):
        with one, one.makefile("rb") as lines:
            try:
                while header := lines.readline():
                    for _ in range(int(header[1:])):
                        lines.read(int(lines.readline()[1:]) + 2)
                    self.answer(one)
            except OSError:
                return  # the load went away with replies unread

    def answer(self, one):
        with self.lock:
            reply = self.replies[self.commands % len(self.replies)]
            self.commands += 1
            stalls = self.commands == self.stall_at
        if stalls:
            time.sleep(self.stall_s)  # the behaviour under test, not a wait for anything
        for at in range(0, len(reply), self.piece or len(reply)):
            one.sendall(reply[at:at + (self.piece or len(reply))])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone would leave the thread in accept, and the port listening.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()


class AgainstRedis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("redis", PROGRAMS["redis"], CORES)
        cls.client = Client(cls.server.port)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def setUp(self):
        self.client.call("FLUSHALL")
        self.client.call("CONFIG", "RESETSTAT")

    def calls(self):
        counts = {}
        for line in self.client.call("INFO", "commandstats").decode().splitlines():
            if line.startswith("cmdstat_"):
                name, fields = line[len("cmdstat_"):].split(":", 1)
                counts[name] = int(fields.split(",")[0].split("=")[1])
        return counts

    def test_preload_sets_every_key_once_at_its_exact_size(self):
        result = loaded(self, self.server.port, mix="setnew", requests=2000, keys=2000, clients=3,
                        pipeline=7, key_len=20, value_len=33, ttl=1000)
        self.assertEqual(result["requests"], 2000)
        self.assertEqual(self.client.call("DBSIZE"), 2000)
        self.assertEqual(self.client.call("STRLEN", "k:" + "0" * 14 + "1999"), 33)
        self.assertGreater(self.client.call("TTL", "k:" + "0" * 18), 900)
        self.assertEqual({len(key) for key in self.client.call("KEYS", "*")}, {20})

    def test_sends_exactly_the_requests_of_the_mix(self):
        loaded(self, self.server.port, mix="get=4,set=1", requests=5003, clients=7, pipeline=16)
        calls = self.calls()
        self.assertEqual(calls["get"] + calls["set"], 5003)
        self.assertAlmostEqual(calls["set"], 1000, delta=1)

    def test_counts_nulls_of_absent_keys_and_none_of_present_ones(self):
        options = {"requests": 500, "keys": 50, "multi": 10, "clients": 2, "pipeline": 4}
        self.assertEqual(loaded(self, self.server.port, mix="mget", **options)["nulls"], 5000)
        loaded(self, self.server.port, mix="setnew", requests=50, keys=50)
        self.assertEqual(loaded(self, self.server.port, mix="mget", **options)["nulls"], 0)

    def test_split_keeps_a_connection_to_its_slot_range(self):
        slots = {}
        for clients in (1, 2):
            self.client.call("FLUSHALL")
            loaded(self, self.server.port, mix="mset", requests=200, split=2, clients=clients)
            slots[clients] = [binascii.crc_hqx(key, 0) % 16384
                              for key in self.client.call("KEYS", "*")]
        self.assertLess(max(slots[1]), 8192)
        self.assertGreater(max(slots[2]), 8191)

    def test_mset_and_incr_change_what_they_name(self):
        loaded(self, self.server.port, mix="mset", requests=10, keys=100, group=10, value_len=5)
        self.assertEqual(self.client.call("DBSIZE") % 10, 0)
        self.client.call("FLUSHALL")
        loaded(self, self.server.port, "int-values", mix="setnew", requests=10, keys=10,
               value_len=4)
        result = loaded(self, self.server.port, mix="incr", requests=300, keys=10)
        self.assertEqual(result["errors"], 0)
        total = sum(int(self.client.call("GET", key)) for key in self.client.call("KEYS", "*"))
        self.assertEqual(total, 10 * 1111 + 300)

    def test_timed_run_reports_what_the_server_spent(self):
        result = loaded(self, self.server.port, mix="ping", seconds=0.5, warmup=0.1,
                        server_pid=self.server.pid)
        self.assertGreater(result["requests"], 100)
        self.assertGreater(result["server_cpu_seconds"], 0)
        self.assertLessEqual(result["server_cpu_seconds"], 1.1 * result["seconds"])

    def test_open_loop_keeps_its_rate(self):
        result = loaded(self, self.server.port, mix="get", rate=2000, seconds=1, warmup=0,
                        pipeline=4)
        self.assertAlmostEqual(result["requests"], 2000, delta=8)

    def test_large_values_pass_through_full_sockets(self):
        result = loaded(self, self.server.port, mix="setnew,get", requests=400, keys=1, clients=1,
                        pipeline=200, value_len=100000)
        self.assertEqual((result["errors"], result["replies"]), (0, 400))


class Cluster(unittest.TestCase):
    def test_finds_the_ports_and_sends_groups_of_one_slot(self):
        port = free_ports(1)
        directory = tempfile.TemporaryDirectory(prefix="pollux-bench-")
        command = [PROGRAMS["redis"], "--port", str(port), "--bind", HOST, "--save", "",
                   "--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)),
                   "--dir", directory.name]
        with Process("redis", command, port, CORES, directory) as server:
            server.wait_for_port(20)
            client = Client(port)
            client.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 20
            while b"cluster_state:ok" not in client.call("CLUSTER", "INFO"):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            client.close()
            result = loaded(self, port, "cluster", mix="mset,mget,get", requests=600, keys=1000,
                            group=10)
        self.assertEqual((result["errors"], result["moved"], result["ports"]), (0, 0, 1))

    def test_sends_each_key_to_the_port_of_its_slot(self):
        with FakeServer([b"+OK\r\n"]) as low, FakeServer([b"+OK\r\n"]) as high:
            slots = "*2\r\n"
            for first, last, port in ((0, 8191, low.port), (8192, 16383, high.port)):
                slots += "*3\r\n:%d\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n" % (
                    first, last, port)
            with FakeServer([slots.encode()], piece=11) as entry:
                result = loaded(self, entry.port, "cluster", mix="get", requests=400, clients=4)
            self.assertEqual(result["ports"], 2)
            self.assertEqual(low.commands + high.commands, 400)
            self.assertGreater(min(low.commands, high.commands), 0)


class OddServers(unittest.TestCase):
    def test_counts_moved_errors_and_nulls_in_pieces_of_any_size(self):
        replies = [b"-MOVED 7 127.0.0.1:1\r\n", b"$-1\r\n", b"*2\r\n$3\r\na\r\n\r\n*1\r\n:5\r\n",
                   b"-ERR no\r\n", b"$0\r\n\r\n", b"*0\r\n"]
        for piece in (1, 2, 3, 5, 0):
            with FakeServer(replies, piece) as server:
                result = loaded(self, server.port, mix="get", requests=60, clients=1, pipeline=6)
                self.assertEqual((result["moved"], result["nulls"], result["errors"]), (10, 10, 10))
                self.assertEqual(result["first_error"], "ERR no")

    def test_open_loop_charges_a_stall_to_all_that_waited(self):
        with FakeServer([b"+OK\r\n"], stall_at=300, stall_s=0.4) as server:
            options = {"mix": "get", "clients": 1, "seconds": 1, "warmup": 0}
            latency = loaded(self, server.port, rate=1000, **options)["latency_us"]
        self.assertGreater(latency["max"], 350000)
        self.assertGreater(latency["p90"], 200000)  # 400 of 1,000 requests fell due meanwhile

    def test_refuses_what_is_no_reply(self):
        for reply in (b"hello\r\n", b"$12x\r\n", b"*-2\r\n", b"$99999999999\r\n", b"\r\n"):
            with FakeServer([reply]) as server:
                done = load(server.port, requests=1, clients=1)
                self.assertEqual(done.returncode, 1, (reply, done, server.commands))

    def test_echo_answers_each_request_once(self):
        with echo_server(PROGRAMS["echo"], CORES) as echo:
            result = loaded(self, echo.port, mix="get", requests=5000, clients=5, pipeline=9)
        self.assertEqual((result["replies"], result["errors"]), (5000, 0))

    def test_refuses_options_that_make_no_sense(self):
        for options in ({"mix": "nothing"}, {"mix": "get=0"}, {"key_len": 4}, {"clients": 0},
                        {"multi": 11, "group": 10, "mix": "mget"}, {"seconds": "soon"}):
            self.assertEqual(load(1, **options).returncode, 1, options)


class Figures(unittest.TestCase):
    def test_value_is_the_ratio_of_medians(self):
        figure = Figure("row", "what", "unit", "higher", 1.2, 1.45)
        for value in (3, 1, 2):
            figure.add("server", value)
            figure.add("redis", 1)
        self.assertEqual((figure.value(), figure.verdict()), (2, "aim reached"))

    def test_verdicts_follow_the_better_side(self):
        for value, verdict in ((1.1, "aim reached"), (1.3, "must reached"), (1.4, "MISSED")):
            figure = Figure("row", "what", "unit", "lower", 1.35, 1.15)
            figure.add("two", value)
            figure.add("one", 1)
            self.assertEqual((figure.verdict(), figure.is_missed()), (verdict, verdict == "MISSED"))


if __name__ == "__main__":
    PROGRAMS.update(zip(("load", "echo", "redis"), sys.argv[1:]))
    unittest.main(argv=sys.argv[:1], verbosity=2)
