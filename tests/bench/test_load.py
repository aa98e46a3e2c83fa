#!/usr/bin/python3
"""Tests of pollux-bench: what it offers and what it makes of the answers.

Usage: test_load.py LOAD POLLUXD [REDIS_SERVER]. test_bench.py has those that the rows of run.py
rest on.
"""

import collections
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True

import json  # noqa: E402

from servers import Client, Server  # noqa: E402
from test_bench import CORES, PROGRAMS, FakeServer, load, loaded  # noqa: E402

DEADLINE_S = 30


def start(port, *flags, **options):
    """The load in the background, with a progress line ten times a second."""
    command = [PROGRAMS["load"], "--json", "--progress", "0.1", "--port", str(port)]
    command += ["--" + flag for flag in flags]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(test, process):
    out, err = process.communicate(timeout=DEADLINE_S)
    test.assertEqual(process.returncode, 0, err)
    return json.loads(out)


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

    def field(self, section, name):
        for line in self.client.call("INFO", section).decode().splitlines():
            if line.startswith(name + ":"):
                return int(line.split(":")[1])
        self.fail(name)

    def lengths(self):
        return collections.Counter(self.client.call("STRLEN", key)
                                   for key in self.client.call("KEYS", "*"))

    def test_preload_leaves_no_key_out(self):
        result = loaded(self, self.server.port, "preload", keys=3001, requests=2000)
        self.assertEqual(result["preloaded"], 3001)
        self.assertEqual(self.client.call("DBSIZE"), 3001)
        self.assertEqual(result["nulls"], 0)

    def test_preload_fills_groups_and_slot_ranges(self):
        result = loaded(self, self.server.port, "preload", keys=3000, group=10, split=3,
                        requests=2000, mix="mget")
        self.assertEqual(self.client.call("DBSIZE"), 3000)
        self.assertEqual((result["preloaded"], result["nulls"]), (3000, 0))

    def test_zipf_draws_keys_by_their_rank(self):
        loaded(self, self.server.port, mix="incr", keys=100, zipf=1, requests=40000, pipeline=100)
        hits = [int(self.client.call("GET", "k:%014d" % key) or 0) for key in range(100)]
        harmonic = sum(1 / rank for rank in range(1, 101))
        self.assertEqual(sum(hits), 40000)
        for rank in (1, 2, 5, 10):
            expected = 40000 / harmonic / rank
            self.assertAlmostEqual(hits[rank - 1], expected, delta=5 * expected ** 0.5)
        self.assertAlmostEqual(sum(hits[50:]), 40000 / harmonic *
                               sum(1 / rank for rank in range(51, 101)), delta=400)

    def test_uniform_keys_are_all_alike(self):
        loaded(self, self.server.port, mix="incr", keys=50, requests=20000, pipeline=100)
        hits = [int(self.client.call("GET", "k:%014d" % key) or 0) for key in range(50)]
        self.assertLess(max(abs(hit - 400) for hit in hits), 5 * 20)

    def test_value_sizes_follow_the_mix(self):
        loaded(self, self.server.port, mix="setnew", keys=2000, requests=2000,
               value_len="10=3,100=1,5000=1")
        lengths = self.lengths()
        self.assertEqual(set(lengths), {10, 100, 5000})
        self.assertAlmostEqual(lengths[10], 1200, delta=120)

    def test_value_sizes_fill_a_range(self):
        loaded(self, self.server.port, mix="setnew", keys=2000, requests=2000,
               value_len="100-1000")
        lengths = self.lengths()
        self.assertEqual((min(lengths), max(lengths)), (100, 1000))
        self.assertEqual(len(lengths), 32)

    def test_churn_makes_a_connection_for_each_few_requests(self):
        before = self.field("stats", "total_connections_received")
        result = loaded(self, self.server.port, "reset", mix="ping", requests=500, clients=4,
                        churn=5)
        self.assertEqual(result["replies"], 500)
        self.assertIn(result["opened"], range(100, 105))
        received = self.field("stats", "total_connections_received") - before
        self.assertIn(received, range(result["opened"], result["opened"] + 5))
        self.assertGreater(result["connect_latency_us"]["count"], 90)

    def test_churn_goes_on_in_the_open_loop(self):
        result = loaded(self, self.server.port, mix="ping", rate=1000, seconds=1, warmup=0,
                        clients=5, churn=10)
        self.assertEqual(result["replies"], 1000)
        self.assertGreaterEqual(result["opened"], 100)

    def test_rate_rises_during_the_ramp(self):
        result = loaded(self, self.server.port, rate=2000, ramp=1, warmup=0, seconds=1)
        self.assertAlmostEqual(result["sent"], 1000 + 2000, delta=2)
        self.assertAlmostEqual(result["latency_us"]["count"], 2000, delta=2)

    def test_connections_open_during_the_ramp(self):
        process = start(self.server.port, ramp=1, warmup=0, seconds=0.2, clients=40)
        counts = []
        while process.poll() is None:
            counts.append(self.field("clients", "connected_clients"))
        result = finished(self, process)
        self.assertEqual(result["opened"], 40)
        self.assertTrue(any(5 < count < 35 for count in counts), counts)

    def test_poisson_arrivals_keep_the_mean(self):
        result = loaded(self, self.server.port, "poisson", rate=4000, seconds=1, warmup=0)
        self.assertAlmostEqual(result["sent"], 4000, delta=5 * 4000 ** 0.5)

    def test_counts_packets(self):
        result = loaded(self, self.server.port, mix="ping", requests=2000, clients=1)
        self.assertAlmostEqual(result["packets_sent"], 2000, delta=40)
        self.assertAlmostEqual(result["packets_per_request"], 2, delta=0.1)
        self.assertEqual(result["retransmits"], 0)

    def test_series_adds_up(self):
        result = finished(self, start(self.server.port, seconds=0.5, warmup=0))
        self.assertGreaterEqual(len(result["series"]), 4)
        self.assertEqual(sum(one["requests"] for one in result["series"]), result["replies"])

    def test_plot_is_an_svg_with_its_curves(self):
        with tempfile.TemporaryDirectory(prefix="pollux-bench-") as directory:
            path = os.path.join(directory, "plot.svg")
            loaded(self, self.server.port, seconds=0.5, warmup=0, plot=path)
            root = xml.etree.ElementTree.parse(path).getroot()
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.tag, space + "svg")
        lines = root.findall(space + "polyline")
        self.assertEqual([line.get("class") for line in lines], ["a", "a", "b", "c"])
        self.assertGreater(len(lines[0].get("points").split()), 200)
        values = [text.text for text in root.findall(space + "text")
                  if text.get("class") == "value"]
        self.assertEqual(len(values), 4)
        for value in values:
            self.assertRegex(value, r"^[0-9.]+ (us|ms|s)$")

    def test_interrupt_ends_the_run_with_a_report(self):
        process = start(self.server.port, seconds=60, warmup=0)
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        result = finished(self, process)
        self.assertLess(result["seconds"], DEADLINE_S)
        self.assertGreater(result["requests"], 0)

    def broken_run(self, *flags):
        process = start(self.server.port, *flags, seconds=1, warmup=0, clients=3)
        process.stderr.readline()
        for line in self.client.call("CLIENT", "LIST", "TYPE", "normal").splitlines():
            if b"cmd=get" in line:
                self.client.call("CLIENT", "KILL", "ID", line.split()[0].split(b"=")[1].decode())
                break
        else:
            self.fail("no client of the load")
        return process

    def test_reconnect_counts_what_broke(self):
        result = finished(self, self.broken_run("reconnect"))
        self.assertEqual(result["broken"], 1)
        self.assertEqual(result["opened"], 4)
        self.assertLessEqual(result["lost"], 1)
        self.assertLessEqual(result["sent"] - result["replies"] - result["lost"], 3)

    def test_a_broken_connection_ends_the_run(self):
        process = self.broken_run()
        process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 1)

    def test_speaks_to_a_unix_socket(self):
        with tempfile.TemporaryDirectory(prefix="pollux-bench-") as directory:
            path = os.path.join(directory, "s")
            command = [PROGRAMS["redis"], "--port", "0", "--unixsocket", path, "--save", "",
                       "--dir", directory]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
                try:
                    deadline = time.monotonic() + DEADLINE_S
                    while not os.path.exists(path):
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.01)
                    result = loaded(self, 1, host=path, mix="ping", requests=1000)
                finally:
                    server.terminate()
        self.assertEqual((result["replies"], result["errors"]), (1000, 0))


