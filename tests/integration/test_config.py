"""CONFIG GET, SET (all or nothing), REWRITE and RESETSTAT."""
import os

from harness.resp import Err, pairs
from harness.runner import case
from harness.server import Server

PROBLEM = b"ERR CONFIG SET failed (possibly related to argument '%b') - "


def get(conn, *patterns):
    return {name.decode(): value.decode()
            for name, value in pairs(conn.must("CONFIG", "GET", *patterns)).items()}


@case(workers=(1, 4))
def test_get_patterns(t):
    conn = t.client()
    assert get(conn, "nosuchoption") == {}
    assert get(conn, "PORT") == {"PORT": str(t.server.port)}
    found = get(conn, "slowlog-*", "max*", "timeou?")
    for name in ("slowlog-log-slower-than", "slowlog-max-len", "maxclients", "maxmemory",
                 "maxmemory-policy", "timeout"):
        assert name in found, f"{name} missing in {found}"
    assert all(name.startswith(("slowlog-", "max", "timeou")) for name in found), found
    everything = get(conn, "*")
    for name in ("bind", "port", "unixsocket", "unixsocketperm", "tcp-backlog", "tcp-keepalive",
                 "databases", "dir", "loglevel", "logfile", "syslog-enabled", "syslog-ident",
                 "syslog-facility", "daemonize", "pidfile", "supervised", "requirepass",
                 "protected-mode", "proto-max-bulk-len", "client-query-buffer-limit",
                 "client-output-buffer-limit", "latency-tracking",
                 "latency-tracking-info-percentiles", "latency-monitor-threshold",
                 "enable-debug-command", "enable-protected-configs", "lazyfree-lazy-eviction",
                 "lazyfree-lazy-expire", "lazyfree-lazy-server-del", "lazyfree-lazy-user-del",
                 "lazyfree-lazy-user-flush", "appendonly", "save", "maxmemory-samples"):
        assert name in everything, f"CONFIG GET * lacks {name}"
    if not t.as_redis:
        for name in ("workers", "worker-cpus", "net-driver", "per-core-endpoints",
                     "per-core-port-base", "dpdk-port", "dpdk-address", "dpdk-idle"):
            assert name in everything, f"CONFIG GET * lacks {name}"
    assert conn("CONFIG", "GET").startswith(b"ERR wrong number of arguments for 'config|get'")
    three = t.client(protocol=3)
    assert three.must("CONFIG", "GET", "port") == {b"port": str(t.server.port).encode()}


@case(workers=(1, 4))
def test_set_is_all_or_nothing(t):
    server = t.start()
    conn = t.connect(server)
    names = ("timeout", "slowlog-max-len", "maxclients", "tcp-keepalive", "maxmemory")
    before = get(conn, *names)
    assert conn.must("CONFIG", "SET", "timeout", 100, "slowlog-max-len", 5, "maxmemory",
                     "200mb") == b"OK"
    after = get(conn, *names)
    assert after == {**before, "timeout": "100", "slowlog-max-len": "5",
                     "maxmemory": str(200 << 20)}
    for bad, reason in [
            (("maxclients", "x"), PROBLEM % b"maxclients"
             + b"argument couldn't be parsed into an integer"),
            (("tcp-keepalive", "-5"), PROBLEM % b"tcp-keepalive"
             + b"argument must be between 0 and 2147483647 inclusive"),
            (("timeout", "1"), PROBLEM % b"timeout" + b"duplicate parameter"),
            (("databases", "3"), PROBLEM % b"databases" + b"can't set immutable config"),
            (("protected-mode", "maybe"), PROBLEM % b"protected-mode"
             + b"argument must be 'yes' or 'no'"),
            (("nosuch", "1"), b"ERR Unknown option or number of arguments for CONFIG SET - "
             b"'nosuch'")]:
        reply = conn("CONFIG", "SET", "timeout", 200, "slowlog-max-len", 6, *bad)
        assert reply == reason and isinstance(reply, Err), (bad, reply)
        assert get(conn, *names) == after, f"a part of CONFIG SET ... {bad} was kept"
    assert conn("CONFIG", "SET", "timeout").startswith(b"ERR wrong number of arguments")
    assert isinstance(conn("CONFIG", "SET", "timeout", 1, "maxclients"), Err)
    server.stop()


