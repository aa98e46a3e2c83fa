"""Settings with values that overflow later, and the moment in which a unix socket appears."""
import os
import stat
import threading

from harness.resp import Conn, Closed, Err
from harness.runner import case
from harness.server import poll
from watch import Watch

LIMITS = ["9223372036854775807", "9223372036854775808", "18446744073709551615", "-1", "0",
          "4294967296", "1099511627776gb"]


@case(workers=(1, 4))
def test_giant_limits(t):
    """A limit set to the largest number is refused or capped, and then still protects."""
    server = t.start()
    with Watch(t, server, grow_mb=128):
        for name in ("proto-max-bulk-len", "client-query-buffer-limit", "maxmemory",
                     "slowlog-max-len", "latency-monitor-threshold", "timeout", "tcp-keepalive",
                     "slowlog-log-slower-than", "maxclients", "hz"):
            for value in LIMITS:
                if t.as_redis and name == "proto-max-bulk-len":
                    continue  # redis takes the value and is out of memory at the next request
                conn = t.connect(server)
                before = conn.must("CONFIG", "GET", name)
                reply = conn("CONFIG", "SET", name, value)
                assert reply == b"OK" or isinstance(reply, Err), reply
                for request in (b"*2\r\n$4\r\nECHO\r\n$9223372036854775807\r\nabc",
                                b"*2\r\n$4\r\nECHO\r\n$9223372036854775\r\nabc",
                                b"*2147483647\r\n$4\r\nECHO\r\n"):
                    with Conn(server.address) as attacker:
                        try:
                            attacker.raw(request)
                            attacker.has_reply(0.01)
                        except (OSError, Closed):
                            pass
                if reply == b"OK":
                    reply = conn("CONFIG", "SET", name, before[1])
                    assert reply == b"OK", (name, value, before, reply)
                conn.close()
    server.stop()


@case(workers=(1,))
def test_rubbish_in_structured_settings(t):
    server = t.start()
    with Watch(t, server):
        conn = t.connect(server)
        for name, values in [
                ("client-output-buffer-limit", ["normal", "normal 1 2", "nobody 1 2 3",
                                                "normal -1 0 0", "normal x y z", "normal 1 1 1 1",
                                                "normal 99999999999999999999 0 0"]),
                ("latency-tracking-info-percentiles", ["x", "101", "-1", "50 x", "1e400"]),
                ("bind", ["203.0.113.7", "not-an-address", "x" * 300]),
                ("loglevel", ["", "loud"]), ("maxmemory-policy", ["", "x"]),
                ("port", ["-1", "65536", "x"]), ("save", ["x", "1"]),
                ("requirepass", ["x" * 100_000]), ("requirepass", [""])]:
            for value in values:
                reply = conn("CONFIG", "SET", name, value)
                assert reply == b"OK" or isinstance(reply, Err), (name, value, reply)
                overflows_in_redis = t.as_redis and "9" * 20 in value
                if name != "requirepass" and not overflows_in_redis:
                    assert isinstance(reply, Err), f"{name} {value[:40]!r} was taken"
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_unix_socket_is_never_open_to_all(t):
    """From the first moment its name exists, the socket has the permission that was asked for.

    Redis 7.0.15 binds first and changes the mode afterwards, as this test shows when run on it."""
    directory = t.temp_dir()
    path = os.path.join(directory, "server.sock")
    seen, stop = set(), threading.Event()

    def observe():
        while not stop.is_set():
            try:
                seen.add(stat.S_IMODE(os.stat(path).st_mode))
            except OSError:
                pass

    observer = threading.Thread(target=observe, daemon=True)
    observer.start()
    try:
        old = os.umask(0)
        try:
            for _ in range(5):
                server = t.start({"unixsocket": path, "unixsocketperm": "700"})
                poll(lambda: os.path.exists(path), 10, what="the socket")
                server.stop()
        finally:
            os.umask(old)
    finally:
        stop.set()
        observer.join(10)
    assert seen == {0o700}, f"seen with {[oct(mode) for mode in seen]}"
