"""Expiry without access: keys leave, counts fall, and only at their time."""
import time

from harness.runner import case
from harness.server import poll
from harness.slots import KeyNames, range_of, slot_of


def now_ms(conn):
    seconds, micros = conn.must("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@case(workers=(1, 2, 4), drivers="each")
def test_keys_leave_without_access(t):
    conn = t.client()
    names = KeyNames("leave:").spread(400)
    conn.must("MSET", *[item for name in KeyNames("stay:").spread(50) for item in (name, 1)])
    conn.pipe([("SET", name, "v", "PX", 100 + number % 400) for number, name in enumerate(names)])
    assert conn.must("DBSIZE") <= 450
    began = time.monotonic()
    poll(lambda: conn.must("DBSIZE") == 50, 10, what="DBSIZE without the expired keys")
    t.note(f"gone after {time.monotonic() - began:.2f} s, the last deadline was 0.5 s ahead")
    assert int(t.server.info("stats")["expired_keys"]) == 400


@case(workers=(1, 2, 4))
def test_one_deadline_for_many_keys(t):
    """Many keys that all end at the same millisecond are gone soon after it."""
    count = 20_000 if t.quick else 100_000
    conn = t.client(timeout=30.0)
    for ahead_ms in (2500, 6000, 24_000):  # long enough for this machine to write them all
        deadline = now_ms(conn) + ahead_ms
        for first in range(0, count, 1000):
            conn.pipe([("SET", f"many:{n}", "value", "PXAT", deadline)
                       for n in range(first, first + 1000)])
        before = now_ms(conn)
        if before < deadline:
            break
    assert before < deadline, "the machine is too slow for this test"
    assert conn.must("DBSIZE") == count, "keys left before their time"
    poll(lambda: now_ms(conn) >= deadline, 30, what="the deadline")
    poll(lambda: conn.must("DBSIZE") == 0, 10, what="an empty database")
    late = now_ms(conn) - deadline
    t.note(f"{count} keys gone {late} ms after their deadline")
    assert t.as_redis or late < 5000, f"the last key left {late} ms late"


@case(workers=(1, 4))
def test_memory_returns(t):
    server = t.start()
    conn = t.connect(server, timeout=30.0)
    empty = int(server.info("memory")["used_memory"])
    for first in range(0, 20_000, 1000):
        conn.pipe([("SET", f"mem:{n}", "x" * 200, "PX", 3000) for n in range(first, first + 1000)])
    full = int(server.info("memory")["used_memory"])
    assert full > empty + 4_000_000
    poll(lambda: conn.must("DBSIZE") == 0, 15, what="an empty database")
    poll(lambda: int(server.info("memory")["used_memory"]) < empty + (full - empty) // 4, 10,
         what="memory given back")
    server.stop()


@case(workers=(1, 4))
def test_changed_deadlines(t):
    """Shortened, extended and removed TTLs: the last one set counts."""
    conn = t.client()
    names = KeyNames("ttl:")
    shortened, extended, persisted, overwritten, kept, again = names.spread(6)
    conn.pipe([("SET", shortened, 1, "EX", 1000), ("SET", extended, 1, "PX", 300),
               ("SET", persisted, 1, "PX", 300), ("SET", overwritten, 1, "PX", 300),
               ("SET", kept, 1, "PX", 300), ("SET", again, 1, "PX", 300)])
    assert conn.pipe([("PEXPIRE", shortened, 200), ("EXPIRE", extended, 1000),
                      ("PERSIST", persisted), ("SET", overwritten, 2),
                      ("SET", kept, 2, "KEEPTTL"), ("APPEND", kept, "x")]) == [
        1, 1, 1, b"OK", b"OK", 2]
    for ttl in (900, 100, 800, 150):
        conn.must("PEXPIRE", again, ttl)
    poll(lambda: conn.must("DBSIZE") == 3, 10, what="exactly the three short ones gone")
    assert conn.must("MGET", extended, persisted, overwritten) == [b"1", b"1", b"2"]
    assert 990 < conn.must("TTL", extended) <= 1000
    assert conn.pipe([("TTL", persisted), ("TTL", overwritten), ("TTL", kept)]) == [-1, -1, -2]


@case(workers=(1, 4))
def test_flags_of_expire(t):
    conn = t.client()
    key = KeyNames("flag:").spread(1)[0]
    conn.must("SET", key, 1)
    assert [conn.must("EXPIRE", key, 100, flag) for flag in ("XX", "GT", "LT")] == [0, 0, 1]
    assert [conn.must("EXPIRE", key, 200, flag) for flag in ("NX", "LT", "GT")] == [0, 0, 1]
    assert [conn.must("EXPIRE", key, 150, flag) for flag in ("GT", "XX", "LT")] == [0, 1, 0]
    assert conn.must("PERSIST", key) == 1 and conn.must("EXPIRE", key, 50, "NX") == 1
    assert conn("EXPIRE", key, 50, "NX", "XX") == \
        b"ERR NX and XX, GT or LT options at the same time are not compatible"
    # A deadline in the past deletes at once.
    assert conn.must("EXPIRE", key, -1) == 1 and conn.must("EXISTS", key) == 0
    assert conn("SET", key, 1, "EX", 0) == b"ERR invalid expire time in 'set' command"
    assert conn("EXPIRE", key, 9223372036854775807) in (
        b"ERR invalid expire time in 'expire' command", 0)


@case(workers=(1, 4))
def test_nothing_leaves_early(t):
    """Keys with deadlines from near to far: none is missing while its time has not come."""
    conn = t.client()
    names = KeyNames("early:").spread(200)
    base = now_ms(conn)
    deadlines = {name: base + 300 + place * 15 for place, name in enumerate(names)}
    conn.pipe([("SET", name, 1, "PXAT", when) for name, when in deadlines.items()])
    while True:
        # Every read falls between the two clock readings around it.
        before, *values, after = conn.pipe(
            [("TIME",), *(("EXISTS", name) for name in names), ("TIME",)])
        low = int(before[0]) * 1000 + int(before[1]) // 1000
        high = int(after[0]) * 1000 + int(after[1]) // 1000
        for name, there in zip(names, values):
            when = deadlines[name]
            assert there or high >= when, f"{name} left {when - high} ms early"
            assert not there or low <= when + 1, f"{name} seen {low - when} ms after its deadline"
        if low > base + 300 + 200 * 15:
            break
    poll(lambda: conn.must("DBSIZE") == 0, 5, what="an empty database")


@case(workers=(1, 4))
def test_expired_is_gone_without_active_expiry(t):
    """With active expiry off the deadline still holds for whoever looks."""
    conn = t.client()
    a, b, c = KeyNames("lazy:").spread(3)
    conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        conn.pipe([("SET", a, 1, "PX", 20), ("SET", b, 1, "PX", 20), ("SET", c, 1)])
        deadline = now_ms(conn) + 25
        poll(lambda: now_ms(conn) > deadline, 5, what="the deadline")
        assert conn.must("DBSIZE") == 3
        assert conn.must("MGET", a, b, c) == [None, None, b"1"]
        assert conn.must("DBSIZE") == 1
        assert conn.must("SET", a, 2, "NX") == b"OK" and conn.must("TTL", a) == -1
    finally:
        conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 1)


