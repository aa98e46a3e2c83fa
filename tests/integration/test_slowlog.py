"""SLOWLOG and LATENCY."""
from harness.resp import Err, pairs
from harness.runner import case
from harness.slots import KeyNames


@case(workers=(1, 4))
def test_slowlog_entries(t):
    server = t.start({"slowlog-log-slower-than": "0", "slowlog-max-len": "100"})
    conn = t.connect(server)
    conn.must("CLIENT", "SETNAME", "watcher")
    conn.must("SLOWLOG", "RESET")
    names = KeyNames("slow:").spread(8)
    for name in names:
        conn.must("SET", name, "v")
    conn.must("MSET", *["k"] * 80)
    conn.must("SET", "long", "x" * 1000)
    entries = conn.must("SLOWLOG", "GET", -1)
    logged = [entry[3] for entry in entries]
    assert logged[:2] == [[b"SET", b"long", b"x" * 128 + b"... (872 more bytes)"],
                          [b"MSET"] + [b"k"] * 30 + [b"... (50 more arguments)"]], logged[:2]
    assert logged[2:10] == [[b"SET", name.encode(), b"v"] for name in reversed(names)], logged
    ids = [entry[0] for entry in entries]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == len(ids), ids
    for entry in entries:
        assert len(entry) == 6 and entry[1] > 1_600_000_000 and entry[2] >= 0, entry
        assert entry[4].startswith(f"{server.client_host}:".encode()) and entry[5] == b"watcher", entry
    assert len(conn.must("SLOWLOG", "GET", 3)) == 3
    assert len(conn.must("SLOWLOG", "GET")) == 10
    assert conn.must("SLOWLOG", "GET", 0) == []
    assert conn("SLOWLOG", "GET", -2) == b"ERR count should be greater than or equal to -1"
    assert conn.must("SLOWLOG", "LEN") >= 12
    assert conn.must("SLOWLOG", "RESET") == b"OK"
    assert conn.must("SLOWLOG", "LEN") <= 1
    server.stop()


@case(workers=(1, 4))
def test_slowlog_catches_what_is_slow(t):
    server = t.start({"slowlog-log-slower-than": "20000"})
    conn = t.connect(server)
    conn.must("SLOWLOG", "RESET")
    for _ in range(50):
        conn.must("PING")
    conn.must("DEBUG", "SLEEP", "0.05")
    entries = [entry for entry in conn.must("SLOWLOG", "GET")
               if entry[3][0].upper() == b"DEBUG"]
    assert len(entries) == 1 and entries[0][2] >= 50_000, entries
    server.stop()


@case(workers=(1, 4))
def test_slowlog_is_bounded_over_all_workers(t):
    server = t.start({"slowlog-log-slower-than": "0", "slowlog-max-len": "7"})
    conns = [t.connect(server) for _ in range(8)]
    for n in range(100):
        for conn in conns:
            conn.must("SET", f"b:{n}", n)
    assert conns[0].must("SLOWLOG", "LEN") == 7
    assert len(conns[0].must("SLOWLOG", "GET", -1)) == 7
    server.stop()


@case(workers=(1, 4))
def test_latency_monitor(t):
    server = t.start({"latency-monitor-threshold": "20"})
    conn = t.connect(server)
    assert conn.must("LATENCY", "RESET") == 0
    assert conn.must("LATENCY", "LATEST") == []
    conn.must("DEBUG", "SLEEP", "0.06")
    latest = {row[0]: row for row in conn.must("LATENCY", "LATEST")}
    assert b"command" in latest, latest
    name, when, last, worst = latest[b"command"][:4]
    assert when > 1_600_000_000 and 55 <= last <= 5000 and worst >= last, latest
    history = conn.must("LATENCY", "HISTORY", "command")
    assert len(history) == 1 and history[0][1] == last, history
    assert conn.must("LATENCY", "HISTORY", "nosuch") == []
    assert b"command" in conn.must("LATENCY", "GRAPH", "command")
    assert isinstance(conn("LATENCY", "GRAPH", "nosuch"), Err)
    assert len(conn.must("LATENCY", "DOCTOR")) > 20
    assert conn.must("LATENCY", "RESET", "nosuch") == 0
    assert conn.must("LATENCY", "RESET", "command") == 1
    assert conn.must("LATENCY", "LATEST") == []
    conn.must("CONFIG", "SET", "latency-monitor-threshold", 0)
    conn.must("DEBUG", "SLEEP", "0.03")
    assert conn.must("LATENCY", "LATEST") == []
    server.stop()


@case(workers=(1, 4))
def test_latency_histogram(t):
    conn = t.client()
    for name in KeyNames("hist:").spread(40):
        conn.must("SET", name, 1)
    reply = pairs(conn.must("LATENCY", "HISTOGRAM", "set", "nosuchcommand"))
    assert list(reply) == [b"set"], reply
    fields = pairs(reply[b"set"])
    assert fields[b"calls"] == 40, fields
    buckets = pairs(fields[b"histogram_usec"])
    assert buckets, fields
    times, counts = list(buckets), list(buckets.values())
    assert times == sorted(times) and counts == sorted(counts) and counts[-1] == 40, buckets
    everything = pairs(conn.must("LATENCY", "HISTOGRAM"))
    assert b"set" in everything and b"config|resetstat" in everything, list(everything)
    assert conn.must("CONFIG", "RESETSTAT") == b"OK"
    assert b"set" not in pairs(conn.must("LATENCY", "HISTOGRAM"))
    assert isinstance(t.client(protocol=3).must("LATENCY", "HISTOGRAM"), dict)


@case(workers=(1, 4))
def test_latency_tracking_can_be_off(t):
    server = t.start({"latency-tracking": "no"})
    conn = t.connect(server)
    conn.must("SET", "k", 1)
    assert b"set" not in pairs(conn.must("LATENCY", "HISTOGRAM", "set"))
    assert "latency_percentiles_usec_set" not in server.info("latencystats")
    conn.must("CONFIG", "SET", "latency-tracking", "yes",
              "latency-tracking-info-percentiles", "50 90 99.9")
    conn.must("SET", "k", 1)
    line = server.info("latencystats")["latency_percentiles_usec_set"]
    assert [part.split("=")[0] for part in line.split(",")] == ["p50", "p90", "p99.9"], line
    server.stop()


@case(workers=(1,))
def test_help(t):
    conn = t.client()
    for command, words in [("SLOWLOG", (b"GET", b"LEN", b"RESET", b"HELP")),
                           ("LATENCY", (b"DOCTOR", b"GRAPH", b"HISTORY", b"LATEST", b"RESET",
                                        b"HISTOGRAM", b"HELP"))]:
        lines = conn.must(command, "HELP")
        for word in words:
            assert any(line.startswith(word) for line in lines), (word, lines)
        reply = conn(command, "NOSUCH")
        assert reply == f"ERR unknown subcommand 'NOSUCH'. Try {command} HELP.".encode(), reply
