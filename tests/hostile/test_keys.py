"""Keys named twice, key extraction from malformed commands, cursors and counts out of range."""
from harness.oracle import start_oracle
from harness.resp import Err
from harness.runner import case
from harness.slots import KeyNames
from watch import Watch

HUGE = ["-9223372036854775808", "-1", "0", "2147483648", "9223372036854775807",
        "576460752303423488", "1152921504606846976", "18446744073709551615", "x", ""]


@case(workers=(1, 4))
def test_the_same_key_twice(t):
    with Watch(t, t.server):
        conn = t.client()
        a, b = KeyNames("twice:").spread(2)
        assert conn.must("MSETNX", a, 1, a, 2) == 1 and conn.must("GET", a) == b"2"
        assert conn.must("MSETNX", a, 3, b, 4, b, 5) == 0 and conn.must("EXISTS", b) == 0
        assert conn.must("MSETNX", b, 1, b, 2, b, 3) == 1 and conn.must("GET", b) == b"3"
        assert conn.must("MSET", a, 1, b, 2, a, 3, b, 4) == b"OK"
        assert conn.must("MGET", a, b, a, a) == [b"3", b"4", b"3", b"3"]
        assert conn.must("EXISTS", a, a, b, a) == 4 and conn.must("TOUCH", a, a) == 2
        assert conn.must("RENAME", a, a) == b"OK" and conn.must("RENAMENX", a, a) == 0
        assert conn("COPY", a, a) == b"ERR source and destination objects are the same"
        assert conn("MOVE", a, 0) == b"ERR source and destination objects are the same"
        assert conn.must("BITOP", "AND", a, a, a) == 1 and conn.must("BITOP", "NOT", a, a) == 1
        assert conn.must("WATCH", a, a, b, a) == b"OK"
        assert conn.pipe([("MULTI",), ("INCRBY", b, 1), ("EXEC",)])[2] == [5]
        assert conn.must("LCS", b, b) == b"5" and conn.must("DEL", a, a, b, b) == 2
        assert conn.must("SWAPDB", 1, 1) == b"OK"


@case(workers=(1, 4))
def test_getkeys_of_anything(t):
    """COMMAND GETKEYS of malformed commands answers an error, as redis does."""
    oracle = start_oracle(t)
    names = ["GET", "SET", "MSET", "MSETNX", "MGET", "BITOP", "COPY", "RENAME", "OBJECT", "MEMORY",
             "LCS", "BITFIELD", "DEL", "CLIENT", "CONFIG", "COMMAND", "SCAN", "WATCH", "EXEC",
             "DEBUG", "XYZZY", "", "GETKEYS", "GEORADIUS_X"]
    tails = [(), ("a",), ("a", "b"), ("a", "b", "c"), ("ENCODING", "a"), ("USAGE",), ("-1", "a"),
             ("9223372036854775807", "a"), ("a",) * 100, ("", ""), ("NOSUCH", "a", "b")]
    with Watch(t, t.server), oracle.client() as theirs:
        conn = t.client()
        problems = []
        for name in names:
            for tail in tails:
                for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
                    command = ("COMMAND", sub, name, *tail)
                    wanted, reply = theirs(*command), conn(*command)
                    if wanted != reply or isinstance(wanted, Err) != isinstance(reply, Err):
                        problems.append(f"{command[:6]}: {reply!r:.100}, redis {wanted!r:.100}")
        assert not problems, "\n".join(problems[:30])
        reply = conn("COMMAND", "GETKEYS", "MSET", *["k"] * 200_000)
        assert len(reply) == 100_000, type(reply)
    oracle.stop()


@case(workers=(1, 4))
def test_cursors_and_counts(t):
    with Watch(t, t.server):
        conn = t.client()
        conn.must("MSET", *[item for n in range(500) for item in (f"c:{n}", 1)])
        for cursor in HUGE + [str(2**53), "99999999999999999999999", "1.5", " 1"]:
            reply = conn("SCAN", cursor)
            assert isinstance(reply, (Err, list)), reply
            for count in HUGE:
                reply = conn("SCAN", cursor, "COUNT", count)
                assert isinstance(reply, (Err, list)), reply
        _, names = conn.must("SCAN", 0, "COUNT", 9223372036854775807)
        assert len(names) == 500
        for count in HUGE:
            conn("SLOWLOG", "GET", count)
            conn("CLIENT", "LIST", "ID", count)
            conn("CLIENT", "KILL", "ID", count)
            conn("CLIENT", "UNBLOCK", count)
            conn("CLUSTER", "GETKEYSINSLOT", 0, count)
            conn("CLUSTER", "GETKEYSINSLOT", count, 10)
            conn("CLUSTER", "COUNTKEYSINSLOT", count)
            conn("MEMORY", "USAGE", "c:1", "SAMPLES", count)
            conn("LOLWUT", "VERSION", 5, count, count, count)
            conn("LOLWUT", "VERSION", 6, count, count, count)
            conn("DEBUG", "HTSTATS", count)
            conn("POLLUX", "MOVE-SLOT", count, count)
        assert conn.must("PING") == b"PONG"


@case(workers=(1, 4))
def test_very_many_arguments(t):
    """Commands with hundreds of thousands of arguments, whole and wrong."""
    with Watch(t, t.server, grow_mb=400, gap_s=2.0):
        conn = t.client(timeout=30)
        count = 50_000 if t.quick else 200_000
        keys = [f"many:{n}" for n in range(count)]
        conn.must("MSET", *[item for key in keys for item in (key, "v")])
        assert conn.must("EXISTS", *keys) == count
        assert len(conn.must("MGET", *keys)) == count
        assert isinstance(conn("MSET", *keys, "odd"), Err)
        assert isinstance(conn("PING", *keys), Err)
        assert isinstance(conn("NOSUCH", *keys), Err)
        assert isinstance(conn("GET", *keys), Err)
        # Redis compares each watched key with all before it: many of them take it minutes.
        watched = keys[:3000] if t.as_redis else keys
        assert conn.must("WATCH", *watched) == b"OK"
        assert conn.must("UNWATCH") == b"OK"
        assert conn.must("UNLINK", *keys) == count


@case(workers=(1, 4))
def test_large_transactions(t):
    """A hundred thousand queued commands, executed, discarded, and dropped with the connection."""
    server = t.start()
    count = 20_000 if t.quick else 100_000
    names = KeyNames("tx:").spread(16)
    with Watch(t, server, grow_mb=300, gap_s=2.0):
        for ending in ("EXEC", "DISCARD", None):
            conn = t.connect(server, timeout=60)
            conn.must("MULTI")
            for first in range(0, count, 1000):
                replies = conn.pipe([("SET", names[n % 16], "x" * 100) for n in range(1000)])
                assert set(replies) == {b"QUEUED"}
            if ending == "EXEC":
                assert conn.must("EXEC") == [b"OK"] * count
            elif ending:
                assert conn.must("DISCARD") == b"OK"
            conn.close()
    server.stop()
