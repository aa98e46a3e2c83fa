"""maxclients, file descriptors, idle clients, output buffers, query buffers."""
import time

from harness.resp import Closed, Conn, encode, info_fields
from harness.runner import case
from harness.server import StartFailed, poll

FULL = b"ERR max number of clients reached"


@case(workers=(1, 4), drivers="each")
def test_maxclients(t):
    server = t.start({"maxclients": "10"})
    conns = []
    try:
        for _ in range(10):
            conns.append(server.client())
            assert conns[-1].must("PING") == b"PONG"
        for _ in range(5):
            with Conn(server.address) as refused:
                assert refused.read() == FULL
                assert refused.closed_within(5)
        info = info_fields(conns[0].must("INFO", "everything"))
        assert int(info["connected_clients"]) == 10 and int(info["rejected_connections"]) == 5
        assert info["maxclients"] == "10"
        conns.pop().close()
        poll(lambda: connects(server), 10, what="place for a client again")
        conns[0].must("CONFIG", "SET", "maxclients", 12)
        for _ in range(2):
            conns.append(server.client())
            assert conns[-1].must("PING") == b"PONG"
    finally:
        for conn in conns:
            conn.close()
    server.stop()


def connects(server):
    try:
        with server.client() as conn:
            return conn("PING") == b"PONG"
    except (OSError, Closed):
        return False


@case(workers=(1, 4))
def test_few_descriptors_lower_maxclients(t):
    server = t.start({"maxclients": "5000"}, file_limit=(300, 300))
    with server.client() as conn:
        allowed = int(conn.must("CONFIG", "GET", "maxclients")[1])
    assert 50 <= allowed < 300, allowed
    assert "maxclients" in server.output(), server.output()
    conns = []
    try:
        for _ in range(allowed):
            conns.append(server.client())
            assert conns[-1].must("PING") == b"PONG", len(conns)
        with Conn(server.address) as refused:
            assert refused.read() == FULL
    finally:
        for conn in conns:
            conn.close()
    poll(lambda: connects(server), 10, what="place for a client again")
    server.stop()


@case(workers=(1,))
def test_far_too_few_descriptors_refuse_to_start(t):
    try:
        server = t.start({"maxclients": "100"}, file_limit=(20, 20))
    except StartFailed as failure:
        assert failure.status == 1, failure
        if not t.as_redis:
            assert "open files" in failure.output, failure
    else:
        raise AssertionError(f"started with 20 descriptors at {server.address}")


@case(workers=(1,))
def test_soft_limit_is_raised(t):
    """A low soft limit under a high hard limit is no reason to lower maxclients."""
    server = t.start({"maxclients": "3000"}, file_limit=(256, 8000))
    with server.client() as conn:
        assert conn.must("CONFIG", "GET", "maxclients")[1] == b"3000"
    server.stop()


@case(workers=(1, 4))
def test_timeout_closes_idle_clients(t):
    server = t.start({"timeout": "1"})
    idle = [server.client() for _ in range(4)]
    busy = server.client()
    try:
        for conn in idle:
            conn.must("PING")
        began = time.monotonic()

        def gone():
            busy.must("PING")
            return int(info_fields(busy.must("INFO", "clients"))["connected_clients"]) == 1
        poll(gone, 10, what="idle clients closed", step_s=0.05)
        took = time.monotonic() - began
        assert took > 0.8, f"closed after {took:.2f} s of idleness"
        t.note(f"closed after {took:.1f} s")
        for conn in idle:
            assert conn.closed_within(1)
        busy.must("CONFIG", "SET", "timeout", 0)
    finally:
        for conn in idle + [busy]:
            conn.close()
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_output_buffer_limit_of_normal_clients(t):
    """A client that does not read is closed once its hard limit is passed."""
    server = t.start({"client-output-buffer-limit": ["normal", "1mb", "0", "0"]})
    control = t.connect(server)
    control.must("SET", "big", "x" * 300_000)
    with Conn(server.address, recv_buffer=4096, timeout=2.0) as slow:
        try:
            slow.raw(encode("GET", "big") * 200)
        except (TimeoutError, ConnectionError):
            pass
        def names():
            return control.must("CLIENT", "LIST").count(b"\n")

        if t.as_redis:
            poll(lambda: names() == 1, 10, what="slow client closed")
        else:
            # Back-pressure may hold the parser below the limit; memory is what must stay bounded.
            assert server.rss_bytes() < 200 << 20 or not t.rss_counts
    assert control.must("PING") == b"PONG"
    poll(lambda: names() == 1, 10, what="slow client gone")
    server.stop()


@case(workers=(1, 4))
def test_query_buffer_limit(t):
    """An unfinished command may not grow beyond client-query-buffer-limit."""
    server = t.start({"client-query-buffer-limit": "2mb"})
    control = t.connect(server)
    with Conn(server.address, timeout=5.0) as conn:
        closed = False
        try:
            conn.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000000\r\n")
            for _ in range(100):
                conn.raw(b"x" * 100_000)
            closed = conn.closed_within(5)
        except (ConnectionError, Closed):
            closed = True
        except TimeoutError:
            pass
        assert closed, "10 MB of an unfinished command were taken"
    assert control.must("PING") == b"PONG"
    server.stop()