class Stall(unittest.TestCase):
    """A server that is stopped for a while. The open loop owes an answer for every request that
    fell due meanwhile; the closed loop notices one for each connection."""

    STALL_S = 0.6
    RATE = 2000

    def stalled(self, **options):
        with Server("redis", PROGRAMS["redis"], CORES) as server:
            process = start(server.port, seconds=2, warmup=0, clients=4, **options)
            process.stderr.readline()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                time.sleep(self.STALL_S)  # the behaviour under test, not a wait for anything
            finally:
                os.kill(server.pid, signal.SIGCONT)
            return finished(self, process)

    def test_open_loop_is_free_of_coordinated_omission(self):
        result = self.stalled(rate=self.RATE)
        latency = result["latency_us"]
        self.assertEqual((result["sent"], result["replies"]), (2 * self.RATE, 2 * self.RATE))
        self.assertEqual(latency["count"], 2 * self.RATE)
        # Those due in the stall waited from its whole length down to nothing, evenly: 30 % of all.
        self.assertGreater(latency["max"], 1e6 * self.STALL_S * 0.95)
        self.assertGreater(latency["p90"], 1e6 * self.STALL_S * 0.5)
        self.assertGreater(latency["mean"], 1e6 * self.STALL_S * self.STALL_S / 2 / 2 * 0.8)
        self.assertLess(latency["p50"], 1e6 * self.STALL_S / 2)

    def test_closed_loop_sees_it_once_a_connection(self):
        latency = self.stalled()["latency_us"]
        self.assertGreater(latency["max"], 1e6 * self.STALL_S * 0.95)
        self.assertLess(latency["p99"], 1e5)


