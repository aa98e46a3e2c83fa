"""MEMORY, DEBUG (what test suites use), OBJECT, LOLWUT, TIME."""
import time

from harness.oracle import start_oracle
from harness.resp import Err, pairs
from harness.runner import case
from harness.slots import KeyNames


@case(workers=(1, 4))
def test_memory_stats(t):
    oracle = start_oracle(t)
    with oracle.client() as conn:
        theirs = pairs(conn.must("MEMORY", "STATS"))
    conn = t.client()
    conn.must("SET", "k", "v")
    ours = pairs(conn.must("MEMORY", "STATS"))
    lacking = [name for name in theirs if name not in ours]
    assert not lacking, f"MEMORY STATS lacks {lacking}"
    assert ours[b"keys.count"] == 1, ours
    assert isinstance(ours[b"peak.allocated"], int) and b"db.0" in ours, ours
    assert isinstance(ours[b"fragmentation"], bytes), "a double is text in RESP2"
    three = t.client(protocol=3).must("MEMORY", "STATS")
    assert isinstance(three, dict) and isinstance(three[b"fragmentation"], float), three
    oracle.stop()


@case(workers=(1, 4))
def test_memory_usage(t):
    conn = t.client()
    small, large = KeyNames("usage:").spread(2)
    conn.must("SET", small, "x")
    conn.must("SET", large, "x" * 100_000)
    assert 20 <= conn.must("MEMORY", "USAGE", small) <= 120
    assert 100_000 <= conn.must("MEMORY", "USAGE", large) <= 140_000
    assert conn.must("MEMORY", "USAGE", large, "SAMPLES", 5) >= 100_000
    assert conn.must("MEMORY", "USAGE", "absent") is None
    assert conn("MEMORY", "USAGE", small, "SAMPLES", -1) == b"ERR syntax error"
    assert conn("MEMORY", "USAGE", small, "WHAT") == b"ERR syntax error"


@case(workers=(1, 4))
def test_memory_doctor_purge_malloc(t):
    conn = t.client()
    assert len(conn.must("MEMORY", "DOCTOR")) > 20
    assert conn.must("MEMORY", "PURGE") == b"OK"
    assert b"llocated" in conn.must("MEMORY", "MALLOC-STATS")
    assert conn("MEMORY", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try MEMORY HELP."
    lines = conn.must("MEMORY", "HELP")
    for word in (b"DOCTOR", b"MALLOC-STATS", b"PURGE", b"STATS", b"USAGE"):
        assert any(line.startswith(word) for line in lines), word


@case(workers=(1, 4))
def test_debug_object_and_encoding(t):
    conn = t.client()
    number, short, long = KeyNames("obj:").spread(3)
    conn.must("MSET", number, 12345, short, "short", long, "x" * 100)
    for name, encoding in [(number, "int"), (short, "embstr"), (long, "raw")]:
        assert conn.must("OBJECT", "ENCODING", name) == encoding.encode()
        text = conn.must("DEBUG", "OBJECT", name).decode()
        fields = dict(part.split(":", 1) for part in text.split(" ") if ":" in part)
        assert fields["encoding"] == encoding, text
        for field in ("refcount", "serializedlength", "lru", "lru_seconds_idle"):
            assert fields[field].isdigit(), text
    assert conn("DEBUG", "OBJECT", "absent") == b"ERR no such key"
    assert conn.must("OBJECT", "ENCODING", "absent") is None
    assert conn.must("OBJECT", "REFCOUNT", short) == 1
    assert isinstance(conn("OBJECT", "FREQ", short), Err)


@case(workers=(1, 4))
def test_debug_sleep(t):
    conn = t.client()
    began = time.monotonic()
    assert conn.must("DEBUG", "SLEEP", "0.05") == b"OK"
    assert time.monotonic() - began >= 0.05
    assert isinstance(conn("DEBUG", "NOSUCH"), Err)


@case(workers=(1, 4))
def test_debug_protocol(t):
    for protocol, wanted in [
            (2, {"string": b"Hello World", "integer": 12345, "double": b"3.141", "null": None,
                 "array": [0, 1, 2], "set": [0, 1, 2], "map": [0, 0, 1, 1, 2, 0],
                 "bignum": b"1234567999999999999999999999999999999", "true": 1, "false": 0,
                 "verbatim": b"This is a verbatim\nstring"}),
            (3, {"string": b"Hello World", "integer": 12345, "double": 3.141, "null": None,
                 "array": [0, 1, 2], "set": [0, 1, 2], "map": {0: False, 1: True, 2: False},
                 "bignum": 1234567999999999999999999999999999999, "true": True, "false": False,
                 "verbatim": b"This is a verbatim\nstring"})]:
        conn = t.client(protocol=protocol)
        for kind, value in wanted.items():
            if kind == "map" and protocol == 2:
                reply = conn.must("DEBUG", "PROTOCOL", kind)
                assert reply[0::2] == [0, 1, 2], reply
                continue
            reply = conn.must("DEBUG", "PROTOCOL", kind)
            assert reply == value and isinstance(reply, type(value)), (protocol, kind, reply)
    conn = t.client()
    assert conn("DEBUG", "ERROR", "MINE some text") == b"MINE some text"
    assert conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 1) == b"OK"


@case(workers=(1, 2, 4))
def test_debug_digest_equals_that_of_redis(t):
    """The digest of the same data is the same, however many workers hold it."""
    oracle = start_oracle(t)
    digests = []
    for server in (oracle, t.server):
        with server.client() as conn:
            seen = [conn.must("DEBUG", "DIGEST")]
            for number in (0, 3):
                conn.must("SELECT", number)
                for n in range(200):
                    conn.must("SET", f"dig:{n}", f"value {n * 7919 % 101}")
                conn.must("SET", "int", 12345)
                conn.must("SET", "ttl", "x", "EX", 10000)
                conn.must("SETBIT", "bits", 1000, 1)
                seen.append(conn.must("DEBUG", "DIGEST"))
            seen += conn.must("DEBUG", "DIGEST-VALUE", "dig:1", "int", "absent", "ttl")
            conn.must("FLUSHALL")
            seen.append(conn.must("DEBUG", "DIGEST"))
            digests.append(seen)
    assert digests[0] == digests[1], f"redis {digests[0]}\nours  {digests[1]}"
    assert digests[0][0] == b"0" * 40 == digests[0][-1]
    oracle.stop()


@case(workers=(1, 4))
def test_debug_htstats(t):
    conn = t.client()
    conn.must("MSET", *[item for n in range(100) for item in (f"h:{n}", 1)])
    text = conn.must("DEBUG", "HTSTATS", 0)
    assert b"number of elements: 100" in text or not t.as_redis, text
    assert len(text) > 40
    assert isinstance(conn("DEBUG", "HTSTATS", "x"), Err)
    assert isinstance(conn("DEBUG", "HTSTATS", 99999), Err)


@case(workers=(1, 4))
def test_lolwut_and_time(t):
    conn = t.client()
    for arguments in ((), ("VERSION", 5), ("VERSION", 6), ("VERSION", 5, 20, 10, 10)):
        text = conn.must("LOLWUT", *arguments)
        assert text.strip() and (t.as_redis or b"ollux" in text), text
    assert isinstance(conn("LOLWUT", "VERSION", "x"), Err)
    # Any size that a client asks for is bounded.
    text = conn.must("LOLWUT", "VERSION", 5, 1_000_000_000, 1_000_000_000, 1_000_000_000)
    assert len(text) < 16 << 20
    seconds, micros = (int(part) for part in conn.must("TIME"))
    assert abs(seconds - time.time()) < 5 and 0 <= micros < 1_000_000