@case(workers=(1, 4))
def test_protected_settings(t):
    """enable-protected-configs and enable-debug-command guard what reaches files."""
    server = t.start({"enable-debug-command": "no"})
    conn = t.connect(server)
    reply = conn("CONFIG", "SET", "dir", "/")
    assert reply == PROBLEM % b"dir" + b"can't set protected config", reply
    reply = conn("DEBUG", "OBJECT", "x")
    assert reply.startswith(b"ERR DEBUG command not allowed."), reply
    assert conn("CONFIG", "SET", "enable-debug-command", "yes") == \
        PROBLEM % b"enable-debug-command" + b"can't set immutable config"
    server.stop()
    server = t.start({"enable-protected-configs": "local", "enable-debug-command": "local"})
    conn = t.connect(server)
    assert conn.must("CONFIG", "SET", "dir", server.directory) == b"OK"
    assert conn.must("DEBUG", "SLEEP", 0) == b"OK"
    server.stop()


@case(workers=(1, 4))
def test_values_take_effect_at_once(t):
    server = t.start()
    conn = t.connect(server)
    conn.must("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 3)
    for n in range(20):
        conn.must("SET", f"slow:{n}", n)
    assert len(conn.must("SLOWLOG", "GET", -1)) == 3
    conn.must("CONFIG", "SET", "slowlog-log-slower-than", -1)
    conn.must("SLOWLOG", "RESET")
    for n in range(20):
        conn.must("SET", f"slow:{n}", n)
    assert conn.must("SLOWLOG", "LEN") == 0
    conn.must("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    conn.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
    assert conn.read() == b"ERR Protocol error: invalid bulk length"
    server.stop()


@case(workers=(1,))
def test_rewrite_round_trip(t):
    text = ("# kept comment\n\ntimeout 5\n# another\nslowlog-max-len 11\n"
            "client-output-buffer-limit normal 2mb 1mb 30\n")
    server = t.start(config_text=text)
    conn = t.connect(server)
    password = 'p "w" \\ \x01\t\n end'
    conn.must("CONFIG", "SET", "timeout", 77, "maxmemory", "123mb", "requirepass", password,
              "loglevel", "verbose", "maxmemory-policy", "allkeys-lru", "tcp-keepalive", 42,
              "client-output-buffer-limit", "normal 4mb 3mb 20")
    assert conn.must("CONFIG", "REWRITE") == b"OK"
    before = get(conn, "*")
    path = os.path.join(server.directory, "test.conf")
    with open(path, encoding="utf-8") as source:
        written = source.read()
    assert "# kept comment" in written and "# another" in written, written
    assert written.count("\ntimeout ") == 1 and "timeout 77" in written, written
    assert "slowlog-max-len 11" in written, written
    # Rewriting again changes nothing.
    conn.must("CONFIG", "REWRITE")
    with open(path, encoding="utf-8") as source:
        again = source.read()
    assert again.rstrip() == written.rstrip(), f"first:\n{written}\nsecond:\n{again}"
    conn.close()
    directory = server.directory
    keep = t.temp_dir()
    os.rename(path, os.path.join(keep, "test.conf"))
    server.stop()
    assert not os.path.exists(directory)
    with open(os.path.join(keep, "test.conf"), encoding="utf-8") as source:
        text = source.read().replace(directory, keep)
    again = Server(t.target, {"dir": keep, "port": server.port}, config_text=text,
                   protocol_password=password, port=server.port)
    t.cleanup(again.kill)
    after = get(t.connect(again), "*")
    for names in (before, after):
        names.pop("dir")
    different = {name: (before.get(name), after.get(name)) for name in before | after
                 if before.get(name) != after.get(name)}
    assert not different, f"other values after the restart: {different}"
    again.stop()


@case(workers=(1,))
def test_rewrite_without_a_file(t):
    server = t.start()
    conn = t.connect(server)
    assert conn("CONFIG", "REWRITE") == b"ERR The server is running without a config file"
    server.stop()


@case(workers=(1, 4))
def test_resetstat(t):
    conn = t.client()
    for n in range(50):
        conn.must("SET", f"reset:{n}", n)
        conn.must("GET", f"reset:{n}")
        conn("NOSUCH")
    before = t.server.info()
    assert int(before["keyspace_hits"]) == 50 and int(before["total_error_replies"]) >= 50
    assert "cmdstat_get" in before and "errorstat_ERR" in before
    conn.must("CONFIG", "RESETSTAT")
    after = t.server.info()
    assert int(after["keyspace_hits"]) == 0 and int(after["total_error_replies"]) == 0
    assert int(after["total_commands_processed"]) <= 3
    assert "cmdstat_get" not in after and "errorstat_ERR" not in after
    assert after["db0"] == before["db0"]
    for name in ("total_net_input_bytes", "total_net_output_bytes", "total_reads_processed",
                 "total_writes_processed"):
        assert 0 < int(after[name]) < int(before[name]) / 3, (name, before[name], after[name])


@case(workers=(1,))
def test_help(t):
    lines = t.client().must("CONFIG", "HELP")
    for name in (b"GET", b"SET", b"REWRITE", b"RESETSTAT", b"HELP"):
        assert any(line.startswith(name) for line in lines), lines
