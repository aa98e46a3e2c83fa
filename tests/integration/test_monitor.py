"""MONITOR shows the commands of all workers, in order for each connection."""
import re

from harness.load import Crew
from harness.resp import Closed
from harness.runner import case
from harness.slots import KeyNames

LINE = re.compile(rb'(\d+)\.(\d{6}) \[(\d+) ([^\]]+)\] (".*")$')


def lines_until(monitor, mark):
    """Parsed lines (database, address, arguments as text) until one has the mark."""
    found = []
    while True:
        line = monitor.read()
        parsed = LINE.match(line)
        assert parsed, line
        found.append((int(parsed[3]), parsed[4], parsed[5]))
        if mark in line:
            return found


@case(workers=(1, 4), drivers="each")
def test_format(t):
    monitor, conn = t.client(), t.client()
    assert monitor.must("MONITOR") == b"OK"
    a, b = KeyNames("mon:").spread(2)
    conn.must("SET", a, 'x y"z\\\r\n\t\x00\xff')
    conn.must("SELECT", 7)
    conn.must("MGET", a, b)
    conn("NOSUCH", 1)
    conn("SET", "k")
    conn.must("MULTI")
    conn.must("INCR", b)
    conn.must("EXEC")
    conn.raw(b"echo  'in line'\r\n")
    conn.read()
    conn.must("ECHO", "the end")
    address = conn.must("CLIENT", "INFO").split(b"addr=")[1].split()[0]
    seen = lines_until(monitor, b"the end")
    assert all(line[1] == address for line in seen), seen
    texts = [(line[0], line[2]) for line in seen]
    assert texts[0] == (0, b'"SET" "' + a.encode()
                        + b'" "x y\\"z\\\\\\r\\n\\t\\x00\\xc3\\xbf"'), texts[0]
    assert texts[1][1] == b'"SELECT" "7"', texts[1]
    assert texts[2] == (7, b'"MGET" "%b" "%b"' % (a.encode(), b.encode())), texts[2]
    rest = [text for _, text in texts[3:]]
    assert b'"MULTI"' in rest and b'"INCR" "%b"' % b.encode() in rest and b'"EXEC"' in rest, rest
    assert rest.index(b'"MULTI"') < rest.index(b'"INCR" "%b"' % b.encode()), rest
    assert rest[-2:] == [b'"echo" "in line"', b'"ECHO" "the end"'], rest
    assert not any(b"NOSUCH" in text for text in rest), "an unknown command was shown"


@case(workers=(1, 4))
def test_order_for_each_connection(t):
    monitor = t.client(timeout=30.0)
    monitor.must("MONITOR")
    crew = Crew(t.seed)
    names = KeyNames("mo:").spread(16)
    count = 300

    def send(crew, rng, number):
        with t.server.client() as conn:
            for first in range(0, count, 50):
                conn.pipe([("SET", rng.choice(names), f"{number}-{first + n}")
                           for n in range(50)])

    crew.add(send, 5)
    crew.run(10)
    t.client().must("ECHO", "finished")
    by_address = {}
    for _, address, text in lines_until(monitor, b"finished"):
        if b"SET" in text:
            by_address.setdefault(address, []).append(text.split(b'"')[5])
    assert len(by_address) == 5, list(by_address)
    for values in by_address.values():
        number = values[0].split(b"-")[0]
        assert values == [b"%b-%d" % (number, n) for n in range(count)], values[:20]


@case(workers=(1, 4))
def test_leaving(t):
    monitor, conn = t.client(), t.client()
    monitor.must("MONITOR")
    conn.must("PING")
    assert b'"PING"' in monitor.read()
    monitor.send("RESET")
    reply = monitor.read()
    while reply != b"RESET":
        assert b"RESET" in reply or b"PING" in reply.upper(), reply
        reply = monitor.read()
    conn.must("PING")
    assert monitor.must("ECHO", "alone") == b"alone"
    monitor.must("MONITOR")
    monitor.send("QUIT")
    assert monitor.closed_within(10)
    assert conn.must("PING") == b"PONG"


@case(workers=(1, 4))
def test_secrets_are_left_out(t):
    monitor, conn = t.client(), t.client()
    monitor.must("MONITOR")
    conn("AUTH", "thepassword")
    conn("HELLO", 3, "AUTH", "default", "thepassword")
    conn.must("CONFIG", "GET", "port")
    conn.must("ECHO", "mark")
    seen = lines_until(monitor, b"mark")
    assert not any(b"thepassword" in text for _, _, text in seen), seen


@case(workers=(4,))
def test_monitor_that_does_not_read_is_cut_off(t):
    """Its output limit holds, and nobody else waits for it."""
    server = t.start({"client-output-buffer-limit": ["normal", "2mb", "0", "0"]})
    with server.client(recv_buffer=4096) as monitor:
        monitor.must("MONITOR")
        conn = t.connect(server)
        before = server.rss_bytes()
        for _ in range(60):
            conn.pipe([("SET", "m", "x" * 1000)] * 200)
        grown = server.rss_bytes() - before
        assert grown < 100 << 20 or not t.rss_counts, f"RSS grew by {grown >> 20} MB"
        assert conn.must("PING") == b"PONG"
        try:
            assert monitor.closed_within(10), "still connected after 12 MB unread"
        except Closed:
            pass
    server.stop()
