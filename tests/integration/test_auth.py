"""requirepass, AUTH, HELLO AUTH, and what a connection may do before."""
from harness.resp import Closed, Conn
from harness.runner import case

NOAUTH = b"NOAUTH Authentication required."
WRONGPASS = b"WRONGPASS invalid username-password pair or user is disabled."


@case(workers=(1, 4))
def test_password(t):
    server = t.start({"requirepass": "secret"}, protocol_password="secret")
    with Conn(server.address) as conn:
        for command in (("PING",), ("GET", "k"), ("MULTI",), ("CONFIG", "GET", "*"), ("INFO",),
                        ("SHUTDOWN",), ("DEBUG", "SLEEP", "0"), ("CLIENT", "ID")):
            assert conn(*command) == NOAUTH, command
        assert conn("NOSUCH").startswith(b"ERR unknown command") or t.as_redis
        assert conn("AUTH", "wrong") == WRONGPASS
        assert conn("AUTH", "nobody", "secret") == WRONGPASS
        assert conn("AUTH", "default", "wrong") == WRONGPASS
        assert conn("PING") == NOAUTH
        assert conn("AUTH") == b"ERR wrong number of arguments for 'auth' command"
        assert conn("AUTH", "secret") == b"OK"
        assert conn("PING") == b"PONG"
        # A failed AUTH afterwards does not log out; RESET does.
        assert conn("AUTH", "wrong") == WRONGPASS
        assert conn("PING") == b"PONG"
        assert conn("RESET") == b"RESET"
        assert conn("PING") == NOAUTH
        assert conn("AUTH", "default", "secret") == b"OK"
    with Conn(server.address) as conn:
        assert conn("QUIT") == b"OK"
        assert conn.closed_within(5)
    server.stop()


@case(workers=(1, 4))
def test_hello(t):
    server = t.start({"requirepass": "secret"}, protocol_password="secret")
    with Conn(server.address) as conn:
        reply = conn("HELLO", 3)
        assert reply.startswith(b"NOAUTH HELLO must be called with the client already"), reply
        assert conn("HELLO", 3, "AUTH", "default", "wrong") == WRONGPASS
        assert conn("PING") == NOAUTH
        reply = conn.must("HELLO", 3, "AUTH", "default", "secret", "SETNAME", "me")
        assert isinstance(reply, dict), reply
        assert reply[b"server"] == b"redis" and reply[b"proto"] == 3, reply
        assert reply[b"mode"] == b"standalone" and reply[b"role"] == b"master", reply
        assert reply[b"modules"] == [] and isinstance(reply[b"id"], int), reply
        assert reply[b"id"] == conn.must("CLIENT", "ID")
        assert conn.must("CLIENT", "GETNAME") == b"me"
        assert conn.must("GET", "absent") is None
        reply = conn.must("HELLO", 2)
        assert isinstance(reply, list) and reply[0] == b"server", reply
        for bad in ((4,), (1,), ("x",)):
            reply = conn("HELLO", *bad)
            assert reply == (b"NOPROTO unsupported protocol version" if bad != ("x",) else
                             b"ERR Protocol version is not an integer or out of range"), reply
        assert conn("HELLO", 3, "SETNAME", "a b").startswith(b"ERR Client names cannot contain")
        assert conn("HELLO", 3, "WHAT") == b"ERR Syntax error in HELLO option 'WHAT'"
    server.stop()


@case(workers=(1, 4))
def test_password_changed_while_running(t):
    server = t.start()
    conn = t.connect(server)
    assert conn("AUTH", "x").startswith(b"ERR AUTH <password> called without any password")
    conn.must("CONFIG", "SET", "requirepass", "later")
    assert conn.must("PING") == b"PONG", "a connection stays logged in"
    with Conn(server.address) as other:
        assert other("PING") == NOAUTH
        assert other("AUTH", "later") == b"OK"
        conn.must("CONFIG", "SET", "requirepass", "")
    with Conn(server.address) as other:
        assert other("PING") == b"PONG"
    server.stop()


@case(workers=(1, 4))
def test_limits_before_authentication(t):
    """Ten arguments, 16 KiB of bulk, and a protocol error closes."""
    server = t.start({"requirepass": "secret"}, protocol_password="secret")

    def answer(data):
        with Conn(server.address) as conn:
            conn.raw(data)
            reply = conn.read()
            return reply, conn.closed_within(5)

    assert answer(b"*11\r\n") == (b"ERR Protocol error: unauthenticated multibulk length", True)
    assert answer(b"*1000000\r\n") == (
        b"ERR Protocol error: unauthenticated multibulk length", True)
    assert answer(b"*2\r\n$4\r\nECHO\r\n$16385\r\n") == (
        b"ERR Protocol error: unauthenticated bulk length", True)
    with Conn(server.address) as conn:
        conn.raw(b"*2\r\n$4\r\nECHO\r\n$16384\r\n" + b"x" * 16384 + b"\r\n")
        assert conn.read() == NOAUTH
        conn.must("AUTH", "secret")
        conn.raw(b"*2\r\n$4\r\nECHO\r\n$16385\r\n" + b"x" * 16385 + b"\r\n")
        assert len(conn.read()) == 16385
        assert conn.must("MSET", *["k"] * 20) == b"OK"
    server.stop()


@case(workers=(1, 4))
def test_unread_refusals_are_bounded(t):
    """A client that never logs in nor reads is cut off, or at least its replies stay bounded."""
    server = t.start({"requirepass": "secret"}, protocol_password="secret")
    before = server.rss_bytes()
    with Conn(server.address, recv_buffer=4096, timeout=1.0) as conn:
        data = b"*1\r\n$4\r\nPING\r\n" * 20000
        try:
            for _ in range(100):
                conn.raw(data)
        except (TimeoutError, ConnectionError, Closed):
            pass
        grown = server.rss_bytes() - before
        t.note(f"RSS grew by {grown >> 10} KB")
        assert grown < 16 << 20 or not t.rss_counts, f"RSS grew by {grown >> 20} MB"
    with server.client() as conn:
        assert conn.must("PING") == b"PONG"
    server.stop()


@case(workers=(1,))
def test_password_is_not_shown_in_monitor_or_slowlog(t):
    server = t.start({"requirepass": "topsecret", "slowlog-log-slower-than": "0"},
                     protocol_password="topsecret")
    conn, monitor = t.connect(server), t.connect(server)
    monitor.must("MONITOR")
    with Conn(server.address) as other:
        other.must("AUTH", "topsecret")
        other.must("HELLO", 2, "AUTH", "default", "topsecret")
        conn.must("CONFIG", "SET", "requirepass", "topsecret")
        conn.must("ECHO", "end")
    lines = b""
    while b"end" not in lines:
        lines += monitor.read()
    assert b"topsecret" not in lines, lines
    assert b"topsecret" not in repr(conn.must("SLOWLOG", "GET", -1)).encode()
    server.stop()
