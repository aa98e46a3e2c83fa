"""Patterns that make a careless matcher run for ever or recurse until the stack ends."""
import time

from harness.resp import Err
from harness.runner import case
from watch import Watch

SUBJECT = "a" * 2000
PATTERNS = ["a*" * 12 + "b", "*a" * 12 + "b", "*?" * 500 + "b", "[" * 5000, "[a-" * 500,
            "\\" * 5001, "?" * 2000 + "b", "[^" * 1000, "[a-\\" * 100, "[]" * 500, "*" * 5000 + "b",
            "[z-a]" * 2000, "[\xff-\x00]*", "a[", "a\\", "[^", "[a-", "[a-]", "[]a]", "**?**?**b"]
# Only for a matcher in linear time: redis takes minutes, or its stack.
WORSE = ["a*" * 1000 + "b", "*a*?" * 5000 + "b", "*?" * 50_000, "a*[b-a]*" * 2000, "*a" * 100_000,
         "[a]*" * 50_000 + "b"]
ANSWER_S = 5.0


def uses(pattern):
    return [("KEYS", pattern), ("SCAN", 0, "MATCH", pattern, "COUNT", 1000),
            ("CONFIG", "GET", pattern), ("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)]


@case(workers=(1, 4), timeout=120)
def test_patterns_that_blow_up(t):
    with Watch(t, t.server, gap_s=1.5):
        conn = t.client(timeout=30)
        conn.must("MSET", *[item for n in range(50) for item in (f"{SUBJECT}{n}", "v")])
        for pattern in PATTERNS + ([] if t.as_redis else WORSE):
            for command in uses(pattern):
                began = time.monotonic()
                conn(*command)
                took = time.monotonic() - began
                assert took < ANSWER_S, f"{command[0]} {pattern[:40]}...: {took:.1f} s"


@case(workers=(1, 4))
def test_config_resetstat_and_latency_names_are_not_patterns(t):
    """A pattern where a name is expected is just a name that does not exist."""
    with Watch(t, t.server):
        conn = t.client()
        assert conn.must("LATENCY", "RESET", "*") == 0
        assert conn.must("LATENCY", "HISTORY", "*") == []
        assert isinstance(conn("CONFIG", "SET", "time*", 1), Err)
        assert conn.must("EXISTS", "*") == 0


@case(workers=(1, 4), timeout=120)
def test_keys_over_many_keys_lets_others_go_on(t):
    """KEYS with a costly pattern over a large keyspace runs in slices."""
    count = 100_000 if t.quick else 400_000
    server = t.start()
    conn = t.connect(server, timeout=60)
    for first in range(0, count, 5000):
        conn.must("MSET", *[item for n in range(first, first + 5000)
                            for item in (f"aaaaaaaaaaaaaaaaaaaa:{n}", "")])
    with Watch(t, server, grow_mb=256):
        for _ in range(3):
            assert conn.must("KEYS", "*a*a*a*a*b") == []
        assert len(conn.must("KEYS", "*")) == count
        assert len(conn.must("KEYS", "*:1?")) == 10
    server.stop()
