"""RESP2 and RESP3 for the differential runner: replies keep their exact bytes.

The parser is deliberately independent of every client library: a library repairs or hides what a
comparison of servers has to see. A Reply is a node of the reply tree; `raw` is the exact slice of
the stream that it came from. States of a connection that are not replies (closed, no answer in
time, bytes that are no RESP) are Replies too, with a word as kind, so they compare like any other.
"""

import re
import select
import socket
import time

CLOSED = "closed"
TIMEOUT = "timeout"
MALFORMED = "malformed"

DEPTH_MAX = 64
AGGREGATES = {b"*", b"~", b">"}
MAPS = {b"%", b"|"}
LINES = {b"+", b"-", b":", b"_", b"#", b",", b"("}
BULKS = {b"$", b"!", b"="}
RECV_BYTES = 1 << 18


class Incomplete(Exception):
    """More bytes are needed."""


class Malformed(Exception):
    """The bytes are not RESP."""


class Reply:
    """One node: kind is the type byte, value is bytes, None, or a list of Replies."""

    __slots__ = ("kind", "value", "raw")

    def __init__(self, kind, value, raw):
        self.kind = kind
        self.value = value
        self.raw = raw

    def is_error(self):
        return self.kind in (b"-", b"!")

    def is_state(self):
        """True where there is no reply at all: closed, timeout or malformed."""
        return isinstance(self.kind, str)

    def header(self):
        return self.raw[: self.raw.find(b"\r\n") + 2]

    def number(self):
        """The integer in an integer reply or a decimal bulk string, else None."""
        if not isinstance(self.value, bytes):
            return None
        try:
            return int(self.value)
        except ValueError:
            return None

    def pairs(self):
        """Children two by two: a RESP3 map, or the flat array RESP2 makes of it."""
        return list(zip(self.value[0::2], self.value[1::2]))

    def __repr__(self):
        return show(self, 400)


def state(kind, rest=b""):
    return Reply(kind, None, bytes(rest))


def parse(buf, pos=0, depth=0):
    """Returns (Reply, position behind it); raises Incomplete or Malformed."""
    if depth > DEPTH_MAX:
        raise Malformed("nesting")
    end = buf.find(b"\r\n", pos)
    if end < 0:
        raise Incomplete
    kind = bytes(buf[pos : pos + 1])
    line = bytes(buf[pos + 1 : end])
    after = end + 2
    if kind in LINES:
        return Reply(kind, None if kind == b"_" else line, bytes(buf[pos:after])), after
    if kind not in BULKS and kind not in AGGREGATES and kind not in MAPS:
        raise Malformed("type byte %r" % kind)
    try:
        size = int(line)
    except ValueError:
        raise Malformed("length %r" % line) from None
    if size == -1:
        return Reply(kind, None, bytes(buf[pos:after])), after
    if size < 0 or not line.isdigit():
        raise Malformed("length %r" % line)
    if kind in BULKS:
        stop = after + size
        if len(buf) < stop + 2:
            raise Incomplete
        if buf[stop : stop + 2] != b"\r\n":
            raise Malformed("bulk without end")
        return Reply(kind, bytes(buf[after:stop]), bytes(buf[pos : stop + 2])), stop + 2
    children = []
    count = size * 2 if kind in MAPS else size
    for _ in range(count):
        child, after = parse(buf, after, depth + 1)
        children.append(child)
    if kind == b"|":  # an attribute belongs to the reply that follows it
        child, after = parse(buf, after, depth + 1)
        children.append(child)
    return Reply(kind, children, bytes(buf[pos:after])), after


def cut_array(buf):
    """An array that ended early: (its length, the elements that are there, the bytes behind them);
    None for anything else."""
    match = re.match(rb"\*(\d+)\r\n", buf)
    if match is None:
        return None
    size, pos, elements = int(match[1]), match.end(), []
    try:
        while len(elements) < size:
            element, pos = parse(buf, pos)
            elements.append(element)
    except Incomplete:
        pass
    except Malformed:
        return None
    return size, elements, bytes(buf[pos:])


