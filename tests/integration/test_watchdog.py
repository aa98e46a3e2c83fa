"""A worker whose loop does not turn: it is told and counted, and ends the server if that was asked for."""
import os
import signal
import socket
import time

from harness.resp import encode
from harness.runner import case
from harness.server import poll

CONNECTIONS = 24


def hang(server, t, seconds):
    """Has one worker sleep; returns the connection that waits for it and one of another worker."""
    conns = [server.client(timeout=1.0) for _ in range(CONNECTIONS)]
    for conn in conns:
        t.cleanup(conn.close)
    sleeper = conns[0]
    sleeper.raw(encode("DEBUG", "SLEEP", seconds))
    stuck = 0  # answers that do not come prove that it sleeps by now
    for conn in conns[1:] * 3:
        try:
            conn.must("PING")
            if stuck > 0:
                return sleeper, conn
        except (socket.timeout, TimeoutError):
            stuck += 1
    raise AssertionError(f"{CONNECTIONS} connections, and all of one worker")


def figures(conn, name):
    text = conn.must("INFO", "workers").decode()
    return [int(part.partition("=")[2]) for line in text.split("\r\n") for part in line.split(",")
            if part.startswith(name + "=")]


@case(workers=(2,), drivers="each", pollux=True)
def test_a_worker_that_hangs_is_told(t):
    server = t.start()
    sleeper, other = hang(server, t, 6)
    poll(lambda: sum(figures(other, "hangs")) == 1, 20, what="the hang is counted")
    assert max(figures(other, "hung_s")) >= 3, figures(other, "hung_s")
    poll(lambda: server.output().count(" hangs: its loop has not turned for ") == 1, 10,
         what="one line in the log")
    sleeper.timeout = 20.0
    poll(lambda: " turns again, after " in server.output(), 20, what="a line about its return")
    poll(lambda: max(figures(other, "hung_s")) == 0, 10, what="nobody hangs any more")
    assert sum(figures(other, "hangs")) == 1
    server.stop()


@case(workers=(2,), drivers="each", pollux=True)
def test_the_watchdog_ends_the_server(t):
    path = os.path.join(t.temp_dir(), "server.pid")
    server = t.start({"pidfile": path, "worker-watchdog": 300})
    with server.client() as conn:
        assert conn.must("CONFIG", "SET", "worker-watchdog", 4) == b"OK"
    hang(server, t, 1000)
    assert server.wait(30) == 1, server.output()
    assert "worker-watchdog ends the server" in server.output()
    assert not os.path.exists(path), "the pid file is left behind"


@case(workers=(2,), pollux=True)
def test_the_watchdog_does_not_depend_on_what_waits_for_the_worker(t):
    """CONFIG SET port has the control thread wait for every worker: also for the one that hangs."""
    server = t.start({"worker-watchdog": 5})
    _, other = hang(server, t, 1000)
    other.raw(encode("CONFIG", "SET", "port", "0"))
    assert server.wait(30) == 1, server.output()
    assert "worker-watchdog ends the server" in server.output()


@case(workers=(2,), drivers="each", pollux=True)
def test_a_worker_that_hangs_does_not_keep_the_server_from_ending(t):
    for signals in (1, 2):
        server = t.start()
        hang(server, t, 1000)
        began = time.monotonic()
        for number in range(signals):
            server.signal(signal.SIGTERM)
            poll(lambda: server.output().count("Received SIGTERM") == number + 1, 10,
                 what="the signal was taken")
        assert server.wait(30) == 1, server.output()
        assert "hangs, and does not end within" in server.output()
        assert signals == 1 or time.monotonic() - began < 8, "the second signal is in a hurry"


@case(workers=(2,), pollux=True)
def test_systemd_hears_nothing_while_a_worker_hangs(t):
    """WATCHDOG=1 each second, if WatchdogSec asks for it, and only while all workers turn."""
    path = os.path.join(t.temp_dir(), "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        server = t.start({"supervised": "systemd"},
                         env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
        for _ in range(2):
            while b"WATCHDOG=1" not in manager.recv(4096):
                pass
        _, other = hang(server, t, 8)
        poll(lambda: sum(figures(other, "hangs")) == 1, 20, what="the hang is counted")
        manager.setblocking(False)
        try:
            while True:
                manager.recv(4096)
        except BlockingIOError:
            pass
        manager.settimeout(2.5)  # what is waited for is that nothing comes
        try:
            told = manager.recv(4096)
        except (socket.timeout, TimeoutError):
            told = b""
        assert told == b"", told
        manager.settimeout(20)
        assert b"WATCHDOG=1" in manager.recv(4096)
        server.stop()