class AgainstPolluxd(unittest.TestCase):
    def test_keys_go_to_the_port_of_their_core(self):
        with Server("server", PROGRAMS["polluxd"], CORES, workers=2, per_core_ports=True) as server:
            result = loaded(self, server.port, "preload", "cluster", mix="get=3,set=1", keys=2000,
                            requests=20000, clients=8, pipeline=8)
            client = Client(server.port)
            keys = client.call("DBSIZE")
            client.close()
        self.assertEqual((result["ports"], result["moved"], result["errors"]), (2, 0, 0))
        self.assertEqual((result["replies"], result["nulls"], keys), (20000, 0, 2000))

    def test_churn_and_bursts(self):
        with Server("server", PROGRAMS["polluxd"], CORES) as server:
            result = loaded(self, server.port, "reset", mix="set,get", requests=3000, clients=10,
                            pipeline=4, churn=12, value_len="0-20000", keys=100)
        self.assertEqual((result["replies"], result["errors"], result["lost"]), (3000, 0, 0))
        self.assertGreaterEqual(result["opened"], 250)


class OddServers(unittest.TestCase):
    def test_json_survives_any_error_text(self):
        with FakeServer([b'-ERR "a\\b" \x01\xff\t%s\r\n']) as server:
            result = loaded(self, server.port, requests=10, clients=1)
        self.assertEqual((result["errors"], result["first_error"]), (10, "ERR ?a?b? ???%s"))

    def test_a_silent_server_ends_the_run(self):
        with FakeServer([b"+O"]) as server:
            done = load(server.port, requests=10, clients=1, timeout=0.3)
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not answer", done.stderr)

    def test_a_port_without_listener_ends_the_run(self):
        with FakeServer([b"+OK\r\n"]) as server:
            port = server.port
        self.assertIn("Connection refused", load(port).stderr)

    def test_more_replies_than_requests_end_the_run(self):
        with FakeServer([b"+OK\r\n+OK\r\n"]) as server:
            self.assertEqual(load(server.port, requests=10, clients=1).returncode, 1)

    def test_refuses_options_that_make_no_sense(self):
        for options in ({"value_len": "x"}, {"value_len": "5-2"}, {"value_len": "1=0"},
                        {"value_len": "1,,2"}, {"value_len": "2000000"}, {"probe": "1,1"},
                        {"probe": "1"}, {"churn": 2, "pipeline": 3}, {"zipf": -1},
                        {"rate": -5}, {"plot": "/nowhere/at/all.svg", "requests": 1}):
            with FakeServer([b"+OK\r\n"]) as server:
                self.assertEqual(load(server.port, **options).returncode, 1, options)


