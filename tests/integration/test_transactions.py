"""MULTI with errors, WATCH across workers, and watch records that go when their connection goes."""
from harness.resp import Err, info_fields
from harness.runner import case
from harness.server import poll
from harness.slots import KeyNames

ABORT = b"EXECABORT Transaction discarded because of previous errors."


def spread(prefix, count):
    return KeyNames(prefix).spread(count)


@case(workers=(1, 4))
def test_errors_while_queueing_abort(t):
    conn = t.client()
    a, b = spread("multi:", 2)
    assert conn("EXEC") == b"ERR EXEC without MULTI"
    assert conn("DISCARD") == b"ERR DISCARD without MULTI"
    assert conn.must("MULTI") == b"OK"
    assert conn("MULTI") == b"ERR MULTI calls can not be nested"
    assert conn("WATCH", a) == b"ERR WATCH inside MULTI is not allowed"
    assert conn.must("SET", a, 1) == b"QUEUED"
    assert isinstance(conn("SET", b), Err)
    assert conn("EXEC") == ABORT
    assert conn.must("EXISTS", a, b) == 0
    conn.must("MULTI")
    conn.must("SET", a, 1)
    assert conn("NOSUCHCOMMAND").startswith(b"ERR unknown command 'NOSUCHCOMMAND'")
    assert conn("EXEC") == ABORT
    assert conn("EXEC") == b"ERR EXEC without MULTI"
    assert conn.must("EXISTS", a) == 0


@case(workers=(1, 4))
def test_errors_while_running_do_not_abort(t):
    conn = t.client()
    a, b, c = spread("run:", 3)
    conn.must("SET", b, "text")
    replies = conn.pipe([("MULTI",), ("SET", a, 1), ("INCR", b), ("INCR", a), ("RENAME", c, a),
                         ("GET", a), ("EXEC",)])
    assert replies[:6] == [b"OK"] + [b"QUEUED"] * 5
    assert replies[6] == [b"OK", b"ERR value is not an integer or out of range", 2,
                          b"ERR no such key", b"2"]
    assert isinstance(replies[6][1], Err) and isinstance(replies[6][3], Err)


@case(workers=(1, 4))
def test_discard_and_empty_exec(t):
    conn = t.client()
    a, b = spread("discard:", 2)
    assert conn.pipe([("MULTI",), ("SET", a, 1), ("SET", b, 1), ("DISCARD",)])[3] == b"OK"
    assert conn.must("EXISTS", a, b) == 0
    assert conn.pipe([("MULTI",), ("EXEC",)]) == [b"OK", []]
    assert conn.pipe([("MULTI",), ("RESET",), ("EXEC",)])[1:] == [
        b"RESET", b"ERR EXEC without MULTI"]


def run_watched(t, watched, act, mine=None):
    """WATCH, then `act` by another connection, then EXEC; True if it ran."""
    conn, other = t.client(), t.client()
    conn.must("WATCH", *watched)
    if mine:
        mine(conn)
    act(other)
    conn.must("MULTI")
    conn.must("PING")
    reply = conn.must("EXEC")
    conn.close()
    other.close()
    assert reply in (None, [b"PONG"]), reply
    return reply is not None


