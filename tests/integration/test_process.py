"""The server as a process: pid file, logs, signals, shutdown, daemon, systemd."""
import os
import signal
import socket
import time

from harness.load import Crew
from harness.resp import Closed, Conn, Err, encode
from harness.runner import case
from harness.server import Server, free_ports, poll, run_to_end, directive_arguments


def read(path):
    with open(path, "rb") as source:
        return source.read().decode("utf-8", "replace")


@case(workers=(1, 4))
def test_pid_file(t):
    path = os.path.join(t.temp_dir(), "server.pid")
    server = t.start({"pidfile": path})
    assert int(read(path)) == server.process.pid
    server.stop()
    assert not os.path.exists(path), "the pid file is left behind"


@case(workers=(1, 4))
def test_log_file_and_reopening(t):
    directory = t.temp_dir()
    path, moved = os.path.join(directory, "log"), os.path.join(directory, "log.1")
    server = t.start({"logfile": path, "loglevel": "verbose"})
    assert "eady to accept" in read(path) or not t.as_redis, read(path)
    assert read(path).strip(), "nothing was logged at start"
    os.rename(path, moved)
    server.signal(signal.SIGHUP)
    with server.client() as conn:
        assert conn.must("PING") == b"PONG", "SIGHUP must not stop the server"
    if not t.as_redis:
        poll(lambda: os.path.exists(path), 10, what="the log file opened again")
    before = read(moved)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert read(path).strip(), "nothing was logged after the reopening"
    assert read(moved) == before, "the old file was still written to"


@case(workers=(1,))
def test_log_levels(t):
    quiet = t.start({"loglevel": "warning"})
    loud = t.start({"loglevel": "debug"})
    for server in (quiet, loud):
        with server.client() as conn:
            conn.must("PING")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert len(quiet.output()) < len(loud.output())


@case(workers=(1, 4), drivers="each")
def test_sigterm_and_sigint_end_cleanly(t):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = t.start()
        conns = [server.client() for _ in range(8)]
        for place, conn in enumerate(conns):
            conn.raw(b"".join(encode("SET", f"bye:{place}:{n}", "x") for n in range(100)))
        for conn in conns:
            assert conn.read() == b"OK"
        server.signal(number)
        assert server.wait() == 0, server.output()
        for conn in conns:
            # The whole pipeline had been read when its first reply came; its replies are flushed.
            assert [conn.read() for _ in range(99)] == [b"OK"] * 99
            assert conn.closed_within(5)
            conn.close()
        assert not server.alarms(), server.alarms()


@case(workers=(1, 4), drivers="each", pollux=True)
def test_large_replies_are_flushed_at_the_end(t):
    """Replies that do not fit into socket buffers reach a client that reads on."""
    server = t.start()
    with server.client() as conn:
        conn.must("SET", "big", "x" * 1_000_000)
        with server.client(timeout=20) as reader:
            reader.raw(encode("GET", "big") * 4)
            assert len(reader.read()) == 1_000_000
            server.signal(signal.SIGTERM)
            for _ in range(3):
                assert len(reader.read()) == 1_000_000
            assert reader.closed_within(10)
    assert server.wait() == 0


@case(workers=(1, 4))
def test_sigterm_under_load(t):
    """Ends soon and cleanly while clients keep writing, and although one never reads."""
    server = t.start()
    lazy = server.client(recv_buffer=4096)
    lazy.must("SET", "big", "x" * 1_000_000)
    lazy.raw(encode("GET", "big") * 30)
    crew = Crew(t.seed)

    def write(crew, rng, number):
        try:
            with server.client() as conn:
                while crew.going():
                    conn.pipe([("MSET", f"a{rng.random()}", 1, f"b{rng.random()}", 2)] * 20)
                    crew.count("bursts")
        except (Closed, ConnectionError):
            crew.count("cut off")

    def end(crew, _rng, _number):
        poll(lambda: crew.counts.get("bursts", 0) > 50, 20, what="load")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        t.note(f"ended after {(time.monotonic() - began) * 1000:.0f} ms")
        crew.stop.set()

    crew.add(write, 6)
    crew.add(end)
    crew.run(30)
    lazy.close()
    assert not server.alarms(), server.alarms()