@case(workers=(2, 4), pollux=True)
def test_expiry_follows_a_moved_slot(t):
    """Tickets of a slot that moved, before or between, still fire."""
    conn = t.client()
    names = KeyNames("moved:")
    first, last = range_of(0, t.workers)
    keys = [names.in_range(first, last) for _ in range(200)]
    conn.pipe([("SET", key, 1, "PX", 800) for key in keys])
    for key in keys:
        conn.must("POLLUX", "MOVE-SLOT", slot_of(key), t.workers - 1)
    for key in keys[::2]:
        conn.must("POLLUX", "MOVE-SLOT", slot_of(key), t.workers // 2)
    poll(lambda: conn.must("DBSIZE") == 0, 10, what="an empty database")
    conn.must("POLLUX", "REBALANCE")


@case(workers=(1, 4))
def test_rename_copy_and_move_carry_the_deadline(t):
    conn = t.client()
    a, b, c = KeyNames("carry:").spread(3)
    conn.must("SET", a, 1, "PX", 400)
    conn.must("SET", b, 1, "EX", 1000)
    conn.must("COPY", a, c)
    conn.must("RENAME", a, b)
    assert 0 < conn.must("PTTL", b) <= 400 and 0 < conn.must("PTTL", c) <= 400
    conn.must("MOVE", c, 5)
    poll(lambda: conn.must("DBSIZE") == 0, 5, what="an empty database 0")
    conn.must("SELECT", 5)
    poll(lambda: conn.must("DBSIZE") == 0, 5, what="an empty database 5")


@case(workers=(1, 4))
def test_swapdb_takes_deadlines_along(t):
    conn = t.client()
    names = KeyNames("swap:").spread(40)
    conn.pipe([("SET", name, 1, "PX", 300) for name in names])
    conn.must("SWAPDB", 0, 7)
    conn.must("SET", "stays", 1)
    conn.must("SELECT", 7)
    poll(lambda: conn.must("DBSIZE") == 0, 5, what="an empty database 7")
    conn.must("SELECT", 0)
    assert conn.must("GET", "stays") == b"1"
