"""A worker whose loop does not turn: it is told and counted, and ends the server if that was asked for."""
import contextlib
import os
import re
import signal
import socket
import time

from harness.resp import Conn, encode
from harness.runner import case
from harness.server import poll

CONNECTIONS = 64  # so many on one worker of two: never


def figures(conn, name):
    text = conn.must("INFO", "workers").decode()
    return [int(part.partition("=")[2]) for line in text.split("\r\n") for part in line.split(",")
            if part.startswith(name + "=")]


def worker_of(conn):
    """The number of the worker that serves a connection, while nobody else asks for anything."""
    before, after = figures(conn, "commands"), figures(conn, "commands")
    (number,) = [i for i, count in enumerate(before) if after[i] != count]
    return number


def start(t, directives=None, **options):
    """A server with a socket that leads to every worker, also where the network leads to one only."""
    path = os.path.join(t.temp_dir(), "server.sock")
    return t.start({**(directives or {}), "unixsocket": path}, **options)


def another_worker(server, t, first):
    """A connection of another worker than that of `first`."""
    for _ in range(CONNECTIONS):
        other = Conn(server.directives["unixsocket"])
        t.cleanup(other.close)
        if worker_of(other) != worker_of(first):
            return other
    raise AssertionError(f"{CONNECTIONS} connections, and all of one worker")


def hang(server, t, seconds):
    """Has one worker sleep; returns the connection that waits for it and one of another worker."""
    sleeper = t.connect(server)
    other = another_worker(server, t, sleeper)
    number = worker_of(sleeper)
    taken = figures(other, "loans_taken")[number]
    sleeper.raw(encode("DEBUG", "SLEEP", seconds))
    # It borrows all slots for that, and runs in the turn that counts the loan.
    poll(lambda: figures(other, "loans_taken")[number] > taken, 20, what="the worker sleeps")
    return sleeper, other


@case(workers=(2,), drivers="each", pollux=True)
def test_a_worker_that_hangs_is_told(t):
    server = start(t)
    _, other = hang(server, t, 6)
    poll(lambda: sum(figures(other, "hangs")) == 1 and max(figures(other, "hung_s")) >= 3, 20,
         what="the hang is counted, and its time shown")
    poll(lambda: server.output().count(" hangs: its loop has not turned for ") == 1, 10,
         what="one line in the log")
    poll(lambda: " turns again, after " in server.output(), 20, what="a line about its return")
    poll(lambda: max(figures(other, "hung_s")) == 0, 10, what="nobody hangs any more")
    assert sum(figures(other, "hangs")) == 1
    server.stop()


@case(workers=(2,), drivers="each", pollux=True)
def test_the_watchdog_ends_the_server(t):
    path = os.path.join(t.temp_dir(), "server.pid")
    server = start(t, {"pidfile": path, "worker-watchdog": 300})
    _, other = hang(server, t, 1000)
    other.raw(encode("CONFIG", "SET", "worker-watchdog", 4))  # it may end before it answers
    assert server.wait(30) == 1, server.output()
    assert "worker-watchdog ends the server" in server.output()
    assert not os.path.exists(path), "the pid file is left behind"


@case(workers=(2,), pollux=True)
def test_the_watchdog_does_not_depend_on_what_waits_for_the_worker(t):
    """CONFIG SET port has the control thread wait for every worker: also for the one that hangs."""
    server = start(t, {"worker-watchdog": 300})
    _, other = hang(server, t, 1000)
    other.raw(encode("CONFIG", "SET", "worker-watchdog", 5) + encode("CONFIG", "SET", "port", "0"))
    assert server.wait(30) == 1, server.output()
    assert "worker-watchdog ends the server" in server.output()


@case(workers=(2,), drivers="each", pollux=True)
def test_a_worker_that_hangs_does_not_keep_the_server_from_ending(t):
    waited_ms = []
    for signals in (1, 2):
        server = start(t)
        hang(server, t, 1000)
        for number in range(signals):
            server.signal(signal.SIGTERM)
            poll(lambda: server.output().count("Received SIGTERM") == number + 1, 10,
                 what="the signal was taken")
        assert server.wait(30) == 1, server.output()
        told = re.search(r"hangs, and does not end within (\d+) ms", server.output())
        assert told, server.output()
        waited_ms.append(int(told[1]))
    assert waited_ms[1] < waited_ms[0], "the second signal is in a hurry"


@contextlib.contextmanager
def notified(t):
    """A manager's socket, and the environment that leads a server to it."""
    path = os.path.join(t.temp_dir(), "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        yield manager, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}


def await_looks(manager, count):
    for _ in range(count):
        while b"WATCHDOG=1" not in manager.recv(4096):
            pass


def drain(manager):
    manager.setblocking(False)
    try:
        while True:
            manager.recv(4096)
    except BlockingIOError:
        pass
    manager.settimeout(20)


@case(workers=(2,), pollux=True)
def test_a_server_that_stood_still_goes_on(t):
    """Stopped as a whole for longer than worker-watchdog allows; and an idle worker may sleep for as
    long as the shortest limit."""
    with notified(t) as (manager, env):
        server = t.start({"supervised": "systemd", "worker-watchdog": 1}, env=env)
        await_looks(manager, 3)
        server.signal(signal.SIGSTOP)
        time.sleep(5)  # what is tested is that time goes by
        drain(manager)
        server.signal(signal.SIGCONT)
        await_looks(manager, 2)
        server.stop()
        assert "has not turned" not in server.output(), server.output()


@case(workers=(2,), pollux=True)
def test_systemd_hears_nothing_while_a_worker_hangs(t):
    """WATCHDOG=1 each second, if WatchdogSec asks for it, and only while all workers turn."""
    with notified(t) as (manager, env):
        server = start(t, {"supervised": "systemd"}, env=env)
        await_looks(manager, 2)
        _, other = hang(server, t, 8)
        poll(lambda: sum(figures(other, "hangs")) == 1, 20, what="the hang is counted")
        drain(manager)
        manager.settimeout(2.5)  # what is waited for is that nothing comes
        try:
            told = manager.recv(4096)
            assert told == b"WATCHDOG=1" and max(figures(other, "hung_s")) == 0, \
                f"{told} while a worker hangs"
        except TimeoutError:
            manager.settimeout(20)
            assert b"WATCHDOG=1" in manager.recv(4096)
        server.stop()
