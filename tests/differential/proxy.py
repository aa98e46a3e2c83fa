"""A faulty server for the runner's own test: redis-server behind a proxy that spoils replies.

Each fault is a small class. It sees every request with its reply and may change the reply, answer
itself without asking, or end things. The proxy parses both directions with resp.py, one thread for
each connection; the server gets every request byte for byte as the client wrote it. In the group
"protocol" there need be no requests in what a client sends, so that bytes pass as they come.
"""

import select
import socket
import threading

from resp import Channel, Incomplete, parse
from servers import Server

WAIT_SECONDS = 10


class Fault:
    """No fault at all: the base, and the control of the test."""

    group = "strings"

    def __init__(self, group=None):
        self.group = group or self.group

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
    """A protocol error is reported, but the connection stays open until the client closes it."""

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
        while self.fault.group != "protocol":
            data = client.recv(1 << 16)
            if not data:
                return
            pending += data
            while pending:
                try:
                    request, used = parse(pending)
                    words = [bytes(child.value) for child in request.value]
                except Incomplete:
                    break
                # Other bytes (Malformed, TypeError) end the thread with its trace: none are sent.
                if not self.one_request(client, back, words, pending[:used]):
                    return
                pending = pending[used:]
        self.pass_on(client, back)

    def one_request(self, client, back, words, request):
        words[0] = words[0].upper()
        if self.fault.closes(words):
            return False
        reply = self.fault.answer(words)
        if reply is None:
            back.send(request, WAIT_SECONDS)
            got = back.read(WAIT_SECONDS)
            if got.is_state():
                return False
            reply = self.fault.change(words, got.raw)
        client.sendall(reply)
        if words[0] == b"QUIT":
            return False
        return True

    def pass_on(self, client, back):
        """Bytes in both directions until the server ends the stream, and the client where the
        fault has it wait for that."""
        sources = [back.sock, client]
        while back.sock in sources:
            source = select.select(sources, [], [])[0][0]
            data = received(source)
            if not data:
                sources.remove(source)
            if source is back.sock:
                client.sendall(data)
            elif data:
                back.send(data, WAIT_SECONDS)
                client.sendall(back.buf)  # what came while it was sent
                back.buf = b""
            else:
                end_sending(back.sock)
        if not self.fault.keeps_open():
            end_sending(client)
        while client in sources and received(client):
            pass  # closing with bytes unread would take the replies back


def received(sock):
    """The next bytes, none at the end of the stream however it came."""
    try:
        return sock.recv(1 << 16)
    except ConnectionResetError:
        return b""


def end_sending(sock):
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # gone already
