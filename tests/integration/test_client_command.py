"""CLIENT and its subcommands, with clients on all workers."""
import time

from harness.oracle import start_oracle
from harness.resp import Err, encode
from harness.runner import case
from harness.server import poll
from harness.slots import KeyNames


def fields_of(line):
    return dict(part.split("=", 1) for part in line.decode().strip().split(" "))


def listed(conn, *options):
    text = conn.must("CLIENT", "LIST", *options)
    return [fields_of(line) for line in text.split(b"\n") if line]


@case(workers=(1, 4), drivers="each")
def test_list_and_info(t):
    server = t.start()
    conns = [t.connect(server) for _ in range(12)]
    ids = []
    for number, conn in enumerate(conns):
        conn.must("CLIENT", "SETNAME", f"name-{number}")
        conn.must("SELECT", number)
        ids.append(conn.must("CLIENT", "ID"))
    assert len(set(ids)) == len(ids)
    rows = {row["name"]: row for row in listed(conns[0])}
    assert len(rows) == 12, list(rows)
    for number, conn in enumerate(conns):
        row = rows[f"name-{number}"]
        host, port = conn.sock.getsockname()
        assert row["addr"] == f"{host}:{port}" and row["laddr"] == f"{server.host}:{server.port}"
        assert row["id"] == str(ids[number]) and row["db"] == str(number) and row["flags"] == "N"
        assert row["user"] == "default" and row["resp"] == "2" and row["multi"] == "-1"
        mine = fields_of(conn.must("CLIENT", "INFO"))
        assert (mine["id"], mine["name"], mine["cmd"]) == (row["id"], row["name"], "client|info")
    assert sorted(row["id"] for row in listed(conns[0], "ID", ids[3], ids[5], 999999)) == sorted(
        [str(ids[3]), str(ids[5])])
    assert len(listed(conns[0], "TYPE", "normal")) == 12
    assert listed(conns[0], "TYPE", "replica") == [] == listed(conns[0], "TYPE", "pubsub")
    assert conns[0]("CLIENT", "LIST", "TYPE", "x") == b"ERR Unknown client type 'x'"
    assert conns[0]("CLIENT", "LIST", "ID", "x") == b"ERR Invalid client ID"
    assert conns[0]("CLIENT", "LIST", "WHAT") == b"ERR syntax error"
    conns[1].pipe([("MULTI",), ("PING",), ("PING",)])
    assert listed(conns[0], "ID", ids[1])[0]["multi"] == "2"
    assert listed(conns[0], "ID", ids[1])[0]["flags"] == "x"
    conns[2].must("MONITOR")
    assert listed(conns[0], "ID", ids[2])[0]["flags"] == "O"
    server.stop()


@case(workers=(1, 4))
def test_list_has_every_field_of_redis(t):
    oracle = start_oracle(t)
    with oracle.client() as conn:
        theirs = listed(conn)[0]
    ours = listed(t.client())[0]
    lacking = [name for name in theirs if name not in ours]
    assert not lacking, f"CLIENT LIST lacks {lacking}"
    oracle.stop()


