"""maxmemory: noeviction answers with an error, allkeys-lru keeps memory bounded."""
from harness.resp import Err, info_fields
from harness.runner import case
from harness.server import poll

OOM = b"OOM command not allowed when used memory > 'maxmemory'."
ROOM = 16 << 20


def used(conn):
    return int(info_fields(conn.must("INFO", "memory"))["used_memory"])


def limited(t, policy):
    server = t.start({"maxmemory-policy": policy})
    conn = t.connect(server, timeout=30.0)
    limit = used(conn) + ROOM
    conn.must("CONFIG", "SET", "maxmemory", limit)
    return server, conn, limit


@case(workers=(1, 2, 4))
def test_noeviction(t):
    server, conn, limit = limited(t, "noeviction")
    stored = 0
    while True:
        replies = conn.pipe([("SET", f"full:{stored + n}", "x" * 1000) for n in range(500)])
        refused = sum(isinstance(reply, Err) for reply in replies)
        stored += 500 - refused
        if refused > 250:
            break
        assert stored < 10 * ROOM // 1000, "never full"
    assert all(reply in (b"OK", OOM) for reply in replies), set(replies)
    assert stored > ROOM // 1000 // 3, f"full after {stored} keys of 1 KB with {ROOM >> 20} MB"
    assert used(conn) < limit * 1.05
    # Reading and deleting go on; writing is refused everywhere, also inside MULTI.
    value = conn.must("GET", "full:0")
    assert value == b"x" * 1000
    refusals = 0
    for n in range(40):
        refusals += conn("APPEND", f"more:{n}", "x" * 1000) == OOM
    assert refusals > 20, f"only {refusals} of 40 writes refused"
    conn.must("MULTI")
    queued = [conn("SET", f"multi:{n}", "x" * 1000) for n in range(40)]
    assert queued.count(OOM) > 20 or not t.as_redis, queued
    reply = conn("EXEC")
    if OOM in queued:
        assert reply == b"EXECABORT Transaction discarded because of previous errors.", reply
    else:
        assert OOM in reply, reply
    freed = conn.must("DEL", *[f"full:{n}" for n in range(stored // 2)])
    assert freed > 0
    assert conn.must("SET", "again", "x" * 1000) == b"OK"
    assert int(server.info("stats")["evicted_keys"]) == 0
    server.stop()


@case(workers=(1, 2, 4), timeout=240)
def test_allkeys_lru_bounds_memory(t):
    server, conn, limit = limited(t, "allkeys-lru")
    written = 0
    top = 0
    for _ in range(30 if t.quick else 120):
        replies = conn.pipe([("SET", f"cache:{written + n}", "x" * 1000) for n in range(1000)])
        assert set(replies) == {b"OK"}, set(replies)
        written += 1000
        top = max(top, used(conn))
    assert top < limit * 1.1, f"used {top} with a limit of {limit}"
    kept = conn.must("DBSIZE")
    evicted = int(server.info("stats")["evicted_keys"])
    # Asking may evict as well, so the two figures are not of the same moment.
    assert evicted > 0 and abs(kept + evicted - written) < 500, (kept, evicted, written)
    assert kept > ROOM // 1000 // 3, f"only {kept} keys of 1 KB kept in {ROOM >> 20} MB"
    t.note(f"{kept} of {written} keys kept; highest use {top / limit:.3f} of the limit")
    server.stop()


@case(workers=(1, 2, 4))
def test_allkeys_lru_keeps_what_is_used(t):
    server, conn, _ = limited(t, "allkeys-lru")
    count = ROOM // 1000 * 6 // 10
    for first in range(0, count, 500):
        conn.pipe([("SET", f"cold:{first + n}", "x" * 1000) for n in range(500)])
    hot = [f"cold:{n}" for n in range(0, count, 20)]
    # The access clock counts seconds: let it pass two before some keys are used again.
    poll(lambda: conn.must("OBJECT", "IDLETIME", "cold:1") >= 2, 20, step_s=0.1, what="idleness")
    assert conn.must("EXISTS", *hot) == len(hot)
    conn.pipe([("GET", key) for key in hot])
    for first in range(0, count, 500):
        conn.pipe([("SET", f"new:{first + n}", "x" * 1000) for n in range(500)])
    kept_hot = conn.must("EXISTS", *hot)
    kept_cold = sum(conn.pipe([("EXISTS", f"cold:{n}") for n in range(count) if n % 20]))
    share_hot, share_cold = kept_hot / len(hot), kept_cold / (count - len(hot))
    t.note(f"{share_hot:.0%} of the used keys kept, {share_cold:.0%} of the others")
    assert share_cold < 0.8, "hardly anything was evicted"
    assert share_hot > share_cold + 0.15, f"{share_hot:.0%} against {share_cold:.0%}"
    server.stop()


@case(workers=(4,), timeout=240)
def test_eviction_keeps_rss_bounded(t):
    """Values of changing size: what was evicted goes back to be used again."""
    server, conn, limit = limited(t, "allkeys-lru")
    for round_number in range(6):
        for n in range(0, 60_000 if not t.quick else 20_000, 500):
            size = t.rng.randrange(10, 3000)
            conn.pipe([("SET", f"r:{t.rng.randrange(200_000)}", "x" * size) for _ in range(500)])
    rss = server.rss_bytes()
    t.note(f"RSS {rss >> 20} MB with maxmemory {limit >> 20} MB")
    assert rss < limit * 3 + (64 << 20) or not t.rss_counts, f"RSS {rss >> 20} MB"
    server.stop()


@case(workers=(1, 4))
def test_lowering_the_limit_evicts(t):
    server, conn, limit = limited(t, "allkeys-lru")
    for first in range(0, 8000, 1000):
        conn.pipe([("SET", f"low:{first + n}", "x" * 1000) for n in range(1000)])
    before = conn.must("DBSIZE")
    lower = used(conn) - (4 << 20)
    conn.must("CONFIG", "SET", "maxmemory", lower)

    def smaller():
        conn.must("SET", "push", "x")
        return used(conn) <= lower * 1.02
    poll(smaller, 20, what="memory below the new limit")
    assert conn.must("DBSIZE") < before
    server.stop()


@case(workers=(4,))
def test_one_worker_may_hold_nearly_all(t):
    """One budget for the node: keys of a single slot may fill it."""
    server, conn, _ = limited(t, "noeviction")
    stored = 0
    while stored < 10 * ROOM // 1000:
        replies = conn.pipe([("SET", f"{{one}}:{stored + n}", "x" * 1000) for n in range(200)])
        good = sum(reply == b"OK" for reply in replies)
        stored += good
        if good < 200:
            break
    assert stored > ROOM // 1000 // 2, f"only {stored} KB of {ROOM >> 10} KB for one slot"
    server.stop()
