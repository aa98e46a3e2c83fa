"""POLLUX SLOTS, MOVE-SLOT and REBALANCE on the common port."""
from harness.pollux import owners, workers
from harness.resp import Err
from harness.runner import case
from harness.slots import SLOTS, KeyNames, range_of, slot_of


@case(workers=(1, 2, 4), pollux=True)
def test_slots_are_cut_into_equal_ranges(t):
    conn = t.client()
    rows = workers(conn)
    assert [row["worker"] for row in rows] == list(range(t.workers))
    for k, row in enumerate(rows):
        assert len(row["ranges"]) == 1, row
        first, last = row["ranges"][0]
        size = last - first + 1
        assert SLOTS // t.workers <= size <= -(-SLOTS // t.workers), row
        assert row["keys"] == 0, row
    names = KeyNames("count:")
    for k in range(t.workers):
        for _ in range(10 * (k + 1)):
            conn.must("SET", names.in_range(*range_of(k, t.workers)), 1)
    assert [row["keys"] for row in workers(conn)] == [10 * (k + 1) for k in range(t.workers)]


@case(workers=(2, 4), pollux=True)
def test_a_moved_slot_takes_everything_along(t):
    conn, other = t.client(), t.client()
    names = KeyNames("take:")
    key = names.in_range(*range_of(0, t.workers))
    slot = slot_of(key)
    tagged = [f"{{{key}}}:{n}" for n in range(200)]
    conn.must("MSET", *[item for name in tagged for item in (name, name)])
    conn.must("EXPIRE", tagged[0], 1000)
    conn.must("SELECT", 5)
    conn.must("SET", tagged[0], "five")
    conn.must("SELECT", 0)
    other.must("WATCH", tagged[1])
    last = t.workers - 1
    assert conn.must("POLLUX", "MOVE-SLOT", slot, last) == b"OK"
    assert owners(conn)[slot] == last
    assert sum(row["keys"] for row in workers(conn)) == 201
    assert conn.must("MGET", *tagged) == [name.encode() for name in tagged]
    assert 990 < conn.must("TTL", tagged[0]) <= 1000
    assert conn.must("DBSIZE") == 200
    # A watch set before the move holds, and sees a change made after it.
    conn.must("SET", tagged[1], "changed")
    assert other.pipe([("MULTI",), ("PING",), ("EXEC",)])[2] is None
    other.must("WATCH", tagged[2])
    conn.must("POLLUX", "MOVE-SLOT", slot, 0)
    assert other.pipe([("MULTI",), ("PING",), ("EXEC",)])[2] == [b"PONG"]
    conn.must("SELECT", 5)
    assert conn.must("GET", tagged[0]) == b"five" and conn.must("DBSIZE") == 1
    assert owners(conn)[slot] == 0


@case(workers=(4,), pollux=True)
def test_rebalance_makes_ranges_equal_again(t):
    conn = t.client()
    for slot in range(0, SLOTS, 37):
        conn.must("POLLUX", "MOVE-SLOT", slot, 3)
    sizes = [sum(last - first + 1 for first, last in row["ranges"]) for row in workers(conn)]
    assert sizes[3] > SLOTS // 4 + 200, sizes
    conn.must("POLLUX", "REBALANCE")
    owners(conn)
    sizes = [sum(last - first + 1 for first, last in row["ranges"]) for row in workers(conn)]
    assert max(sizes) - min(sizes) <= SLOTS // 50, sizes


@case(workers=(1, 4), pollux=True)
def test_bad_arguments(t):
    conn = t.client()
    for bad in [("MOVE-SLOT",), ("MOVE-SLOT", 0), ("MOVE-SLOT", -1, 0), ("MOVE-SLOT", SLOTS, 0),
                ("MOVE-SLOT", 0, t.workers), ("MOVE-SLOT", 0, -1), ("MOVE-SLOT", "x", 0),
                ("MOVE-SLOT", 0, "x"), ("MOVE-SLOT", 2**63, 0), ("NOSUCH",), (),
                ("SLOTS", "x"), ("REBALANCE", "x"), ("GAPS", "x")]:
        assert isinstance(conn("POLLUX", *bad), Err), bad
    assert conn.must("POLLUX", "MOVE-SLOT", 0, 0) == b"OK"
    owners(conn)


@case(workers=(1, 4), pollux=True)
def test_workers_that_sleep_tell_no_gaps(t):
    """On kernel sockets: waiting is sleep. bypass.py and test_load.py have workers that poll."""
    rows = t.client().must("POLLUX", "GAPS")
    assert rows == [[b"worker", i, b"count", 0, b"gaps", []] for i in range(t.workers)], rows