class Memif:
    """A memif server, polluxd with our stack or an echo of bare frames, and loads as its client."""

    def __init__(self, command, ready):
        self.directory = tempfile.TemporaryDirectory(prefix="pollux-bench-")
        self.path = os.path.join(self.directory.name, "memif")
        self.log = open(os.path.join(self.directory.name, "log"), "w+")
        self.process = subprocess.Popen(
            command + ["--dpdk-port", "net_memif0,role=server," + self.socket()],
            stdout=self.log, stderr=subprocess.STDOUT, cwd=self.directory.name)
        self.pid = self.process.pid
        deadline = time.monotonic() + DEADLINE_S
        while ready not in self.output():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError("no memif server:\n" + self.last_output)
            time.sleep(0.02)

    def socket(self):
        return "socket-abstract=no,socket=" + self.path

    def output(self):
        self.log.seek(0)
        self.last_output = self.log.read()
        return self.last_output

    def options(self):
        return {"dpdk_port": "net_memif0,role=client," + self.socket(), "host": "10.9.0.1"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output()
        self.log.close()
        self.directory.cleanup()


class OverMemif(unittest.TestCase):
    """Our own stack on both sides."""

    PORT = 6379

    def setUp(self):
        done = load(1, dpdk_port="net_null0", requests=1, host="10.9.0.1", timeout=0.1)
        self.assertEqual(done.returncode, 1)
        if "built without DPDK" in done.stderr:
            self.skipTest("built without DPDK")

    def polluxd(self, workers=1, *more):
        return Memif([PROGRAMS["polluxd"], "--net-driver", "dpdk", "--dpdk-address", "10.9.0.1/24",
                      "--port", str(self.PORT), "--protected-mode", "no", "--save", "",
                      "--appendonly", "no", "--workers", str(workers), *more], "Ready to accept")

    def test_counts_are_exact(self):
        with self.polluxd() as server:
            result = loaded(self, self.PORT, "preload", mix="get=3,set=1", keys=5000,
                            requests=20000, clients=20, **server.options())
            result2 = loaded(self, self.PORT, mix="get", keys=5000, requests=3000, pipeline=16,
                             **server.options())
        self.assertEqual((result["preloaded"], result["replies"]), (5000, 20000))
        self.assertEqual((result["errors"], result["nulls"], result["broken"]), (0, 0, 0))
        self.assertAlmostEqual(result["packets_per_request"], 2, delta=0.2)
        self.assertEqual((result2["replies"], result2["nulls"]), (3000, 0))

    def test_keys_go_to_the_port_of_their_core(self):
        with self.polluxd(2, "--per-core-endpoints", "yes", "--per-core-port-base",
                          str(self.PORT + 1)) as server:
            result = loaded(self, self.PORT, "preload", "cluster", mix="get=3,set=1", keys=2000,
                            requests=10000, clients=6, queues=2, **server.options())
        self.assertEqual((result["ports"], result["moved"], result["errors"]), (2, 0, 0))
        self.assertEqual((result["preloaded"], result["replies"], result["nulls"]),
                         (2000, 10000, 0))

    def test_churn_opens_and_closes(self):
        with self.polluxd() as server:
            for flags in (["reset"], []):
                result = loaded(self, self.PORT, *flags, mix="ping", churn=2, requests=2000,
                                clients=8, **server.options())
                self.assertEqual((result["replies"], result["errors"]), (2000, 0))
                self.assertIn(result["opened"], range(1000, 1010))

    def test_large_values_both_ways(self):
        with self.polluxd() as server:
            result = loaded(self, self.PORT, mix="set,get", keys=20, requests=1000, clients=4,
                            pipeline=10, value_len="0=1,3000=1,60000=1,300000=1",
                            **server.options())
        self.assertEqual((result["replies"], result["errors"]), (1000, 0))

    def test_open_loop_is_free_of_coordinated_omission(self):
        with self.polluxd() as server:
            result = self.stopped_for_a_while(server)
        latency = result["latency_us"]
        self.assertEqual((result["replies"], latency["count"]), (4000, 4000))
        self.assertGreater(latency["max"], 570000)
        self.assertGreater(latency["p90"], 300000)

    def stopped_for_a_while(self, server, *flags):
        process = start(self.PORT, *flags, seconds=2, warmup=0, clients=4, rate=2000,
                        **server.options())
        process.stderr.readline()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            time.sleep(0.6)  # the behaviour under test, not a wait for anything
        finally:
            os.kill(server.pid, signal.SIGCONT)
        return finished(self, process)

    def test_a_server_that_stops_by_itself_is_no_gap(self):
        """A stopped server sleeps: nobody took its core, and its requests stay in. Where others
        do take it for as long, at that very moment, a second or third try tells."""
        with self.polluxd() as server:
            for _ in range(3):
                result = self.stopped_for_a_while(server, "exclude-gaps")
                gaps = result["gaps"]
                if gaps["server"]["longest_us"] < 570000:
                    break
        self.assertEqual(gaps["latency_us"]["count"] + gaps["left_out"], 4000)
        self.assertLess(gaps["server"]["longest_us"], 570000)
        self.assertGreater(result["latency_us"]["max"], 570000)

    def test_the_plot_shows_latency_without_gaps(self):
        with self.polluxd() as server:
            path = os.path.join(server.directory.name, "plot.svg")
            result = loaded(self, self.PORT, "exclude-gaps", seconds=0.5, warmup=0, rate=1000,
                            plot=path, **server.options())
            with open(path) as plot:
                text = plot.read()
        self.assertEqual("class='e'" in text, result["gaps"]["latency_us"]["count"] > 0)
        self.assertIn("without gaps", text)

    def test_a_server_without_gaps_cannot_leave_them_out(self):
        done = load(self.PORT, "exclude-gaps", rate=1000)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--exclude-gaps needs --rate and --dpdk-port", done.stderr)

    def test_idle_connections_stay_beside_busy_ones(self):
        with self.polluxd() as server:
            result = loaded(self, self.PORT, mix="ping", requests=2000, clients=4, idle=3000,
                            **server.options())
        self.assertEqual((result["replies"], result["opened"]), (2000, 3004))

    def test_several_addresses_reach_beyond_64512_connections(self):
        with self.polluxd(1, "--maxclients", "140000") as server:
            done = load(self.PORT, mix="ping", requests=100, clients=4, idle=64600,
                        **server.options())
            self.assertNotEqual(done.returncode, 0)
            result = loaded(self, self.PORT, mix="ping", requests=2000, clients=4, idle=64600,
                            address="10.9.0.100/24", addresses=2, **server.options())
            refused = load(self.PORT, address="10.9.0.250/24", addresses=6, **server.options())
        self.assertEqual((result["replies"], result["opened"]), (2000, 64604))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("no 6 --addresses between", refused.stderr)

    def test_a_flood_of_syns_runs_beside_the_load(self):
        with self.polluxd() as server:
            result = loaded(self, self.PORT, mix="ping", rate=500, seconds=1, clients=4,
                            syn_flood=2000, **server.options())
        self.assertEqual((result["sent"], result["replies"]), (650, 650))
        self.assertAlmostEqual(result["flood_per_second"], 2000, delta=600)

    def test_bare_frames_come_back(self):
        echo = [PROGRAMS["load"], "--l2-echo", "server"]
        with Memif(echo, "echoing frames on net_memif") as server:
            result = loaded(self, 1, l2_echo="client", seconds=0.3, window=32, frame_len=128,
                            **server.options())
        self.assertGreater(result["requests"], 100)
        self.assertEqual((result["lost"], result["l2_echo"]["frame_len"]), (0, 128))
        self.assertEqual(result["latency_us"]["count"], result["requests"])
        echoed = int(server.last_output.split(" frames echoed")[0].split()[-1])
        self.assertGreaterEqual(echoed, result["requests"])

    def test_silence_on_the_wire_ends_the_run(self):
        done = load(self.PORT, dpdk_port="net_null0", host="10.9.0.1", timeout=0.5)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "takes no connection|timed out")


if __name__ == "__main__":
    PROGRAMS.update(zip(("load", "polluxd", "redis"), map(os.path.abspath, sys.argv[1:])))
    unittest.main(argv=sys.argv[:1], verbosity=2)