@case(workers=(1, 4))
def test_shutdown_command(t):
    for options in ((), ("NOSAVE",), ("NOSAVE", "NOW"), ("NOW", "FORCE", "NOSAVE")):
        server = t.start()
        conn = t.connect(server)
        conn.send("SHUTDOWN", *options)
        assert conn.closed_within(10), options
        assert conn.leftover() == b"", conn.leftover()
        assert server.wait() == 0, options
    server = t.start()
    conn = t.connect(server)
    assert conn("SHUTDOWN", "WHAT") == b"ERR syntax error"
    assert conn("SHUTDOWN", "SAVE", "NOSAVE") == b"ERR syntax error"
    if not t.as_redis:  # whose save would succeed
        assert conn("SHUTDOWN", "SAVE") == b"ERR Errors trying to SHUTDOWN. Check logs."
        assert "there is no persistence yet" in server.output()
    assert conn("SHUTDOWN", "ABORT", "NOW") == b"ERR syntax error"
    assert conn("SHUTDOWN", "ABORT") == b"ERR No shutdown in progress."
    conn.must("MULTI")
    assert isinstance(conn("SHUTDOWN"), Err)
    assert conn("EXEC").startswith(b"EXECABORT")
    assert conn.must("PING") == b"PONG"
    server.stop()


@case(workers=(1, 4))
def test_daemonize(t):
    directory = t.temp_dir()
    port = free_ports()
    directives = {"port": port, "bind": "127.0.0.1", "save": "", "dir": directory,
                  "daemonize": "yes", "pidfile": os.path.join(directory, "pid"),
                  "logfile": os.path.join(directory, "log")}
    if not t.as_redis:
        directives.update({"workers": t.workers, "net-driver": t.driver})
    # The parent's output must end with it: a daemon keeps no terminal open.
    status, output = run_to_end([t.target.path, *directive_arguments(directives)], timeout_s=20)
    pid = None
    try:
        assert status == 0, output

        def connect():
            try:
                return Conn(("127.0.0.1", port))
            except OSError:
                return None
        conn = poll(connect, 20, what="connection to the daemon")
        with conn:
            assert conn.must("PING") == b"PONG"
            pid = int(read(directives["pidfile"]))
            assert f"process_id:{pid}" in conn.must("INFO", "server").decode()
            assert os.getsid(pid) != os.getsid(0), "the daemon shares our session"
            conn.send("SHUTDOWN", "NOSAVE")
            assert conn.closed_within(10)
        poll(lambda: not os.path.exists(f"/proc/{pid}") or zombie(pid), 10, what="end")
        assert not os.path.exists(directives["pidfile"])
    finally:
        if pid is None and os.path.exists(directives["pidfile"]):
            pid = int(read(directives["pidfile"]))
        if pid and os.path.exists(f"/proc/{pid}") and not zombie(pid):
            os.kill(pid, signal.SIGKILL)


def zombie(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@case(workers=(1, 4))
def test_supervised_by_systemd(t):
    """READY=1 reaches NOTIFY_SOCKET when the server serves."""
    path = os.path.join(t.temp_dir(), "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        server = t.start({"supervised": "systemd"}, env={"NOTIFY_SOCKET": path})
        messages = b""
        while b"READY=1" not in messages:
            messages += manager.recv(4096) + b"\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        if not t.as_redis:
            while b"STOPPING=1" not in messages:
                messages += manager.recv(4096) + b"\n"


@case(workers=(1,))
def test_supervised_by_systemd_in_the_abstract_namespace(t):
    name = f"pollux-notify-{os.getpid()}-{t.rng.randrange(1 << 30)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)
        server = t.start({"supervised": "systemd"}, env={"NOTIFY_SOCKET": f"@{name}"})
        messages = b""
        while b"READY=1" not in messages:
            messages += manager.recv(4096) + b"\n"
        server.stop()


@case(workers=(1, 2, 4), drivers="each")
def test_starts_and_ends_many_times(t):
    """A start that ends at once leaves nothing hanging."""
    for _ in range(3 if t.quick else 10):
        server = t.start()
        server.stop()


@case(workers=(1,), pollux=True)
def test_more_workers_than_cores_progress(t):
    server = Server(t.target, {"workers": 12, "net-driver": t.driver})
    t.cleanup(server.kill)
    with server.client() as conn:
        keys = [f"many:{n}" for n in range(500)]
        for _ in range(20):
            conn.must("MSET", *[item for key in keys for item in (key, 1)])
            assert conn.must("MGET", *keys) == [b"1"] * 500
    server.stop()


@case(workers=(1,), pollux=True)
def test_default_number_of_workers_follows_the_affinity(t):
    one = Server(t.target, {"net-driver": t.driver},
                 prefix=("taskset", "-c", str(min(os.sched_getaffinity(0)))))
    t.cleanup(one.kill)
    with one.client() as conn:
        assert len(conn.must("POLLUX", "SLOTS")) == 1
    one.stop()
    every = Server(t.target, {"net-driver": t.driver})
    t.cleanup(every.kill)
    with every.client() as conn:
        assert len(conn.must("POLLUX", "SLOTS")) == len(os.sched_getaffinity(0))
    every.stop()
