"""Requests as bytes: inline lines, malformed requests, and pipelines with a byte gone wrong."""

from resp import encode
from steps import Batch, Cmd, Raw

PLAIN = set(range(0x21, 0x7F)) - set(b"\"'\\")
STEPS = 24


def inline(rng, words):
    """The words as an inline command in random quoting, or None where that cannot be said."""
    if sum(map(len, words)) > 8000:
        return None
    out = []
    for word in words:
        plain = word and all(byte in PLAIN for byte in word)
        style = rng.randrange(4)
        if plain and style < 2:
            out.append(word)
        elif style == 2 and b"\\" not in word and not set(word) & set(b"\r\n\x00"):
            out.append(b"'" + word.replace(b"'", b"\\'") + b"'")
        else:
            out.append(b'"' + b"".join(escaped(rng, byte) for byte in word) + b'"')
    gap = rng.choice([b" ", b" ", b"  ", b"\t"])
    return rng.choice([b"", b"", b" "]) + gap.join(out) + rng.choice([b"", b"", b" "])


def escaped(rng, byte):
    if byte in PLAIN and rng.random() < 0.95 or byte == 0x20:
        return bytes([byte])
    short = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 0x22: b'\\"', 0x5C: b"\\\\"}
    if byte in short and rng.random() < 0.5:
        return short[byte]
    return b"\\x%02x" % byte if rng.random() < 0.5 else b"\\x%02X" % byte


# No argument is a command's name, nor one flipped bit away from it: the rest of a broken request is
# read as inline commands.
GOOD = [
    [b"PING"], [b"PING", b"moon"], [b"ECHO", b"a\r\nb"], [b"SET", b"k1", b"v1"], [b"GET", b"k1"],
    [b"GET", b"absent"], [b"INCR", b"n1"], [b"MSET", b"a", b"1", b"b", b"2"],
    [b"MGET", b"a", b"b", b"k1"], [b"APPEND", b"k1", b"x" * 40], [b"STRLEN", b"k1"],
    [b"DEL", b"a", b"k2"], [b"NOSUCH", b"x"], [b"GET"], [b"SET", b"big", b"y" * 3000],
    [b"GETRANGE", b"big", b"0", b"5"], [b"EXISTS", b"a", b"b"],
]  # fmt: skip
STRAY = b"*$:+-\r\n0129 \"'\x00\xff"


def good_requests(rng):
    """A few requests without side conditions, to be put before and behind a mistake."""
    return b"".join(encode(rng.choice(GOOD)) for _ in range(rng.randint(1, 6)))


def mistakes(rng):
    """Byte strings at which the protocol breaks, and some that are odd but legal."""
    number = rng.choice([
        b"-1", b"-2", b"0", b"1048577", b"2147483647", b"2147483648", b"4294967296", b"536870913",
        b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"abc", b"", b" 1",
        b"1 ", b"+1", b"01", b"1.0", b"0x1", b"99999999999999999999", b"1\x00",
    ])  # fmt: skip
    return rng.choice([
        b"*" + number + b"\r\n",
        b"*" + number + b"\r\n$4\r\nPING\r\n",
        b"*1\r\n$" + number + b"\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$" + number + b"\r\nx\r\n",
        b"*1\r\n" + rng.choice([b":4", b"PING", b"+PING", b"*1", b"", b"\x00", b"\xff", b"%1",
        b"-"]) + b"\r\n",
        b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n" + rng.choice([b"#", b":1", b"$x", b"!",
        b"$-1"]) + b"\r\n",
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$3\r\nPING\r\n",
        b"*0\r\n", b"*-1\r\n", b"\r\n", b"\r\n\r\n\r\n", b"   \r\n", b"\n", b"PING\n",
        b"PING\r\n", b" PING  \r\n",
        b"SET k1 \"unbalanced\r\n", b"SET k1 'unbalanced\r\n", b"SET k1 \"a\"b\r\n",
        b"SET k1 'a'b\r\n",
        b"\"PING\r\n", b"GET \"k1\"\"k2\"\r\n", b"SET k1 \"\\x4\\xzz\\x41\"\r\n",
        b"SET k1 '\\x41\\'\"'\r\n",
        b"GET k1\x00\r\n", b"\x00\r\n", b"GET k\xff1\r\n",
        b"*1\r\n$4\r\nPING\r", b"*1\r", b"*", b"$4\r\nPING\r\n", b"+PING\r\n", b"*1\n$4\nPING\n",
        b"*" + b"1" * 200000, b"*1\r\n$" + b"1" * 200000, b"x" * 200000, b"\"" + b"y" * 200000,
        b"GET / HTTP/1.1\r\nX: y\r\n",
    ])  # fmt: skip


# The connection ends at once. Whether replies to what came before are out by then is a matter of
# time, so nothing comes before.
BROWSERS = [b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"Host: x\r\n"]


def mutated(rng):
    """Good requests with a few bytes changed, dropped, doubled, or cut off."""
    data = bytearray(good_requests(rng))
    for _ in range(rng.randint(1, 3)):
        if not data:
            break
        place = rng.randrange(min(len(data), 400))
        kind = rng.randrange(5)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[place]
        elif kind == 2:
            data.insert(place, rng.choice(STRAY))
        elif kind == 3:
            data[place] = rng.choice(STRAY)
        else:
            del data[place:]
    return bytes(data)


def steps(rng):
    """A sequence of throw-away connections, with the state looked at in between. Most close their
    sending side: the stream then ends without a wait. The rest show whether the server closes."""
    out = []
    for _ in range(STEPS):
        roll = rng.random()
        if roll < 0.15:
            keys = [b"k1", b"n1", b"a", b"b"]
            out.append(Batch(1, [Cmd([b"MGET"] + keys), Cmd([b"PING"])]))
        elif roll < 0.55:
            out.append(Raw(mutated(rng), half_close=True))
        elif roll < 0.6:
            out.append(Raw(rng.choice(BROWSERS) + good_requests(rng), half_close=True))
        else:
            before = good_requests(rng) if rng.random() < 0.4 else b""
            after = good_requests(rng) if rng.random() < 0.4 else b""
            out.append(Raw(before + mistakes(rng) + after, half_close=rng.random() < 0.75))
    return out