def encode(args):
    """A command as a multibulk request."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


def quote(data, limit=None):
    """Bytes as a double-quoted string in the escapes of redis-cli."""
    cut = b"" if limit is None or len(data) <= limit else data[limit:]
    if cut:
        data = data[:limit]
    out = []
    for byte in data:
        if byte in (0x22, 0x5C):
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            out.append(chr(byte))
        else:
            out.append({10: "\\n", 13: "\\r", 9: "\\t"}.get(byte, "\\x%02x" % byte))
    return '"' + "".join(out) + '"' + (" (%d more bytes)" % len(cut) if cut else "")


def show(reply, limit=300):
    """A reply for a human: its exact bytes, quoted, or the state of the connection."""
    text = {
        CLOSED: "(connection closed)",
        TIMEOUT: "(no reply in time)",
        MALFORMED: "(not RESP)",
    }.get(reply.kind)
    if text:
        return text + (" " + quote(reply.raw, limit) if reply.raw else "")
    return quote(reply.raw, limit)


class Channel:
    """One client connection. Not for use by two threads."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        try:
            self.sock.connect(address)
            if family == socket.AF_INET:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.sock.close()
            raise
        self.buf = b""
        self.eof = False
        self.client_id = None

    def close(self):
        self.sock.close()
        self.eof = True

    def send(self, data, seconds):
        """Sends everything. Reads meanwhile where it is much: a server may stop reading until
        its replies are taken. False once the peer is gone or does not take the bytes."""
        deadline = time.monotonic() + seconds
        try:
            if len(data) <= 16384:
                self.sock.settimeout(seconds)
                self.sock.sendall(data)
                return True
            self.sock.setblocking(False)
            view = memoryview(data)
            while view:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                readers = [] if self.eof else [self.sock]
                readable, writable, _ = select.select(readers, [self.sock], [], left)
                if readable:
                    self._take()
                if writable:
                    view = view[self.sock.send(view) :]
            return True
        except OSError:
            return False

    def _take(self):
        """One recv into the buffer; False when nothing came in the socket's time."""
        try:
            data = self.sock.recv(RECV_BYTES)
        except (socket.timeout, BlockingIOError):
            return False
        except OSError:
            data = b""
        if data:
            self.buf += data
        else:
            self.eof = True
        return True

    def read(self, seconds):
        """The next reply, or the state that stands for its absence. Push messages that come
        before it become part of its raw bytes."""
        deadline = time.monotonic() + seconds
        pushed = b""
        while True:
            if self.buf:
                try:
                    reply, used = parse(self.buf)
                    self.buf = self.buf[used:]
                    if reply.kind == b">":
                        pushed += reply.raw
                        continue
                    return Reply(reply.kind, reply.value, pushed + reply.raw) if pushed else reply
                except Incomplete:
                    pass
                except Malformed:
                    return state(MALFORMED, self.buf)
            if self.eof:
                return state(CLOSED, self.buf)
            left = deadline - time.monotonic()
            if left <= 0:
                return state(TIMEOUT, self.buf)
            self.sock.settimeout(left)
            self._take()

    def read_until_closed(self, seconds, quiet_seconds=None):
        """All bytes up to the end of the stream. Returns (bytes, closed). Where quiet_seconds is
        given, silence of that length ends the wait as well."""
        deadline = time.monotonic() + seconds
        while not self.eof:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.sock.settimeout(left if quiet_seconds is None else min(left, quiet_seconds))
            if not self._take() and quiet_seconds is not None:
                break
        data, self.buf = self.buf, b""
        return data, self.eof

    def call(self, *args, seconds=5):
        """Sends one command and reads its reply."""
        words = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        if not self.send(encode(words), seconds):
            return state(CLOSED)
        return self.read(seconds)

    def pipeline(self, commands, seconds=10):
        """Sends all commands in one go and reads one reply for each."""
        if not self.send(b"".join(encode(c) for c in commands), seconds):
            return [state(CLOSED)] * len(commands)
        return [self.read(seconds) for _ in commands]
