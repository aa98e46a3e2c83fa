"""Numbers, offsets and lengths at and beyond their limits, on strings and bitmaps."""
from harness.oracle import start_oracle
from harness.resp import Err, shown
from harness.runner import case
from harness.slots import KeyNames
from watch import Watch

EDGES = ["-9223372036854775809", "-9223372036854775808", "-9223372036854775807", "-4294967297",
         "-2147483649", "-2147483648", "-536870913", "-1", "-0", "0", "1", "00", "01", " 1", "1 ",
         "+1", "1x", "", "536870911", "536870912", "536870913", "2147483647", "2147483648",
         "4294967295", "4294967296", "4294967297", "9223372036854775806", "9223372036854775807",
         "9223372036854775808", "18446744073709551615", "18446744073709551616", "1e3", "0x10",
         "nan", "inf", "9" * 400]
SMALL = ["-9223372036854775808", "-2147483648", "-100", "-1", "0", "1", "7", "8", "100", "x",
         "9223372036854775807", "9223372036854775808"]


def number_commands():
    """Commands with every edge where they take a number, on a key with a short value."""
    for edge in EDGES:
        yield from [
            ("INCRBY", "int", edge), ("DECRBY", "int", edge), ("INCRBYFLOAT", "float", edge),
            ("SETEX", "ttl", edge, "v"), ("PSETEX", "ttl", edge, "v"),
            ("SET", "ttl", "v", "EX", edge), ("SET", "ttl", "v", "PX", edge),
            ("SET", "ttl", "v", "EXAT", edge),
            ("SET", "ttl", "v", "PXAT", edge), ("GETEX", "s", "EX", edge),
            ("GETEX", "s", "PXAT", edge), ("SET", "s", "v"), ("EXPIRE", "s", edge),
            ("SET", "s", "v"), ("PEXPIRE", "s", edge), ("SET", "s", "v"),
            ("EXPIREAT", "s", edge), ("SET", "s", "v"),
            ("PEXPIREAT", "s", edge), ("SET", "s", "value"), ("TTL", "s"),
            ("GETBIT", "s", edge), ("SELECT", edge), ("SELECT", "0"), ("SCAN", "0", "COUNT", edge),
            ("COPY", "s", "s", "DB", edge), ("MOVE", "nokey", edge), ("SWAPDB", edge, "0"),
            ("SWAPDB", edge, "0"), ("LCS", "s", "int", "IDX", "MINMATCHLEN", edge),
            ("OBJECT", "FREQ", "nokey"), ("DEL", "ttl", "int", "float"), ("SET", "int", edge),
            ("INCR", "int"), ("DECR", "int"), ("OBJECT", "ENCODING", "int"), ("GET", "int"),
            ("SET", "float", edge), ("INCRBYFLOAT", "float", "0.1"), ("DEL", "int", "float"),
            ("BITFIELD", "s", "GET", edge, "0"), ("BITFIELD", "s", "GET", "u" + edge, "0"),
            ("BITFIELD", "s", "GET", "i" + edge, "0"), ("BITFIELD", "s", "GET", "u8", edge),
            ("BITFIELD_RO", "s", "GET", "i64", edge), ("BITFIELD", "s", "GET", "u63", "#" + edge),
            ("BITFIELD", "b", "OVERFLOW", "SAT", "INCRBY", "i64", "0", edge),
            ("BITFIELD", "b", "OVERFLOW", "FAIL", "INCRBY", "u63", "0", edge),
            ("BITFIELD", "b", "OVERFLOW", "WRAP", "INCRBY", "u8", "3", edge),
            ("BITFIELD", "b", "SET", "i64", "0", edge), ("BITPOS", "s", edge), ("DEL", "b")]
        for other in SMALL:
            yield from [("GETRANGE", "s", edge, other), ("GETRANGE", "s", other, edge),
                        ("SUBSTR", "s", edge, other), ("BITCOUNT", "s", edge, other),
                        ("BITCOUNT", "s", other, edge, "BIT"), ("BITPOS", "s", "1", edge, other),
                        ("BITPOS", "s", "0", other, edge, "BIT"), ("BITPOS", "s", "0", edge)]


def big_offset_commands():
    """Writes at offsets that must be refused; what would be allowed is far too large to try."""
    for edge in EDGES:
        if edge.isdigit() and int(edge) <= 4294967295 and edge not in ("0", "1", "00", "01"):
            continue
        yield from [("SETRANGE", "big", edge, "x"), ("SETBIT", "big", edge, "1"),
                    ("BITFIELD", "big", "SET", "u8", edge, "1"), ("DEL", "big")]
        # Redis multiplies without a check: -2^63 times 8 becomes 0 there.
        if edge not in ("-9223372036854775808", "-9223372036854775807"):
            yield ("BITFIELD", "big", "SET", "u8", "#" + edge, "1")
    for offset in ("536870912", "536870911", "4294967296"):
        yield ("SETRANGE", "big", offset, "xx")
        yield ("SETRANGE", "big", offset, "")
    yield ("STRLEN", "big")