@case(workers=(1, 2, 4))
def test_watch_sees_every_change(t):
    a, b, c = spread("watch:", 3)
    conn = t.client()

    def fresh():
        conn.must("FLUSHALL")
        conn.must("SET", a, "1")

    changes = {
        "SET": lambda o: o.must("SET", a, "1"), "INCR": lambda o: o.must("INCR", a),
        "APPEND": lambda o: o.must("APPEND", a, "x"), "DEL": lambda o: o.must("DEL", a),
        "UNLINK": lambda o: o.must("UNLINK", a), "EXPIRE": lambda o: o.must("EXPIRE", a, 100),
        "GETDEL": lambda o: o.must("GETDEL", a), "SETBIT": lambda o: o.must("SETBIT", a, 1, 1),
        "SETRANGE": lambda o: o.must("SETRANGE", a, 3, "x"),
        "RENAME away": lambda o: o.must("RENAME", a, b),
        "MSET": lambda o: o.must("MSET", a, 1, b, 2), "FLUSHDB": lambda o: o.must("FLUSHDB"),
        "FLUSHALL": lambda o: o.must("FLUSHALL"), "SWAPDB": lambda o: o.must("SWAPDB", 0, 1),
        "MOVE": lambda o: o.must("MOVE", a, 3), "BITOP": lambda o: o.must("BITOP", "NOT", a, a),
        "EXEC": lambda o: o.pipe([("MULTI",), ("SET", a, 5), ("EXEC",)]),
        "COPY REPLACE": lambda o: o.pipe([("SET", c, 1), ("COPY", c, a, "REPLACE")]),
        "GETEX": lambda o: o.must("GETEX", a, "EX", 100),
    }
    for name, change in changes.items():
        fresh()
        assert not run_watched(t, [b, a], change), f"{name} was not seen by WATCH"
    # Reads and changes of other keys leave a watch alone.
    harmless = {
        "GET": lambda o: o.must("GET", a), "SET of another": lambda o: o.must("SET", c, 1),
        "failed SETNX": lambda o: o.must("SETNX", a, 5),
        "DEL of nothing": lambda o: o.must("DEL", c), "TOUCH": lambda o: o.must("TOUCH", a),
        "other database": lambda o: o.pipe([("SELECT", 1), ("SET", a, 9)]),
        "failed COPY": lambda o: o.pipe([("SET", c, 1), ("COPY", c, a)]),
        "PERSIST without TTL": lambda o: o.must("PERSIST", a),
    }
    for name, act in harmless.items():
        fresh()
        assert run_watched(t, [b, a], act), f"{name} broke a watch"


@case(workers=(1, 4))
def test_watch_of_absent_keys(t):
    a, b = spread("absent:", 2)
    assert not run_watched(t, [a, b], lambda other: other.must("SET", b, 1))
    t.client().must("FLUSHALL")
    assert run_watched(t, [a, b], lambda other: other.must("DEL", a, b))
    assert run_watched(t, [a, b], lambda other: other.must("FLUSHALL"))
    assert not run_watched(t, [a], lambda other: (other.must("SELECT", 1), other.must("SET", a, 1),
                                                  other.must("SWAPDB", 0, 1)))


