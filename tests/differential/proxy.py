"""A faulty server for the runner's own test: redis-server behind a proxy that spoils replies.

Each fault is a small class. It sees every request with its reply and may change the reply, answer
itself without asking, or end things. The proxy parses both directions with resp.py, one thread for
each connection.
"""

import socket
import threading

from resp import Channel, Incomplete, Malformed, encode, parse
from servers import Server

WAIT_SECONDS = 10


class Fault:
    """No fault at all: the base, and the control of the test."""

    group = "strings"

    def answer(self, words):
        """A reply in place of the server's, or None."""
        return None

    def change(self, words, reply):
        return reply

    def closes(self, words):
        return False

    def keeps_open(self):
        """True to keep a connection open that the server closed."""
        return False


class FlippedByte(Fault):
    """GETRANGE: one bit of the last byte of a longer reply."""

    def change(self, words, reply):
        if words[:1] == [b"GETRANGE"] and reply[:1] == b"$" and len(reply) > 10:
            return reply[:-3] + bytes([reply[-3] ^ 1]) + reply[-2:]
        return reply


class OffByOne(Fault):
    """STRLEN of a value longer than six bytes: one too many."""

    def change(self, words, reply):
        if words[:1] == [b"STRLEN"] and reply[:1] == b":" and int(reply[1:]) > 6:
            return b":%d\r\n" % (int(reply[1:]) + 1)
        return reply


class LostWrite(Fault):
    """PERSIST says 1 and does nothing: only the state can tell."""

    group = "keys"

    def answer(self, words):
        return b":1\r\n" if words[:1] == [b"PERSIST"] and len(words) == 2 else None


class SwappedReplies(Fault):
    """MGET of three keys or more: the last two elements change places."""

    def change(self, words, reply):
        if words[:1] != [b"MGET"] or reply[:1] != b"*":
            return reply
        children = [child.raw for child in parse(reply)[0].value]
        if len(children) > 2:
            children[-1], children[-2] = children[-2], children[-1]
        return b"*%d\r\n" % len(children) + b"".join(children)


class WrongError(Fault):
    """INCR: a capital letter in the error text."""

    def change(self, words, reply):
        return reply.replace(b"value is not", b"Value is not") if words[:1] == [b"INCR"] else reply


class ForgottenWatch(Fault):
    """WATCH says OK and is not passed on."""

    group = "transactions"

    def answer(self, words):
        return b"+OK\r\n" if words[:1] == [b"WATCH"] and len(words) > 1 else None


class SurplusReply(Fault):
    """TYPE is answered twice."""

    group = "keys"

    def change(self, words, reply):
        return reply + reply if words[:1] == [b"TYPE"] else reply


class Hangup(Fault):
    """SETRANGE closes the connection."""

    def closes(self, words):
        return words[:1] == [b"SETRANGE"]


class StaysOpen(Fault):
    """A protocol error is reported, but the connection stays open."""

    group = "protocol"

    def keeps_open(self):
        return True


FAULTS = [
    FlippedByte, OffByOne, LostWrite, SwappedReplies, WrongError, ForgottenWatch, SurplusReply,
    Hangup, StaysOpen,
]  # fmt: skip


class FaultyServer(Server):
    """A redis-server whose clients reach it through the proxy. TCP only."""

    def __init__(self, binary, fault):
        super().__init__("faulty", binary, [], "tcp")
        self.fault = fault
        self.listener = None
        self.front_port = 0

    def start(self):
        super().start()
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.front_port = self.listener.getsockname()[1]
            threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        """Ends the proxy; the server is stopped as any other."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def address(self, conn):
        return ("127.0.0.1", self.front_port)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            back = Channel(("127.0.0.1", self.port))
        except OSError:
            client.close()
            return
        try:
            self.relay(client, back)
        except OSError:
            pass  # one of the two is gone
        finally:
            back.close()
            client.close()

    def relay(self, client, back):
        pending = b""
        while True:
            data = client.recv(1 << 16)
            if not data:
                self.pass_on(client, back, pending, ended=True)
                return
            pending += data
            while pending:
                try:
                    request, used = parse(pending) if pending[:1] == b"*" else (None, 0)
                    words = [child.value for child in request.value] if request else []
                except Incomplete:
                    break
                except (Malformed, TypeError):
                    words = []
                if not words or None in words:
                    # Not a plain request: bytes go through as they are from here on.
                    self.pass_on(client, back, pending, ended=False)
                    pending = b""
                    continue
                pending = pending[used:]
                if not self.one_request(client, back, [bytes(w) for w in words]):
                    return

    def one_request(self, client, back, words):
        words[0] = words[0].upper()
        if self.fault.closes(words):
            return False
        reply = self.fault.answer(words)
        if reply is None:
            back.send(encode(words), WAIT_SECONDS)
            got = back.read(WAIT_SECONDS)
            if got.is_state():
                return False
            reply = self.fault.change(words, got.raw)
        client.sendall(reply)
        if words[0] == b"QUIT":
            return False
        return True

    def pass_on(self, client, back, data, ended):
        """Sends raw bytes and relays what comes until silence or the end of the stream."""
        back.send(data, WAIT_SECONDS)
        if ended:
            back.sock.shutdown(socket.SHUT_WR)
        answer, closed = back.read_until_closed(WAIT_SECONDS, None if ended else 0.01)
        client.sendall(answer)
        if closed and not self.fault.keeps_open():
            client.shutdown(socket.SHUT_RDWR)
            raise OSError("closed by the server")
        if closed:
            client.recv(1)  # until the client gives up
