"""Malformed requests: byte for byte the answer that redis gives, and never anything worse."""
import socket

from harness.oracle import start_oracle
from harness.resp import Conn, encode
from harness.runner import case
from watch import Watch

BAD_REQUESTS = [
    b"*-1\r\n", b"*0\r\n", b"*-2147483648\r\n", b"*1048577\r\n", b"*2147483648\r\n",
    b"*9223372036854775807\r\n", b"*9223372036854775808\r\n", b"*99999999999999999999999\r\n",
    b"*\r\n", b"*x\r\n", b"*1x\r\n", b"* 1\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$-1\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$9223372036854775807\r\n",
    b"*1\r\n$9223372036854775808\r\n", b"*1\r\n$x\r\n", b"*1\r\n$\r\n", b"*1\r\n$ 4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*1\r\nPING\r\n", b"*1\r\n:4\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n\r\n", b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$3\r\nPING\r\n", b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n", b"*1\r\n$0\r\n\r\n",
    b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
    b"$4\r\nPING\r\n", b"+PING\r\n", b"-ERR\r\n", b":1\r\n", b"%1\r\n", b"\r\n\r\n\r\nPING\r\n",
    b"\n\nPING\n", b"PING\r\r\n", b" PING \r\n", b"\tPING\t\r\n", b"\x00\r\n", b"PING\x00\r\n",
    b"\xff\xfe\xfd\r\n", b"\"PING\"\r\n", b"'PING'\r\n", b"\"PING\r\n", b"'PING\r\n",
    b"PING \"a\"b\r\n", b"PING 'a'b\r\n", b"PING \"\\x41\\n\\\\\"\r\n", b"PING '\\''\r\n",
    b"PING \"\"\r\n", b"ECHO \"\\xzz\"\r\n", b"ECHO a\"b\"\r\n", b"ECHO \"unbalanced\r\nPING\r\n",
    b"GET\r\n", b"SET a\r\n", b"SET a b EX\r\n", b"SET a b EX x\r\n", b"NOSUCH a b c\r\n",
    b"x" * 200 + b"\r\n", b"x" * 200 + b" " + b"y" * 200 + b"\r\n",
    b"NOSUCH " + b"a " * 100 + b"\r\n", b"no\"such\r\n", b"CLIENT\r\n", b"CLIENT NOSUCH x\r\n",
    b"CONFIG " + b"x" * 200 + b"\r\n", b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    # An empty request, then a crafted one: the parser must start afresh.
    b"*0\r\n*1\r\n$4\r\nPING\r\n", b"*-1\r\n*1\r\n$4\r\nPING\r\n", b"*0\r\n*0\r\n*-5\r\nPING\r\n",
    b"\r\n*1\r\n$4\r\nPING\r\n", b"*0\r\n$4\r\nPING\r\n", b"*0\r\n*2\r\n$4\r\nPING\r\n",
    b"*0\r\n*1\r\n$-1\r\n", b"*-1\r\n*1048577\r\n", b"*0\r\nPING\r\n*0\r\n",
    b"*0\r\n\r\n*0\r\n*1\r\n$4\r\nPING\r\n",
]

