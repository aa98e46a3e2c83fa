"""Clients that have not logged in: little memory, little time, soon gone."""
from harness.load import Crew
from harness.resp import Closed, Conn, encode
from harness.runner import case
from watch import Watch

OPTIONS = {"requirepass": "secret"}


def guarded(t):
    return t.start(OPTIONS, protocol_password="secret")


@case(workers=(1, 4), drivers="each")
def test_announced_giants(t):
    """Many connections that announce a million arguments, or bulks of half a gigabyte."""
    server = guarded(t)
    count = 200 if t.quick else 1000
    with Watch(t, server, grow_mb=32):
        for data, text in [(b"*1000000\r\n", b"unauthenticated multibulk length"),
                           (b"*1\r\n$536870912\r\n", b"unauthenticated bulk length"),
                           (b"*11\r\n", b"unauthenticated multibulk length"),
                           (b"*10\r\n" + b"$16385\r\n", b"unauthenticated bulk length")]:
            conns = [Conn(server.address) for _ in range(count)]
            for conn in conns:
                conn.raw(data)
            for conn in conns:
                assert conn.read() == b"ERR Protocol error: " + text
                assert conn.closed_within(5)
                conn.close()
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_half_sent_commands(t):
    """As much as is allowed before authentication, on many connections, never finished."""
    server = guarded(t)
    count = 100 if t.quick else 500
    part = b"*10\r\n$4\r\nECHO\r\n" + b"$16384\r\n" + b"x" * 16384 + b"\r\n" + b"$16384\r\n"
    conns = []
    try:
        with Watch(t, server, grow_mb=32 + count * 64 // 1024):
            for _ in range(count):
                conns.append(Conn(server.address))
                conns[-1].raw(part + b"x" * 100)
    finally:
        for conn in conns:
            conn.close()
    server.stop()


@case(workers=(1, 4), drivers="each")
def test_refusals_that_nobody_reads(t):
    """Pipelines of commands that are all refused, on connections that never read."""
    server = guarded(t)
    with Watch(t, server, grow_mb=64):
        conns = [Conn(server.address, timeout=0.5, recv_buffer=4096)
                 for _ in range(20 if t.quick else 100)]
        data = encode("GET", "x") * 5000
        try:
            for _ in range(6):
                for conn in conns:
                    try:
                        conn.raw(data)
                    except OSError:
                        pass
        finally:
            for conn in conns:
                conn.close()
    server.stop()


@case(workers=(4,), drivers="each")
def test_protocol_errors_starve_nobody(t):
    """Streams of rubbish from several attackers at once; a client that has logged in goes on."""
    server = guarded(t)
    with Watch(t, server, grow_mb=32):
        crew = Crew(t.seed)

        def attack(crew, rng, _):
            while crew.going():
                try:
                    with Conn(server.address) as conn:
                        conn.raw(rng.choice([b"*-5x\r\n", b"*1\r\n$-9\r\n", b"*1000000\r\n",
                                             b"$5\r\n" * 100, b"\r\n" * 1000]))
                        conn.closed_within(0.2)
                except (OSError, Closed):
                    pass
                crew.count("attacks")

        def work(crew, _rng, _number):
            with server.client() as conn:
                while crew.going():
                    assert conn.must("INCR", "work") > 0
                    crew.count("commands")

        crew.add(attack, 6)
        crew.add(work)
        counts = crew.run(t.seconds(2, 6), at_least={"commands": 50, "attacks": 20})
        t.note(f"{counts['attacks']} attacks, {counts['commands']} commands beside them")
    assert len(server.output()) < 2_000_000, f"{len(server.output())} bytes of log"
    server.stop()


@case(workers=(1, 4))
def test_guessing_passwords(t):
    server = guarded(t)
    with Watch(t, server, grow_mb=32):
        with Conn(server.address) as conn:
            for n in range(2000):
                assert conn("AUTH", f"guess-{n}" * 100).startswith(b"WRONGPASS"), n
            assert conn("AUTH", "x" * 16000).startswith(b"WRONGPASS")
            assert conn("AUTH", "").startswith(b"WRONGPASS")
            assert conn("PING").startswith(b"NOAUTH")
    server.stop()
