"""A Redis client in the client's namespace, and what cases say and compare with."""
import hashlib
import random
import socket
import time

from topology import PORT, SERVER

SECONDS = 20
MEGABYTE = 1 << 20


class Client:
    """One connection from the client's namespace."""

    def __init__(self, network, address=SERVER, port=PORT, namespace=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = (namespace or network.client).socket(family)
        self.socket.settimeout(SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, network.control.encode())
        self.socket.connect((address, port))
        self.input = self.socket.makefile("rb", buffering=1 << 16)

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))

    def reply(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"the server closed the connection after {line!r}")
        if line[:1] == b"$":
            size = int(line[1:])
            return None if size < 0 else self.input.read(size + 2)[:-2]
        return line[1:-2]

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def info(self, name):
        text = self.call("INFO", "everything").decode()
        for line in text.replace(",", "\n").splitlines():
            if line.startswith((name + ":", name + "=")):
                return int(line[len(name) + 1:])
        raise KeyError(name)

    def close(self):
        self.input.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def info(network, field, section="network"):
    with Client(network) as client:
        for line in client.call("INFO", section).decode().splitlines():
            if line.startswith(field + ":"):
                return line[len(field) + 1:]
    raise AssertionError(f"INFO {section} has no {field}")


def random_bytes(seed, size):
    return random.Random(seed).randbytes(size)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {str(got)[:200]}, not {str(wanted)[:200]}")


def transfer(network, size, address=SERVER):
    """`size` random bytes there and back."""
    data = random_bytes(size, size)
    with Client(network, address) as client:
        equal(client.call("SET", "bulk", data), b"OK", "SET")
        back = client.call("GET", "bulk")
        equal(len(back), size, "bytes that came back")
        equal(hashlib.sha256(back).hexdigest(), hashlib.sha256(data).hexdigest(), "hash")


def eventually(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {SECONDS} seconds: {what}")
        time.sleep(0.01)  # between two looks