@case(workers=(1, 4))
def test_watch_and_expiry(t):
    """A key that expires while watched aborts; one that was already gone at WATCH does not."""
    a, b = spread("expire:", 2)
    conn = t.client()
    conn.must("SET", a, 1, "PX", 50)
    conn.must("WATCH", a, b)
    with t.server.client() as other:
        poll(lambda: other.must("EXISTS", a) == 0, 5, what="expiry")
    conn.must("MULTI")
    conn.must("PING")
    assert conn.must("EXEC") is None
    conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        conn.must("SET", a, 1, "PX", 1)
        deadline = int(conn.must("PEXPIRETIME", a))
        # A logically expired key that nobody has removed: WATCH sees it as absent.
        poll(lambda: now_ms(conn) > deadline, 5, what="deadline")
        conn.must("WATCH", a)
        assert conn.must("GET", a) is None
        conn.must("MULTI")
        conn.must("PING")
        assert conn.must("EXEC") == [b"PONG"]
    finally:
        conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def now_ms(conn):
    seconds, micros = conn.must("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@case(workers=(1, 4))
def test_own_changes_and_unwatch(t):
    a, b = spread("own:", 2)
    conn, other = t.client(), t.client()
    # A change by the watching connection itself counts too.
    conn.must("WATCH", a)
    conn.must("SET", a, 1)
    conn.must("MULTI")
    assert conn.must("EXEC") is None
    # EXEC, DISCARD, UNWATCH and RESET all end the watch.
    for ending in (("UNWATCH",), ("RESET",)):
        conn.must("WATCH", a, b)
        other.must("INCR", b)
        conn.must(*ending)
        assert conn.pipe([("MULTI",), ("PING",), ("EXEC",)])[2] == [b"PONG"]
    conn.must("WATCH", b)
    other.must("INCR", b)
    conn.must("MULTI")
    conn.must("DISCARD")
    assert conn.pipe([("MULTI",), ("PING",), ("EXEC",)])[2] == [b"PONG"]
    conn.must("WATCH", b)
    other.must("INCR", b)
    assert conn.pipe([("MULTI",), ("EXEC",)])[1] is None
    assert conn.pipe([("MULTI",), ("PING",), ("EXEC",)])[2] == [b"PONG"]
    # UNWATCH inside MULTI is queued and comes too late.
    conn.must("WATCH", b)
    other.must("INCR", b)
    assert conn.pipe([("MULTI",), ("UNWATCH",), ("EXEC",)])[1:] == [b"QUEUED", None]


@case(workers=(4,))
def test_watch_in_one_pipeline_with_the_change(t):
    """WATCH, a change elsewhere in the same burst, and EXEC follow the order of the stream."""
    a, b, c = spread("burst:", 3)
    conn = t.client()
    for _ in range(50):
        replies = conn.pipe([("SET", a, 0), ("WATCH", a, b, c), ("GET", a), ("MULTI",),
                             ("INCR", a), ("INCR", b), ("EXEC",), ("GET", a),
                             ("WATCH", b), ("DEL", b), ("MULTI",), ("INCR", a), ("EXEC",),
                             ("MGET", a, b)])
        assert replies[6] == [1, 1] and replies[7] == b"1", replies
        assert replies[12] is None and replies[13] == [b"1", None], replies


@case(workers=(4,))
def test_exec_with_keyspace_commands(t):
    a, b, c = spread("exec:", 3)
    conn = t.client()
    replies = conn.pipe([("MULTI",), ("MSET", a, 1, b, 2, c, 3), ("DBSIZE",), ("SELECT", 1),
                         ("SET", a, "other"), ("DBSIZE",), ("SELECT", 0), ("DEL", a), ("DBSIZE",),
                         ("KEYS", "exec:*"), ("SWAPDB", 0, 1), ("MGET", a, b, c), ("FLUSHALL",),
                         ("DBSIZE",), ("EXEC",)])
    result = replies[-1]
    assert result[:8] == [b"OK", 3, b"OK", b"OK", 1, b"OK", 1, 2], result
    assert sorted(result[8]) == sorted(key.encode() for key in (b, c)), result
    assert result[9:] == [b"OK", [b"other", None, None], b"OK", 0], result


@case(workers=(2, 4), timeout=90)
def test_watch_records_go_with_their_connection(t):
    """Rounds of connections that watch and vanish must not leave memory behind."""
    server = t.start()
    control = t.connect(server)
    names = spread("rec:", 100)
    clients = 60 if t.quick else 300

    def connected():
        return int(info_fields(control.must("INFO", "clients"))["connected_clients"])

    def one_round():
        conns = [server.client() for _ in range(clients)]
        try:
            for number, conn in enumerate(conns):
                own = [f"{name}:{number}" for name in names]
                conn.send("WATCH", *names, *own)
            for conn in conns:
                assert conn.read() == b"OK"
            peak = used_memory(control)
        finally:
            for number, conn in enumerate(conns):
                conn.reset() if number % 2 else conn.close()
        poll(lambda: connected() <= 1, 20, what="connections closed")
        return peak

    one_round()
    settled = used_memory(control)
    peak = 0
    for _ in range(6):
        peak = max(peak, one_round())
    records = clients * 200
    poll(lambda: used_memory(control) - settled < max(records * 8, 500_000), 10,
         what="memory of watch records given back")
    t.note(f"{(peak - settled) // records} bytes for a watch record at the peak, "
           f"{used_memory(control) - settled} bytes kept after six rounds")
    server.stop()


def used_memory(conn):
    return int(info_fields(conn.must("INFO", "memory"))["used_memory"])
