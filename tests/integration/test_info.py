"""INFO: every section and field that redis 7.0 has, with figures that mean something."""
import time

from harness.oracle import start_oracle
from harness.resp import info_fields
from harness.runner import case
from harness.server import poll

SECTIONS = ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "cluster",
            "keyspace", "commandstats", "errorstats", "latencystats", "modules"]


def sections_of(text):
    """INFO's text as {section: [fields]}."""
    found, section = {}, None
    for line in text.decode().split("\r\n"):
        if line.startswith("# "):
            section = line[2:].lower()
            found[section] = []
        elif ":" in line:
            found[section].append(line.split(":", 1)[0])
    return found


def traffic(conn):
    conn.must("MSET", "a", 1, "b", 2)
    conn.must("GET", "a")
    conn.must("EXPIRE", "a", 1000)
    conn("INCR")
    conn.must("SET", "text", "x")
    conn("INCR", "text")


@case(workers=(1, 4))
def test_has_every_field_of_redis(t):
    oracle = start_oracle(t)
    texts = []
    for server in (oracle, t.server):
        with server.client() as conn:
            conn.must("CONFIG", "RESETSTAT")
            traffic(conn)
            texts.append(conn.must("INFO", "everything"))
    theirs, ours = (sections_of(text) for text in texts)
    for section in SECTIONS:
        assert section in ours, f"section {section} is missing"
        lacking = [name for name in theirs[section] if name not in ours[section]]
        assert not lacking, f"section {section} lacks {lacking}"
    oracle.stop()


@case(workers=(1, 4))
def test_sections_on_request(t):
    conn = t.client()
    traffic(conn)
    for section in SECTIONS:
        assert list(sections_of(conn.must("INFO", section.upper()))) == [section]
    assert sorted(sections_of(conn.must("INFO", "keyspace", "CPU"))) == ["cpu", "keyspace"]
    assert conn.must("INFO", "nosuchsection") == b""
    default = sections_of(conn.must("INFO"))
    assert "server" in default and "commandstats" not in default
    assert set(default) == set(sections_of(conn.must("INFO", "default")))
    everything = set(sections_of(conn.must("INFO", "everything")))
    assert set(SECTIONS) <= everything
    assert set(sections_of(conn.must("INFO", "all"))) | {"modules"} == everything | {"modules"}


@case(workers=(1, 4))
def test_figures_are_right(t):
    server = t.start()
    conn = t.connect(server)
    others = [t.connect(server) for _ in range(5)]
    for other in others:
        other.must("PING")
    for n in range(100):
        conn.must("SET", f"fig:{n}", n)
    conn.must("GET", "fig:1")
    conn.must("GET", "absent")
    conn.must("EXPIRE", "fig:1", 1000)
    conn("INCR")
    conn.must("SELECT", 3)
    conn.must("SET", "three", 3)
    info = info_fields(conn.must("INFO", "everything"))
    assert info["connected_clients"] == "6"
    assert int(info["process_id"]) == server.process.pid
    assert info["tcp_port"] == str(server.port)
    assert info["redis_mode"] == "standalone" and info["role"] == "master"
    assert info["cluster_enabled"] == "0" and info["loading"] == "0"
    assert info["db0"].startswith("keys=100,expires=1,avg_ttl="), info["db0"]
    assert info["db3"].startswith("keys=1,expires=0,avg_ttl="), info["db3"]
    assert info["cmdstat_set"].startswith("calls=101,usec="), info["cmdstat_set"]
    assert "rejected_calls=1" in info["cmdstat_incr"], info["cmdstat_incr"]
    assert info["errorstat_ERR"] == "count=1", info["errorstat_ERR"]
    assert info["keyspace_hits"] == "1" and info["keyspace_misses"] == "1", info
    assert int(info["total_commands_processed"]) >= 100
    assert int(info["used_memory"]) > 0 and int(info["used_memory_rss"]) > 0
    assert int(info["used_memory_peak"]) >= int(info["used_memory"])
    assert len(info["run_id"]) == 40 and len(info["master_replid"]) == 40
    assert int(info["total_net_input_bytes"]) > 2000
    assert int(info["total_net_output_bytes"]) > 500
    server.stop()


@case(workers=(1, 4))
def test_rates_and_peaks(t):
    conn = t.client()
    began = time.monotonic()

    def busy():
        conn.pipe([("SET", "rate", 1)] * 500)
        return int(t.server.info("stats")["instantaneous_ops_per_sec"]) > 100
    poll(busy, 10, what="instantaneous_ops_per_sec")
    t.note(f"rate seen after {time.monotonic() - began:.1f} s")
    poll(lambda: int(t.server.info("stats")["instantaneous_ops_per_sec"]) < 1000, 15,
         step_s=0.1, what="rate falling again")


@case(workers=(1, 2, 4), pollux=True)
def test_pollux_fields(t):
    conn = t.client()
    text = conn.must("INFO", "everything")
    info = info_fields(text)
    assert info["redis_version"].startswith("7.2."), info["redis_version"]
    assert info["pollux_version"], info
    assert "workers" in sections_of(text), list(sections_of(text))
    fields = sections_of(conn.must("INFO", "workers"))["workers"]
    for worker in range(t.workers):
        assert any(str(worker) in name for name in fields), (worker, fields)
    assert len(conn.must("POLLUX", "SLOTS")) == t.workers


@case(workers=(1,))
def test_names_given_twice_are_answered_once(t):
    conn = t.client()
    assert list(sections_of(conn.must("INFO", "cpu", "cpu", "CPU"))) == ["cpu"]
    three = t.client(protocol=3)
    assert isinstance(three.must("INFO", "server"), bytes)
