"""CLIENT PAUSE with numbers that overflow, and UNPAUSE while everything is paused."""
import time

from harness.resp import Conn, Err, encode
from harness.runner import case

FAR = [9223372036854775807, 9223372036854775806, 9223372036854775, 4611686018427387904]


@case(workers=(1, 4), pollux=True)
def test_longest_pause(t):
    """Refused, or a pause that really holds; redis says OK and pauses nothing."""
    server = t.start()
    control, writer = t.connect(server), t.connect(server)
    for length in FAR:
        reply = control("CLIENT", "PAUSE", length, "WRITE")
        if isinstance(reply, Err):
            assert writer.must("SET", "k", 1) == b"OK"
            continue
        writer.send("SET", "k", length)
        assert not writer.has_reply(0.1), f"a pause of {length} ms holds nothing"
        assert control.must("CLIENT", "UNPAUSE") == b"OK"
        assert writer.read() == b"OK"
    for length in (9223372036854775808, -1, "x", ""):
        assert isinstance(control("CLIENT", "PAUSE", length), Err), length
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_unpause_while_all_is_paused(t):
    """UNPAUSE is not held back by the pause that it is to end."""
    server = t.start()
    control, other, third = (t.connect(server) for _ in range(3))
    assert control.must("CLIENT", "PAUSE", 30_000, "ALL") == b"OK"
    third.send("PING")
    began = time.monotonic()
    assert other.must("CLIENT", "UNPAUSE") == b"OK"
    assert third.read() == b"PONG"
    assert time.monotonic() - began < 10, "waited for the end of the pause"
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_paused_pipelines_are_bounded(t):
    """While writes are paused clients keep sending: memory stays bounded, nothing is lost."""
    server = t.start()
    control = t.connect(server)
    control.must("CLIENT", "PAUSE", 60_000, "WRITE")
    before = server.rss_bytes()
    conns = [Conn(server.address, timeout=0.3) for _ in range(20)]
    sent = []
    data = encode("APPEND", "k", "x" * 1000)
    try:
        for conn in conns:
            done = 0
            try:
                for _ in range(5000):
                    conn.raw(data)
                    done += 1
            except TimeoutError:
                pass
            sent.append(done)
        grown = server.rss_bytes() - before
        t.note(f"{sum(sent)} commands sent, RSS +{grown >> 20} MB")
        assert grown < 160 << 20 or not t.rss_counts, f"RSS grew by {grown >> 20} MB"
        control.must("CLIENT", "UNPAUSE")
        assert control.must("PING") == b"PONG"
    finally:
        for conn in conns:
            conn.close()
    server.stop()


@case(workers=(1, 4))
def test_pause_and_shutdown(t):
    """A paused server still ends."""
    server = t.start()
    control = t.connect(server)
    control.must("CLIENT", "PAUSE", 60_000, "WRITE")
    writer = t.connect(server)
    writer.send("SET", "k", 1)
    server.stop()
