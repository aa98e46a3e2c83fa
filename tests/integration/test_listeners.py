"""Where the server listens: addresses, unix sockets, protected mode."""
import ctypes
import os
import stat
import threading

from harness.resp import Closed, Conn
from harness.runner import case
from harness.server import StartFailed, poll


@case(workers=(1, 4), drivers="each")
def test_several_addresses(t):
    """IPv4, IPv6, and one with '-' that this machine does not have."""
    server = t.start({"bind": ["127.0.0.1", "::1", "-203.0.113.7", "127.0.0.2"]})
    for host in ("127.0.0.1", "::1", "127.0.0.2"):
        with Conn((host, server.port)) as conn:
            assert conn.must("PING") == b"PONG"
            line = conn.must("CLIENT", "INFO").decode()
            wanted = f"[{host}]" if ":" in host else host
            assert f"laddr={wanted}:{server.port}" in line, line
    try:
        Conn(("127.0.0.3", server.port), timeout=1).close()
        raise AssertionError("answers on an address that was not named")
    except OSError:
        pass
    server.stop()


@case(workers=(1,))
def test_all_addresses(t):
    server = t.start({"bind": ["*", "-::*"]})
    for host in ("127.0.0.1", "127.0.0.9", "::1"):
        with Conn((host, server.port)) as conn:
            assert conn.must("PING") == b"PONG"
    server.stop()


@case(workers=(1,))
def test_nothing_to_listen_on(t):
    try:
        server = t.start({"bind": ["203.0.113.7"]})
    except StartFailed as failure:
        assert failure.status == 1, failure
        assert "203.0.113.7" in failure.output, failure
    else:
        raise AssertionError(f"started on {server.address}")


@case(workers=(1, 4), drivers="each")
def test_unix_socket(t):
    path = os.path.join(t.temp_dir(), "server.sock")
    server = t.start({"unixsocket": path, "unixsocketperm": "700"})
    mode = os.stat(path)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o700, oct(mode.st_mode)
    conns = [Conn(path) for _ in range(20)]
    try:
        for number, conn in enumerate(conns):
            assert conn.must("SET", f"unix:{number}", number) == b"OK"
        assert conns[0].must("DBSIZE") == 20
        line = conns[3].must("CLIENT", "INFO").decode()
        assert f"addr={path}:0" in line and "flags=U" in line, line
    finally:
        for conn in conns:
            conn.close()
    server.stop()
    assert not os.path.exists(path), "the socket's name is left behind"


@case(workers=(1,))
def test_unix_socket_alone_and_stale_name(t):
    """port 0 leaves only the unix socket; a name left by a killed server is taken over."""
    directory = t.temp_dir()
    path = os.path.join(directory, "server.sock")
    for _ in range(2):
        server = t.start({"port": "0", "unixsocket": path}, wait=False)
        server.address = path
        server.wait_ready()
        with Conn(path) as conn:
            assert conn.must("PING") == b"PONG"
        try:
            Conn(("127.0.0.1", server.port), timeout=1).close()
            raise AssertionError("listens on TCP with port 0")
        except OSError:
            pass
        server.process.kill()
        server.wait()
        assert os.path.exists(path)


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def in_netns_of(pid, function):
    """Runs `function` in a thread inside the network namespace of a process."""
    result = []

    def body():
        try:
            with open(f"/proc/{pid}/ns/net", "rb") as namespace:
                if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(function())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(60)
    assert result, "no result from the namespace"
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


OUTSIDE = "10.77.0.1"


@case(workers=(1, 4))
def test_protected_mode(t):
    """Without a password, on all addresses: only loopback is served. Needs root (own netns)."""
    assert os.geteuid() == 0, "this test makes a network namespace and needs root"
    setup = ("unshare", "-n", "sh", "-c",
             f"ip link set lo up && ip addr add {OUTSIDE}/32 dev lo && exec \"$@\"", "sh")
    server = t.start({"bind": ["*", "-::*"]}, wait=False, prefix=setup)

    def ready():
        assert server.alive(), server.output()
        try:
            with Conn(("127.0.0.1", server.port)) as conn:
                return conn("PING") == b"PONG"
        except (OSError, Closed):
            return False

    def scenario():
        poll(ready, 20, what="server in the namespace")
        with Conn((OUTSIDE, server.port)) as conn:
            text = conn.read()
            assert text.startswith(b"DENIED "), text
            assert t.as_redis is False or b"protected mode" in text, text
            assert conn.closed_within(5)
        with Conn(("127.0.0.1", server.port)) as conn:
            conn.must("CONFIG", "SET", "protected-mode", "no")
            with Conn((OUTSIDE, server.port)) as outside:
                assert outside.must("PING") == b"PONG"
            conn.must("CONFIG", "SET", "protected-mode", "yes", "requirepass", "secret")
            with Conn((OUTSIDE, server.port)) as outside:
                assert outside("PING") == b"NOAUTH Authentication required."
                assert outside.must("AUTH", "secret") == b"OK"
        return True

    # The namespace of the process is the new one only once unshare has run.
    poll(lambda: os.readlink(f"/proc/{server.process.pid}/ns/net")
         != os.readlink("/proc/self/ns/net"), 10, what="a namespace of its own")
    assert in_netns_of(server.process.pid, scenario)
    server.stop()
