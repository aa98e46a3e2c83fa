"""Very many clients: idle, half-sent, slow, coming and going."""
import resource

from harness.load import Crew
from harness.resp import Conn, encode, info_fields
from harness.runner import case
from harness.server import poll
from harness.slots import KeyNames
from watch import Watch


def crowd_size(t):
    return 1000 if t.quick else 10_000


def allow_descriptors(count):
    """Raises this process's limit; the test fails where that is not allowed."""
    wanted = count + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def crowd(t, server, count):
    """`count` connections, closed when the test ends."""
    conns = []
    t.cleanup(lambda: [conn.close() for conn in conns])
    for _ in range(count):
        conns.append(Conn(server.address, timeout=30))
    return conns


def connected(control):
    return int(info_fields(control.must("INFO", "clients"))["connected_clients"])


def roomy(t, count, directives=None):
    return t.start({"maxclients": str(count + 100), **(directives or {})},
                   file_limit=(count + 1000, max(count + 1000, 20_000)))


@case(workers=(1, 4), drivers="each", timeout=180)
def test_idle_crowd(t):
    count = crowd_size(t)
    allow_descriptors(count)
    server = roomy(t, count)
    # A connection that waits holds no receive buffer.
    with Watch(t, server, grow_mb=32 + count * 24 // 1024):
        conns = crowd(t, server, count)
        for number, conn in enumerate(conns):
            conn.send("SET", f"idle:{number}", number)
        for conn in conns:
            assert conn.read() == b"OK"
        with server.client() as control:
            assert connected(control) >= count, connected(control)
            assert control.must("CLIENT", "LIST").count(b"\n") >= count
        for number in range(0, count, 97):
            assert conns[number].must("GET", f"idle:{number}") == str(number).encode()
        for conn in conns:
            conn.close()
        with server.client() as control:
            poll(lambda: connected(control) < 50, 30, what="clients gone")
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=180)
def test_half_sent_crowd(t):
    """Everyone has sent half a command of a kilobyte, and sends the rest much later."""
    count = crowd_size(t)
    allow_descriptors(count)
    server = roomy(t, count)
    with Watch(t, server, grow_mb=48 + count * 40 // 1024):
        conns = crowd(t, server, count)
        halves = []
        for number, conn in enumerate(conns):
            data = encode("SET", f"half:{number}", str(number) * 200)
            cut = t.rng.randrange(1, len(data))
            conn.raw(data[:cut])
            halves.append(data[cut:])
        with server.client() as control:
            assert control.must("DBSIZE") == 0
        for conn, rest in zip(conns, halves):
            conn.raw(rest)
        for conn in conns:
            assert conn.read() == b"OK"
        with server.client() as control:
            assert control.must("DBSIZE") == count
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=120)
def test_announced_giants(t):
    """Headers that announce a million arguments or half a gigabyte reserve nothing."""
    count = 500 if t.quick else 2000
    allow_descriptors(2 * count)
    server = roomy(t, 2 * count)
    with Watch(t, server, grow_mb=32 + 2 * count * 24 // 1024):
        for conn in crowd(t, server, count):
            conn.raw(b"*1048576\r\n$3\r\nSET\r\n")
        for conn in crowd(t, server, count):
            conn.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc")
        with server.client() as control:
            assert control.must("SET", "other", 1) == b"OK"
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=120)
def test_slow_readers(t):
    """Clients that ask for far more than they read: output is bounded, others are served."""
    server = t.start()
    readers, asked = (5, 10) if t.as_redis else (20, 200) if t.quick else (60, 400)
    with server.client() as control:
        control.must("SET", "big", "x" * 1_000_000)
        with Watch(t, server, grow_mb=1024):
            conns = []
            try:
                for _ in range(readers):
                    conns.append(Conn(server.address, recv_buffer=4096, timeout=10))
                    conns[-1].raw(encode("GET", "big") * asked)
                for n in range(200):
                    control.must("SET", f"k:{n}", "v")
                # One of them reads after all: nothing was lost or mixed up.
                for _ in range(asked):
                    assert len(conns[0].read()) == 1_000_000
                assert conns[0].must("PING") == b"PONG"
            finally:
                for conn in conns:
                    conn.close()
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=120)
def test_slow_readers_of_many_small_replies(t):
    server = t.start()
    readers = 20 if t.quick else 100
    names = KeyNames("small:").spread(8)
    data = b"".join(encode("GET", names[n % 8]) for n in range(1000))
    with server.client() as control:
        control.must("MSET", *[item for name in names for item in (name, "x" * 500)])
        with Watch(t, server, grow_mb=1024):
            conns = []
            try:
                for _ in range(readers):
                    conns.append(Conn(server.address, recv_buffer=4096, timeout=0.3))
                for conn in conns:
                    try:
                        for _ in range(5 if t.as_redis else 50):
                            conn.raw(data)
                    except TimeoutError:
                        pass  # the server has stopped reading: that is its defence
                assert control.must("PING") == b"PONG"
            finally:
                for conn in conns:
                    conn.close()
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=120)
def test_bytewise_senders(t):
    """Many clients send one byte at a time."""
    count = 100 if t.quick else 400
    server = t.start()
    with Watch(t, server, grow_mb=64):
        conns = crowd(t, server, count)
        names = KeyNames("byte:").spread(8)
        data = encode("MSET", *[item for name in names for item in (name, "value")])
        for n in range(len(data)):
            for conn in conns:
                conn.raw(data[n:n + 1])
        for conn in conns:
            assert conn.read() == b"OK"
    server.stop()


@case(workers=(1, 4), drivers="each", timeout=120)
def test_coming_and_going(t):
    """A storm of connections that end at once, in every way."""
    server = t.start()
    with Watch(t, server, grow_mb=64):
        crew = Crew(t.seed)

        def come_and_go(crew, rng, _):
            while crew.going():
                conn = Conn(server.address)
                kind = rng.randrange(6)
                if kind == 1:
                    conn.raw(encode("SET", "x", "y" * 1000)[:rng.randrange(1, 1000)])
                elif kind == 2:
                    conn.raw(encode("MGET", "a", "b", "c", "d") * 50)
                elif kind == 3:
                    conn.must("WATCH", *[f"w:{rng.randrange(1000)}" for _ in range(20)])
                    conn.raw(encode("MULTI") + encode("SET", "a", 1))
                elif kind == 4:
                    conn.must("PING")
                elif kind == 5:
                    conn.raw(encode("QUIT"))
                conn.reset() if rng.random() < 0.5 else conn.close()
                crew.count("connections")

        crew.add(come_and_go, 4)
        counts = crew.run(t.seconds(3, 10))
        t.note(f"{counts['connections']} connections")
        with server.client() as control:
            poll(lambda: connected(control) < 20, 30, what="clients gone")
            assert control.must("PING") == b"PONG"
    server.stop()


@case(workers=(1, 4), timeout=120)
def test_monitors_that_do_not_read(t):
    server = t.start({"client-output-buffer-limit": ["normal", "4mb", "0", "0"]})
    with Watch(t, server, grow_mb=200):
        conns = []
        try:
            for _ in range(20):
                conns.append(Conn(server.address, recv_buffer=4096))
                conns[-1].must("MONITOR")
            with server.client() as control:
                for _ in range(30):
                    control.pipe([("SET", "m", "x" * 1000)] * 300)
                assert control.must("PING") == b"PONG"
        finally:
            for conn in conns:
                conn.close()
    server.stop()