@case(workers=(1, 4))
def test_names(t):
    conn = t.client()
    assert conn.must("CLIENT", "GETNAME") in (None, b"")
    assert conn.must("CLIENT", "SETNAME", "some-name") == b"OK"
    assert conn.must("CLIENT", "GETNAME") == b"some-name"
    for bad in ("with space", "new\nline", "ctrl\x01"):
        assert conn("CLIENT", "SETNAME", bad) == \
            b"ERR Client names cannot contain spaces, newlines or special characters."
    assert conn.must("CLIENT", "GETNAME") == b"some-name"
    conn.must("CLIENT", "SETNAME", "")
    assert conn.must("CLIENT", "GETNAME") in (None, b"")
    assert conn("CLIENT", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."
    assert conn.must("CLIENT", "GETREDIR") == -1


@case(workers=(1, 4), pollux=True)
def test_setinfo_and_no_touch(t):
    """CLIENT SETINFO and NO-TOUCH came with Redis 7.2."""
    conn = t.client()
    assert conn.must("CLIENT", "SETINFO", "LIB-NAME", "mylib") == b"OK"
    assert conn.must("CLIENT", "SETINFO", "lib-ver", "1.2.3") == b"OK"
    row = fields_of(conn.must("CLIENT", "INFO"))
    assert row["lib-name"] == "mylib" and row["lib-ver"] == "1.2.3", row
    reply = conn("CLIENT", "SETINFO", "lib-name", "my lib")
    assert isinstance(reply, Err) and \
        reply.endswith(b"lib-name cannot contain spaces, newlines or special characters."), reply
    assert conn("CLIENT", "SETINFO", "WHAT", "x") == b"ERR Unrecognized option 'WHAT'"
    assert conn.must("CLIENT", "NO-TOUCH", "ON") == b"OK"
    assert "T" in fields_of(conn.must("CLIENT", "INFO"))["flags"]
    assert conn.must("CLIENT", "NO-TOUCH", "OFF") == b"OK"
    assert conn("CLIENT", "NO-TOUCH", "MAYBE") == b"ERR syntax error"


@case(workers=(1, 4), pollux=True)
def test_no_touch_leaves_the_access_time(t):
    conn, quiet = t.client(), t.client()
    names = KeyNames("idle:").spread(4)
    conn.must("MSET", *[item for name in names for item in (name, "v")])
    quiet.must("CLIENT", "NO-TOUCH", "ON")
    poll(lambda: all(conn.must("OBJECT", "IDLETIME", name) >= 2 for name in names), 15,
         step_s=0.1, what="idle time")
    for name in names:
        quiet.must("GET", name)
        assert conn.must("OBJECT", "IDLETIME", name) >= 2
        quiet.must("TOUCH", name)
        assert conn.must("OBJECT", "IDLETIME", name) <= 1


@case(workers=(1, 4))
def test_no_evict(t):
    conn = t.client()
    assert conn.must("CLIENT", "NO-EVICT", "ON") == b"OK"
    assert "e" in fields_of(conn.must("CLIENT", "INFO"))["flags"]
    assert conn.must("CLIENT", "NO-EVICT", "OFF") == b"OK"
    assert fields_of(conn.must("CLIENT", "INFO"))["flags"] == "N"
    assert conn("CLIENT", "NO-EVICT", "x") == b"ERR syntax error"


@case(workers=(1, 4), drivers="each")
def test_kill_filters(t):
    server = t.start()
    control = t.connect(server)
    control_id = control.must("CLIENT", "ID")

    def victims(count):
        conns = [t.connect(server) for _ in range(count)]
        return conns, [conn.must("CLIENT", "ID") for conn in conns]

    def all_closed(conns):
        for conn in conns:
            assert conn.closed_within(10)
        poll(lambda: len(listed(control)) == 1, 10, what="only the controlling client left")

    conns, ids = victims(3)
    assert control.must("CLIENT", "KILL", "ID", ids[1]) == 1
    assert conns[1].closed_within(10)
    assert conns[0].must("PING") == b"PONG"
    host, port = conns[0].sock.getsockname()
    assert control.must("CLIENT", "KILL", "ADDR", f"{host}:{port}") == 1
    host, port = conns[2].sock.getsockname()
    assert control.must("CLIENT", "KILL", f"{host}:{port}") == b"OK"
    all_closed(conns)

    conns, ids = victims(5)
    assert control.must("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == 5
    all_closed(conns)
    conns, ids = victims(5)
    assert control.must("CLIENT", "KILL", "LADDR", f"{server.host}:{server.port}") == 5
    all_closed(conns)
    conns, ids = victims(5)
    assert control.must("CLIENT", "KILL", "USER", "default", "ID", ids[2]) == 1
    assert control.must("CLIENT", "KILL", "USER", "default") == 4
    all_closed(conns)

    assert control.must("CLIENT", "KILL", "ID", 999999) == 0
    assert control.must("CLIENT", "KILL", "TYPE", "pubsub") == 0
    assert control.must("CLIENT", "KILL", "ID", control_id) == 0
    assert control("CLIENT", "KILL", "1.2.3.4:5") == b"ERR No such client"
    assert control("CLIENT", "KILL", "ID", "x") == b"ERR client-id should be greater than 0"
    assert control("CLIENT", "KILL", "TYPE", "x") == b"ERR Unknown client type 'x'"
    assert control("CLIENT", "KILL", "USER", "nobody") == b"ERR No such user 'nobody'"
    assert control("CLIENT", "KILL", "SKIPME", "maybe") == b"ERR syntax error"
    assert control("CLIENT", "KILL", "ID") == b"ERR No such client"  # the old form: an address
    assert control("CLIENT", "KILL", "ID", control_id, "TYPE") == b"ERR syntax error"
    # The last one closes itself, after its reply.
    control.send("CLIENT", "KILL", "ID", control_id, "SKIPME", "no")
    assert control.read() == 1
    assert control.closed_within(10)
    server.stop()


@case(workers=(1, 4))
def test_killed_in_the_middle_of_things(t):
    """Clients with queued commands, watches, and unread replies end without a trace."""
    server = t.start()
    control = t.connect(server)
    control.must("SET", "big", "x" * 1_000_000)
    names = KeyNames("kill:").spread(8)
    for _ in range(3):
        conns = [server.client(recv_buffer=4096) for _ in range(20)]
        for number, conn in enumerate(conns):
            conn.must("WATCH", *names)
            if number % 2:
                conn.raw(encode("MULTI") + encode("MGET", *names))
            else:
                conn.raw(encode("GET", "big") * 20 + encode("MSET", *names * 2))
        ids = [row["id"] for row in listed(control) if row["cmd"] != "client|list"]
        for number in ids:
            control.must("CLIENT", "KILL", "ID", number)
        poll(lambda: len(listed(control)) == 1, 10, what="only the controlling client left")
        for conn in conns:
            conn.close()
    control.must("MSET", *[item for name in names for item in (name, 1)])
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_pause(t):
    conn, writer = t.client(), t.client()
    names = KeyNames("pause:").spread(4)
    # WRITE: reads go on, writes wait; UNPAUSE lets them go.
    assert conn.must("CLIENT", "PAUSE", 60000, "WRITE") == b"OK"
    assert writer.must("MGET", *names) == [None] * 4
    writer.send("MSET", *[item for name in names for item in (name, 1)])
    assert not writer.has_reply(0.15)
    assert conn.must("GET", names[0]) is None
    assert conn.must("CLIENT", "UNPAUSE") == b"OK"
    assert writer.read() == b"OK"
    # ALL: everything waits until the time is over.
    began = time.monotonic()
    conn.must("CLIENT", "PAUSE", 300)
    assert writer.must("PING") == b"PONG"
    took = time.monotonic() - began
    assert took >= 0.28, f"a pause of 300 ms held PING for {took * 1000:.0f} ms"
    assert conn("CLIENT", "PAUSE", "x") == b"ERR timeout is not an integer or out of range"
    assert conn("CLIENT", "PAUSE", -1) == b"ERR timeout is negative"
    assert conn("CLIENT", "PAUSE", 1, "SOME") == b"ERR CLIENT PAUSE mode must be WRITE or ALL"


@case(workers=(1, 4))
def test_pause_holds_exec_with_writes_and_keeps_order(t):
    conn, writer = t.client(), t.client()
    a, b = KeyNames("hold:").spread(2)
    conn.must("CLIENT", "PAUSE", 60000, "WRITE")
    writer.raw(b"".join(encode(*command) for command in [
        ("GET", a), ("MULTI",), ("SET", a, 1), ("GET", a), ("EXEC",), ("SET", b, 2), ("GET", b)]))
    assert writer.read() is None
    assert conn.must("MGET", a, b) == [None, None]
    conn.must("CLIENT", "UNPAUSE")
    assert [writer.read() for _ in range(6)] == [
        b"OK", b"QUEUED", b"QUEUED", [b"OK", b"1"], b"OK", b"2"]


@case(workers=(1, 4))
def test_pause_stops_expiry(t):
    """While writes are paused nothing leaves the dataset, and what has expired is not seen."""
    conn = t.client()
    names = KeyNames("still:").spread(8)
    conn.pipe([("SET", name, 1, "PX", 60) for name in names])
    conn.must("CLIENT", "PAUSE", 60000, "WRITE")
    before = conn.must("DBSIZE")
    poll(lambda: conn.must("MGET", *names) == [None] * 8, 5, what="deadlines")
    assert conn.must("DBSIZE") == before
    conn.must("CLIENT", "UNPAUSE")
    poll(lambda: conn.must("DBSIZE") == 0, 10, what="an empty database")


@case(workers=(1, 4))
def test_reply_modes(t):
    conn = t.client()
    a, b = KeyNames("reply:").spread(2)
    conn.raw(b"".join(encode(*command) for command in [
        ("CLIENT", "REPLY", "OFF"), ("SET", a, 1), ("SET", b, 2), ("NOSUCH",), ("MGET", a, b),
        ("CLIENT", "REPLY", "ON"), ("MGET", a, b),
        ("CLIENT", "REPLY", "SKIP"), ("MGET", a, b), ("GET", b)]))
    assert [conn.read() for _ in range(3)] == [b"OK", [b"1", b"2"], b"2"]
    assert not conn.has_reply(0.05)
    assert conn("CLIENT", "REPLY", "LOUD") == b"ERR syntax error"


@case(workers=(1, 4))
def test_unblock(t):
    conn = t.client()
    assert conn.must("CLIENT", "UNBLOCK", conn.must("CLIENT", "ID")) == 0
    assert conn.must("CLIENT", "UNBLOCK", 999999, "ERROR") == 0
    assert isinstance(conn("CLIENT", "UNBLOCK", "x"), Err)
    assert conn("CLIENT", "UNBLOCK", 1, "WHAT") == \
        b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"


@case(workers=(1,))
def test_help(t):
    lines = t.client().must("CLIENT", "HELP")
    for word in (b"GETNAME", b"ID", b"INFO", b"KILL", b"LIST", b"UNPAUSE", b"PAUSE", b"REPLY",
                 b"SETNAME", b"UNBLOCK", b"NO-EVICT", b"GETREDIR"):
        assert any(line.startswith(word) for line in lines), word
