"""Random mutations of valid streams: the server answers as redis does, or at least stays whole."""
import random
import threading

from harness.load import Crew
from harness.oracle import start_oracle
from harness.resp import Conn, encode, info_fields
from harness.runner import case
from harness.server import poll
from test_protocol import talk
from watch import Watch

BACKLOG_MAX = 500  # clients
NAMES = ["a", "b", "{t}1", "{t}2", "key:1", "key:2", ""]
VALUES = ["0", "1", "-1", "text", "x" * 300, "\r\n", "9223372036854775807", "1e400", "nan", ""]
# Bytes that mean something to the parser are the likeliest to be put in.
SPICE = [b"\r\n", b"\n", b"\r", b"$", b"*", b"-", b"+", b":", b"0", b"9", b"\x00", b"\xff", b"\"",
         b"'", b" ", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"*1\r\n", b"$0\r\n\r\n", b"99999999999",
         b"-2147483648", b"$536870912\r\n", b"%", b"~", b">", b"_\r\n", b"(", b"#t\r\n", b"=", b"|"]


def valid_command(rng):
    key, value = rng.choice(NAMES), rng.choice(VALUES)
    return rng.choice([
        ("SET", key, value), ("GET", key), ("INCR", key), ("APPEND", key, value), ("DEL", key, "b"),
        ("MSET", key, value, "b", "2"), ("MGET", key, "a", "b"), ("STRLEN", key), ("PING",),
        ("ECHO", value), ("SETRANGE", key, "3", value[:50]), ("GETRANGE", key, "-3", "5"),
        ("SETBIT", key, "17", "1"), ("BITCOUNT", key), ("MULTI",), ("EXEC",), ("DISCARD",),
        ("WATCH", key), ("UNWATCH",), ("EXISTS", key, key), ("RENAME", key, "b"), ("TYPE", key),
        ("SETNX", key, value), ("GETDEL", key), ("INCRBYFLOAT", key, value),
        ("BITFIELD", key, "GET", "u8", "#1"), ("SELECT", rng.choice(["0", "1", value]))])


def inline(command):
    return " ".join(part for part in command if "\r" not in part).encode() + b"\r\n"


def valid_stream(rng):
    parts = []
    for _ in range(rng.randrange(1, 8)):
        command = valid_command(rng)
        parts.append(inline(command) if rng.random() < 0.15 else encode(*command))
    return b"".join(parts)


def mutated(rng, stream):
    data = bytearray(stream)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(SPICE)
        elif kind == 2:
            del data[at:at + rng.randrange(1, 6)]
        elif kind == 3:
            data[at:at] = data[at:at + rng.randrange(1, 30)]
        elif kind == 4 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            del data[at:]
    return bytes(data)


def pieces_of(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 0, 1, 3])))
    return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)]) if a < b]


@case(workers=(1, 2, 4), drivers="each", timeout=120)
def test_mutated_streams_are_answered_as_redis_does(t):
    oracle = start_oracle(t)
    count = 1500 if t.quick else 8000
    with Watch(t, t.server):
        for number in range(count):
            rng = random.Random(f"{t.seed}:{number}")
            data = mutated(rng, valid_stream(rng))
            pieces = pieces_of(rng, data)
            wanted, got = talk(oracle.port, pieces), talk(t.server.port, pieces)
            if got != wanted and got.count(b"unknown command") > wanted.count(b"unknown command"):
                continue  # a mutation made a command that redis has and we do not have yet
            assert got == wanted, (f"stream {number}: {data!r}\n  ours  {got!r:.1500}\n"
                                   f"  redis {wanted!r:.1500}")
    oracle.stop()


@case(workers=(4,), drivers="each")
def test_random_bytes(t):
    with Watch(t, t.server):
        for _ in range(300 if t.quick else 2000):
            size = t.rng.choice([1, 10, 100, 5000])
            talk(t.server.port, [t.rng.randbytes(size)])


@case(workers=(4,), drivers="each")
def test_mutated_streams_on_many_connections(t):
    """The same, all at once, with connections cut off in the middle."""
    server = t.server
    with Watch(t, server), server.client() as control:
        crew = Crew(t.seed)
        lock = threading.Lock()

        def connected():
            with lock:
                return int(info_fields(control.must("INFO", "clients"))["connected_clients"])

        def attack(crew, rng, _):
            while crew.going():
                # Commands of those that have left are still to be run. Where the server gets less of
                # the machine than we do, there would soon be as many such clients as it allows.
                while crew.going() and connected() > BACKLOG_MAX:
                    crew.stop.wait(0.001)
                conns = [Conn(server.address) for _ in range(20)]
                for conn in conns:
                    stream = b"".join(valid_stream(rng) for _ in range(rng.choice([1, 5, 30])))
                    try:
                        conn.raw(mutated(rng, stream))
                    except OSError:
                        pass
                for conn in conns:
                    conn.reset() if rng.random() < 0.5 else conn.close()
                crew.count("connections", 20)

        crew.add(attack, 4)
        counts = crew.run(t.seconds(2, 8))
        t.note(f"{counts['connections']} connections")
        poll(lambda: connected() < 50, 30, what="clients gone")