@case(workers=(1, 4), timeout=120)
def test_edges_are_answered_as_redis_does(t):
    oracle = start_oracle(t)
    problems = []
    server = t.start()
    with Watch(t, server, grow_mb=64):
        with oracle.client() as theirs, server.client() as ours:
            for command in [("SET", "s", "value"), *number_commands(), *big_offset_commands()]:
                wanted, reply = theirs(*command), ours(*command)
                if command[0] == "SCAN" and not isinstance(wanted, Err):
                    wanted, reply = len(wanted), len(reply)  # cursors are each server's own
                if wanted != reply or isinstance(wanted, Err) != isinstance(reply, Err):
                    problems.append(f"{shown(command)}: {reply!r:.150}, redis {wanted!r:.150}")
    assert not problems, f"{len(problems)} differ:\n" + "\n".join(problems[:40])
    server.stop()
    oracle.stop()


@case(workers=(1, 4))
def test_maximum_length(t):
    """With a low proto-max-bulk-len no command makes a longer string."""
    server = t.start()
    with Watch(t, server, grow_mb=64):
        conn = t.connect(server)
        conn.must("CONFIG", "SET", "proto-max-bulk-len", 1 << 20)
        a, b = KeyNames("max:").spread(2)
        conn.must("SET", a, "x" * 900_000)
        too_long = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        for command in [("APPEND", a, "x" * 200_000), ("SETRANGE", a, 1 << 20, "x"),
                        ("SETRANGE", b, (1 << 20) - 1, "xx")]:
            reply = conn(*command)
            assert isinstance(reply, Err) and reply == too_long, (command[:2], reply)
        assert conn.must("STRLEN", a) == 900_000 and conn.must("EXISTS", b) == 0
        reply = conn("SETBIT", b, 8 << 20, 1)
        assert reply == b"ERR bit offset is not an integer or out of range", reply
        assert conn.must("SETRANGE", b, (1 << 20) - 2, "xx") == 1 << 20
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_lcs_of_long_strings(t):
    """The table of LCS grows with the product of the lengths: refused beyond a limit.

    What is not refused may not keep others waiting, which the prober measures."""
    server = t.start()
    with Watch(t, server, grow_mb=200):
        conn = t.connect(server, timeout=30)
        a, b = KeyNames("lcs:").spread(2)
        refused = 0
        for size in (100, 1000, 4000, 16_000, 66_000, 1_000_000, 20_000_000):
            conn.must("SET", a, "ab" * (size // 2))
            conn.must("SET", b, "ba" * (size // 2))
            replies = [conn("LCS", a, b, *options) for options in ((), ("LEN",), ("IDX",))]
            errors = [reply for reply in replies if isinstance(reply, Err)]
            refused += len(errors)
            if size <= 4000:
                assert not errors, (size, errors)
            if size >= 1_000_000:
                assert len(errors) == 3, f"LCS of {size} bytes was not refused"
        assert refused >= 6
    server.stop()


@case(workers=(1, 4))
def test_lengths_and_names_of_a_megabyte(t):
    """Long keys, values, names and arguments everywhere a client can put one."""
    server = t.start({"slowlog-log-slower-than": "0"})
    long = "k" * 1_000_000
    with Watch(t, server, grow_mb=160):
        monitor = t.connect(server)
        monitor.must("MONITOR")
        conn = t.connect(server, timeout=30)
        for command in [("SET", long, long), ("GET", long), ("RENAME", long, long + "2"),
                        ("EXISTS", long), (long,), (long, long), ("CLIENT", long),
                        ("CLIENT", "KILL", long), ("CLIENT", "KILL", "ID", long),
                        ("CONFIG", "GET", long), ("CONFIG", "SET", long, long), ("INFO", long),
                        ("COMMAND", "INFO", long), ("COMMAND", "DOCS", long), ("ECHO", long),
                        ("SELECT", long), ("HELLO", long), ("HELLO", "3", "SETNAME", long),
                        ("AUTH", long), ("AUTH", long, long), ("DEBUG", long), ("MEMORY", long),
                        ("OBJECT", long, long), ("LATENCY", "HISTORY", long), ("LOLWUT", long),
                        ("SLOWLOG", long), ("CLUSTER", "KEYSLOT", long), ("SCAN", long),
                        ("LATENCY", "HISTOGRAM", long), ("COMMAND", "GETKEYS", long, long),
                        ("COMMAND", "LIST", "FILTERBY", "MODULE", long), ("HELLO", "2"),
                        ("CLIENT", "SETNAME", long), ("CLIENT", "LIST"), ("DEL", long + "2"),
                        ("CLIENT", "SETNAME", "")]:
            conn(*command)
        assert len(conn.must("SLOWLOG", "GET", 5)) == 5
        assert conn.must("PING") == b"PONG"
        conn.must("SLOWLOG", "RESET")
    server.stop()