# A browser that was sent here by a web page: cut off without an answer.
CROSS_PROTOCOL = [b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET hacked 1\r\n",
                  b"Host: localhost\r\nSET hacked 1\r\n",
                  b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET hacked 1\r\n"]


def talk(port, pieces, half_close=True):
    """Sends the pieces, ends the sending side, returns all bytes up to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        try:
            for piece in pieces:
                conn.sendall(piece)
            if half_close:
                conn.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed already: what it answered can still be read
        try:
            while True:
                data = conn.recv(1 << 16)
                if not data:
                    break
                answer += data
        except ConnectionError:
            pass
        return answer


@case(workers=(1, 4), drivers="each")
def test_answers_equal_those_of_redis(t):
    oracle = start_oracle(t)
    with Watch(t, t.server):
        problems = []
        for request in BAD_REQUESTS:
            # A good command in front shows that what came before an error is still answered.
            for before in (b"", encode("PING")):
                wanted = talk(oracle.port, [before + request])
                got = talk(t.server.port, [before + request])
                if got != wanted:
                    problems.append(f"{before + request!r:.120}\n      ours  {got!r:.200}\n"
                                    f"      redis {wanted!r:.200}")
        assert not problems, "\n    ".join(problems)
    oracle.stop()


@case(workers=(1, 4), drivers="each")
def test_any_fragmentation_gives_the_same_answer(t):
    with Watch(t, t.server):
        for request in BAD_REQUESTS:
            request = encode("PING") + request
            whole = talk(t.server.port, [request])
            bytewise = talk(t.server.port, [request[n:n + 1] for n in range(len(request))])
            cut = t.rng.randrange(1, len(request))
            halves = talk(t.server.port, [request[:cut], request[cut:]])
            assert bytewise == whole == halves, \
                f"{request!r:.120}: whole {whole!r}, bytes {bytewise!r}, cut at {cut} {halves!r}"


@case(workers=(1, 4), drivers="each")
def test_web_pages_can_not_speak_to_the_server(t):
    with Watch(t, t.server):
        for request in CROSS_PROTOCOL:
            answer = talk(t.server.port, [request])
            assert b"+OK" not in answer, answer
        assert t.client().must("EXISTS", "hacked") == 0


@case(workers=(1, 4))
def test_never_ending_lines(t):
    """Lines without an end are cut off at 64 KB, whatever they pretend to be."""
    with Watch(t, t.server, grow_mb=32):
        for start, text in [(b"", b"too big inline request"), (b"GET ", b"too big inline request"),
                            (b"*", b"too big mbulk count string"),
                            (b"*1\r\n$", b"too big bulk count string"),
                            (b"*1", b"too big mbulk count string"),
                            (b"\"", b"too big inline request")]:
            fill = b"1" if start[:1] == b"*" else b"x"
            answer = talk(t.server.port, [start] + [fill * 8192] * 24, half_close=False)
            assert answer == b"-ERR Protocol error: " + text + b"\r\n", (start, answer)


@case(workers=(1, 4), drivers="each")
def test_half_closed_sockets(t):
    """Who stops sending still gets the answers to what was sent."""
    with Watch(t, t.server):
        for count in (1, 100, 2000):
            answer = talk(t.server.port, [encode("ECHO", "x" * 50) * count])
            assert answer == (b"$50\r\n" + b"x" * 50 + b"\r\n") * count, (count, len(answer))
        # Nothing, or half a command, and then the end.
        assert talk(t.server.port, []) == b""
        assert talk(t.server.port, [encode("SET", "half", "x" * 100)[:-20]]) == b""
        assert t.client().must("EXISTS", "half") == 0


@case(workers=(1, 4), drivers="each")
def test_bulk_larger_than_announced_is_the_next_command(t):
    """Bytes after a bulk are parsed as what follows, never executed as what they were meant for."""
    with Watch(t, t.server):
        conn = t.client()
        conn.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n" + encode("GET", "k"))
        assert [conn.read(), conn.read()] == [b"OK", b"hello"]
        value = encode("FLUSHALL")
        conn.must("SET", "inner", value)
        assert conn.must("GET", "inner") == value and conn.must("DBSIZE") == 2


@case(workers=(4,))
def test_floods_of_protocol_errors(t):
    """Thousands of connections that only send rubbish: closed at once, hardly logged."""
    with Watch(t, t.server, grow_mb=32):
        before = len(t.server.output())
        for n in range(1000 if t.quick else 5000):
            with Conn(t.server.address) as conn:
                conn.raw(b"*1\r\n$-5\r\n" if n % 2 else b"*99999999999\r\n")
                assert conn.read().startswith(b"ERR Protocol error")
        logged = len(t.server.output()) - before
        assert logged < 500_000, f"{logged} bytes of log"
