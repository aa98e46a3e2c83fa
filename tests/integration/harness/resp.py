"""A plain RESP2/RESP3 client for tests.

Unlike a client library it hides nothing: errors come back as values, bytes stay bytes, raw bytes
can be sent in any fragmentation, pushes are seen where they arrive. One object serves one thread.
"""
import socket


class Err(bytes):
    """An error reply, without the leading '-'. Compares as its bytes."""

    @property
    def text(self):
        return self.decode("utf-8", "replace")

    def __repr__(self):
        return f"Err({self.text!r})"


class Push(list):
    """A RESP3 push message."""


class Closed(Exception):
    """The server closed the connection while a reply was expected."""


class ProtocolBroken(Exception):
    """The server sent bytes that are not RESP."""


class Unexpected(AssertionError):
    """`must` got an error reply."""


def encode(*args):
    """One command as a RESP multibulk; str, int, float and bytes are taken."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if not isinstance(arg, (bytes, bytearray)):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


class Conn:
    """One connection. `address` is (host, port) or the path of a unix socket."""

    def __init__(self, address, timeout=15.0, protocol=2, password=None, recv_buffer=None):
        self.address = address
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if recv_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
            if not isinstance(address, str):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._buffer = b""
            self._at = 0
            if password is not None:
                self.must("AUTH", password)
            if protocol == 3:
                self.must("HELLO", 3)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # Sending

    def raw(self, data):
        self.sock.sendall(data)

    def send(self, *args):
        self.sock.sendall(encode(*args))

    def __call__(self, *args):
        """Sends one command and returns its reply, an Err if it is one."""
        self.sock.sendall(encode(*args))
        return self.read()

    def must(self, *args):
        """As calling, but an error reply fails the test."""
        reply = self(*args)
        if isinstance(reply, Err):
            raise Unexpected(f"{shown(args)} answered {reply!r}")
        return reply

    def pipe(self, commands):
        """Sends all commands in one write and returns the list of replies."""
        self.sock.sendall(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    # Receiving

    def _fill(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise Closed("connection closed by the server")
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at:] + data
        self._at = 0

    def _line(self):
        seen = self._at
        while True:
            end = self._buffer.find(b"\r\n", seen)
            if end >= 0:
                line = self._buffer[self._at:end]
                self._at = end + 2
                return line
            left = len(self._buffer) - self._at
            self._fill()
            seen = max(left - 1, 0)

    def _exact(self, count):
        have = len(self._buffer) - self._at
        if have < count:
            chunks = [self._buffer[self._at:]]
            self._buffer, self._at = b"", 0
            while have < count:
                data = self.sock.recv(min(1 << 20, max(count - have, 1 << 16)))
                if not data:
                    raise Closed("connection closed inside a reply")
                chunks.append(data)
                have += len(data)
            self._buffer = b"".join(chunks)
        taken = self._buffer[self._at:self._at + count]
        self._at += count
        return taken

    def read(self):
        """The next reply (or push)."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Err(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._bulk(rest)
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        return self._read_resp3(kind, rest)

    def _bulk(self, length):
        if length == b"-1":
            return None
        size = int(length)
        body = self._exact(size + 2)
        if body[-2:] != b"\r\n":
            raise ProtocolBroken(f"bulk of {size} bytes ends in {body[-2:]!r}")
        return body[:-2]

    def _read_resp3(self, kind, rest):
        if kind == b"_":
            return None
        if kind == b"%":
            pairs = [(self.read(), self.read()) for _ in range(int(rest))]
            return {_hashable(key): value for key, value in pairs}
        if kind == b"~":
            return [self.read() for _ in range(int(rest))]
        if kind == b">":
            return Push(self.read() for _ in range(int(rest)))
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        if kind == b"!":
            return Err(self._bulk(rest))
        if kind == b"=":
            return self._bulk(rest)[4:]
        if kind == b"|":
            for _ in range(int(rest) * 2):
                self.read()
            return self.read()
        raise ProtocolBroken(f"reply begins with {(kind + rest)[:60]!r}")

    def has_reply(self, wait_s=0.0):
        """Whether bytes of a reply are there, waiting up to `wait_s` for them."""
        if self._at < len(self._buffer):
            return True
        before = self.sock.gettimeout()
        self.sock.settimeout(max(wait_s, 0.001))
        try:
            self._fill()
            return True
        except (TimeoutError, BlockingIOError):
            return False
        finally:
            self.sock.settimeout(before)

    def closed_within(self, wait_s):
        """True once the server has closed; whatever it still sent is returned by `leftover`."""
        self.sock.settimeout(wait_s)
        try:
            while True:
                data = self.sock.recv(1 << 16)
                if not data:
                    return True
                self._buffer += data
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def leftover(self):
        return self._buffer[self._at:]


def _hashable(key):
    return tuple(key) if isinstance(key, list) else key


def shown(args, limit=200):
    """A command as text for a failure message, cut to a readable length."""
    text = " ".join(arg.decode("latin-1") if isinstance(arg, bytes) else str(arg) for arg in args)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def pairs(reply):
    """A map that RESP2 sends as a flat list, or RESP3 as a map, as a dict."""
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2]))


def info_fields(text):
    """INFO's text as {field: value}, both str."""
    lines = text.decode("utf-8", "replace").split("\r\n")
    return dict(line.split(":", 1) for line in lines if line and line[0] != "#" and ":" in line)
