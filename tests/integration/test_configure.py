"""CONFIG SET of what needs more than a new value: ports, addresses, limits; and the process's end."""
import os
import signal
import socket

from harness.resp import Conn, Err, encode, info_fields
from harness.runner import case
from harness.server import free_ports, poll, run_to_end

PROBLEM = b"ERR CONFIG SET failed (possibly related to argument '%b') - "


def refuses(server, port, host=None):
    try:
        Conn((host or server.host, port), timeout=2).close()
    except OSError:
        return True
    return False


def answers(server, port, host=None):
    with Conn((host or server.host, port), timeout=5) as conn:
        return conn.must("PING") == b"PONG"


@case(workers=(1, 4), drivers="each")
def test_port_moves_while_connections_stay(t):
    server = t.start()
    old = server.port
    staying = [server.client() for _ in range(8)]
    for number, conn in enumerate(staying):
        t.cleanup(conn.close)
        conn.must("SET", f"stay:{number}", number)
    control = staying[0]
    for _ in range(3):
        new = free_ports()
        assert control.must("CONFIG", "SET", "port", new) == b"OK"
        assert control.must("CONFIG", "GET", "port")[1] == str(new).encode()
        for _ in range(12):  # enough to meet every worker
            assert answers(server, new)
        poll(lambda port=old: refuses(server, port), 5, what="the end of the old port")
        old = new
    for number, conn in enumerate(staying):
        assert conn.must("GET", f"stay:{number}") == str(number).encode()
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_port_in_use_changes_nothing(t):
    server = t.start()
    conn = t.connect(server)
    before = conn.must("CONFIG", "GET", "timeout")[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words in (("port", port), ("timeout", 99, "port", port)):
            reply = conn("CONFIG", "SET", *words)
            assert isinstance(reply, Err), reply
            assert reply == PROBLEM % b"port" \
                + b"Unable to listen on this port. Check server logs.", reply
            assert str(port) in server.output() or t.as_redis, server.output()
    assert conn.must("CONFIG", "GET", "port")[1] == str(server.port).encode()
    assert conn.must("CONFIG", "GET", "timeout")[1] == before
    for _ in range(8):
        assert answers(server, server.port)
    server.stop()


@case(workers=(1, 2), drivers="each", pollux=True)
def test_a_worker_that_cannot_listen_changes_nothing(t):
    """A worker has room for 64 listening sockets, and while it changes them the old and the new
    ones are there together: 16 addresses, the port of its core and a unix socket are too many."""
    count = t.workers + 1
    first = free_ports(2 * count)
    second = first + count  # sockets of ports that stay would be kept, and there be room
    addresses = " ".join(f"127.0.0.{number}" for number in range(1, 17))
    server = t.start({"per-core-endpoints": "yes", "bind": addresses, "port": first,
                      "unixsocket": os.path.join(t.temp_dir(), "server.sock")}, port=first)
    conn = t.connect(server)
    names = ("timeout", "loglevel", "maxclients", "client-output-buffer-limit", "port", "bind",
             "tcp-keepalive", "requirepass")
    before = conn.must("CONFIG", "GET", *names)
    reply = conn("CONFIG", "SET", "timeout", 99, "loglevel", "warning", "maxclients", 123,
                 "client-output-buffer-limit", "normal 1mb 1mb 60", "port", second,
                 "tcp-keepalive", 17, "requirepass", "secret")
    assert isinstance(reply, Err) and b"a worker cannot listen" in reply, reply
    assert conn.must("CONFIG", "GET", *names) == before
    for _ in range(8):
        assert answers(server, first) and answers(server, first, "127.0.0.16")
        assert refuses(server, second)
    conn.must("CONFIG", "SET", "bind", "127.0.0.1")
    assert conn.must("CONFIG", "SET", "port", second) == b"OK"
    assert answers(server, second)
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_addresses_come_and_go(t):
    server = t.start()
    conn = t.connect(server)
    port = server.port
    assert refuses(server, port, "127.0.0.2")
    conn.must("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2 -203.0.113.7")
    assert answers(server, port) and answers(server, port, "127.0.0.2")
    conn.must("CONFIG", "SET", "bind", "* -::*")
    for host in ("127.0.0.1", "127.0.0.9", "::1"):
        assert answers(server, port, host)
    reply = conn("CONFIG", "SET", "bind", "203.0.113.7")
    assert reply == PROBLEM % b"bind" + b"Failed to bind to specified addresses.", reply
    assert answers(server, port, "127.0.0.9")
    conn.must("CONFIG", "SET", "bind", "127.0.0.1")
    poll(lambda: refuses(server, port, "127.0.0.9"), 5, what="the end of the other addresses")
    assert answers(server, port)
    server.stop()


@case(workers=(1, 4))
def test_no_port_but_a_unix_socket(t):
    path = os.path.join(t.temp_dir(), "server.sock")
    server = t.start({"unixsocket": path})
    with Conn(path) as conn:
        conn.must("CONFIG", "SET", "port", 0)
        poll(lambda: refuses(server, server.port), 5, what="the end of the port")
        assert conn.must("PING") == b"PONG"
    with Conn(path) as conn:
        assert conn.must("CONFIG", "SET", "port", server.port) == b"OK"
    assert answers(server, server.port)
    server.stop()
    assert not os.path.exists(path)


@case(workers=(2, 4), pollux=True)
def test_core_ports_follow_the_port(t):
    first = free_ports(t.workers + 1)
    server = t.start({"per-core-endpoints": "yes", "port": first}, port=first)
    conn = t.connect(server)
    second = free_ports(t.workers + 1)
    conn.must("CONFIG", "SET", "port", second)
    for core in range(t.workers):
        assert answers(server, second + 1 + core)
        poll(lambda port=first + 1 + core: refuses(server, port), 5,
             what="the end of an old core port")
    with Conn((server.host, second + 1)) as core:
        ports = {node[2][1] for node in core.must("CLUSTER", "SLOTS")}
        assert ports == set(range(second + 1, second + 1 + t.workers)), ports
        keys = [core(*command) for command in (("SET", "a", 1), ("SET", "b", 1), ("SET", "c", 1))]
        for reply in keys:
            assert reply == b"OK" or int(reply.rsplit(b":", 1)[1]) > second + 1, reply
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_transactions_set_and_rewrite(t):
    """As Sentinel sends them: what waits for all workers or for the disk works inside EXEC too."""
    server = t.start(config_text="timeout 5\n")
    conn, other = t.connect(server), t.connect(server)
    port = free_ports()
    replies = conn.pipe([("MULTI",), ("SET", "a", 1), ("CONFIG", "SET", "timeout", 77),
                         ("CONFIG", "SET", "port", port), ("CONFIG", "GET", "timeout"),
                         ("CONFIG", "REWRITE"), ("INCR", "a"), ("CONFIG", "SET", "port", "x"),
                         ("MGET", "a", "b", "c"), ("EXEC",), ("GET", "a")])
    inside = replies[-2]
    assert inside[:6] == [b"OK", b"OK", b"OK", [b"timeout", b"77"], b"OK", 2], inside
    assert inside[6].startswith(PROBLEM % b"port"), inside
    assert inside[7:] == [[b"2", None, None]] and replies[-1] == b"2", replies
    assert conn.must("CONFIG", "GET", "port")[1] == str(port).encode()
    assert answers(server, port)
    with open(os.path.join(server.directory, "test.conf"), encoding="utf-8") as source:
        written = source.read().split("\n")
    assert f"port {port}" in written and "timeout 77" in written, written
    # Whoever leaves before the answer takes nothing down.
    for _ in range(20):
        with Conn((server.host, port)) as leaving:
            leaving.send("MULTI")
            leaving.send("INCR", "a")
            leaving.send("CONFIG", "REWRITE")
            leaving.send("EXEC")
    poll(lambda: info_fields(other.must("INFO", "clients"))["connected_clients"] == "2", 5,
         what="their end")
    assert 2 <= int(other.must("GET", "a")) <= 22
    assert other.must("CONFIG", "SET", "port", server.port) == b"OK"
    server.stop()


@case(workers=(1, 4))
def test_pipelines_go_on_behind_commands_that_wait(t):
    server = t.start(config_text="timeout 5\n")
    conn = t.connect(server)
    commands = []
    for number in range(30):
        commands += [("SET", "n", number), ("CONFIG", "REWRITE"), ("GET", "n"),
                     ("CONFIG", "SET", "timeout", 100 + number)]
    replies = conn.pipe(commands)
    for number in range(30):
        assert replies[4 * number:4 * number + 4] == [b"OK", b"OK", str(number).encode(), b"OK"]
    with open(os.path.join(server.directory, "test.conf"), encoding="utf-8") as source:
        assert "timeout 128" in source.read()
    server.stop()


def keepalive_of(conn, server):
    """Whether the server's end of the connection has a keepalive timer."""
    ours, theirs = conn.sock.getsockname()[1], server.port
    with open("/proc/net/tcp", encoding="ascii") as source:
        for line in source.readlines()[1:]:
            fields = line.split()
            if fields[1].endswith(f":{theirs:04X}") and fields[2].endswith(f":{ours:04X}"):
                return fields[5].startswith("02")
    raise AssertionError("the connection is not in /proc/net/tcp")


@case(workers=(1, 4), drivers="each")
def test_keepalive_of_new_connections(t):
    server = t.start({"tcp-keepalive": 0})
    first = t.connect(server)
    first.must("PING")
    assert not keepalive_of(first, server)
    first.must("CONFIG", "SET", "tcp-keepalive", 100)

    def on_every_worker():  # each learns of it by itself; 8 connections are enough to meet all
        conns = [t.connect(server) for _ in range(8)]
        for conn in conns:
            conn.must("PING")
        # A reply that is not acknowledged yet shows another timer.
        return all(keepalive_of(conn, server) for conn in conns)

    poll(on_every_worker, 5, what="eight new connections with keepalive")
    server.stop()


@case(workers=(1, 4))
def test_maxclients_at_run_time(t):
    server = t.start(file_limit=(1000, 1000))
    conn = t.connect(server)
    assert conn.must("CONFIG", "SET", "maxclients", 5) == b"OK"
    held = [server.client() for _ in range(4)]
    for other in held:
        t.cleanup(other.close)
        other.must("PING")
    with server.client() as refused:
        assert refused.read() == b"ERR max number of clients reached"
    with open("/proc/sys/fs/nr_open", encoding="ascii") as source:
        most = int(source.read())
    reply = conn("CONFIG", "SET", "maxclients", most + 1000)
    assert reply.startswith(PROBLEM % b"maxclients"
                            + b"The operating system is not able to handle the specified number "
                            b"of clients, try with "), reply
    assert 0 < int(reply.rsplit(b" ", 1)[1]) <= most
    assert conn.must("CONFIG", "GET", "maxclients")[1] == b"5"
    server.stop()


FORBID_IO_URING = """
import ctypes, os, struct, sys
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
step = lambda code, yes, no, k: struct.pack("HBBI", code, yes, no, k)
code = (step(0x20, 0, 0, 0) + step(0x15, 0, 1, 425)    # io_uring_setup, on every machine
        + step(0x06, 0, 0, 0x00050000 | 1) + step(0x06, 0, 0, 0x7fff0000))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0                 # PR_SET_NO_NEW_PRIVS
program = Program(4, code)
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
os.execv(sys.argv[1], sys.argv[1:])
"""


@case(workers=(1, 4), pollux=True)
def test_epoll_takes_over_where_io_uring_is_forbidden(t):
    server = t.start({"net-driver": "uring"}, prefix=("/usr/bin/python3", "-c", FORBID_IO_URING))
    assert answers(server, server.port)
    lines = [line for line in server.output().splitlines() if "io_uring" in line]
    assert len(lines) == 1 and "epoll" in lines[0], server.output()
    assert "network driver epoll" in server.output()
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_second_signal_ends_at_once(t):
    """The first one waits for a client that does not read, for a moment; the second does not."""
    server = t.start()
    lazy = server.client(recv_buffer=4096)
    t.cleanup(lazy.close)
    lazy.must("SET", "big", "x" * 1_000_000)
    lazy.raw(encode("GET", "big") * 60)
    assert lazy.sock.recv(1, socket.MSG_PEEK) == b"$"
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGINT)
    assert server.wait() == 1
    assert "ending at once" in server.output(), server.output()
    assert "Some clients do not take their replies" not in server.output(), "it has waited"
    assert not server.alarms(), server.alarms()


@case(workers=(1,), pollux=True)
def test_failed_start_of_a_daemon_is_told(t):
    """The parent's status is that of the start, and the reason reaches its terminal."""
    directory = t.temp_dir()
    server = t.start()
    status, output = run_to_end([t.target.path, "--port", str(server.port), "--bind", "127.0.0.1",
                                 "--daemonize", "yes", "--dir", directory,
                                 "--pidfile", os.path.join(directory, "pid")])
    assert status == 1 and "in use" in output, (status, output)
    assert not os.path.exists(os.path.join(directory, "pid"))
    server.stop()
