"""Runs a sequence on two servers and collects the differences.

A Pair owns the connections to both servers. Steps run strictly one after the other: both servers
get the same bytes, both answers are awaited, then compared. So the order of effects across the
connections of a sequence is fixed, and any difference is the server's.
"""

import time

import compare as comparing
import known
import resp
from resp import CLOSED, TIMEOUT, Reply, show, state
from servers import DATABASES, ServerDied
from steps import Batch, Cmd, Elapse, Raw, Reopen, Scan

SCAN_CALLS_MAX = 20000
QUIET_SECONDS = 0.03
QUIET_AGAIN_SECONDS = 0.4
ORACLE_SECONDS = 15  # it answers; on a machine with other work that takes its time
DONE_SECONDS = 0.002
TURN_BYTES = 8192  # it reads at least so much in a turn of its loop
SETTLE_SECONDS = 3
PASSWORD = b"secret"  # the one that cases set with CONFIG SET requirepass


class Difference:
    """One place where the servers part."""

    def __init__(self, step, cmd, a, b, why):
        self.step = step  # index of the step, or None for the final comparison of all keys
        self.cmd = cmd  # text
        self.a = a
        self.b = b
        self.why = why
        self.fatal = None  # "died" or "hung": the server needs a restart

    def sort(self):
        """What a shrunk sequence has to show as well to count as the same failure. Which command
        shows first that the keys differ in the end depends on the order of the keys."""
        name = self.cmd.split(" ")[0].upper()
        named = self.fatal is None and self.step is not None
        return (self.fatal, self.step is None, name if named else "")


class Model:
    """What the runner knows of a connection's state: whether replies come, and what is queued."""

    def __init__(self):
        self.silent = False
        self.skip = False
        self.queue = None

    def expects_reply(self, cmd):
        """Call once for each command sent; False where Redis sends nothing for it."""
        if cmd.inline is not None and not cmd.args:
            return False
        if cmd.name == b"CLIENT" and cmd.word(1) == b"REPLY" and len(cmd.args) == 3:
            if self.queue is None:
                mode = cmd.word(2)
                if mode == b"ON":
                    self.silent = self.skip = False
                    return True
                if mode == b"OFF":
                    self.silent = True
                    return False
                if mode == b"SKIP":
                    if not self.silent:
                        self.skip = True
                    return False
        if cmd.name == b"RESET" and len(cmd.args) == 1:
            self.silent = self.skip = False
            return True
        if self.silent:
            return False
        if self.skip:
            self.skip = False
            return False
        return True

    def finish(self, cmd, reply):
        """Follows the oracle's reply."""
        if cmd.name == b"MULTI" and reply.raw == b"+OK\r\n":
            self.queue = []
        elif self.queue is not None and reply.raw == b"+QUEUED\r\n":
            self.queue.append(cmd)
        elif cmd.name in (b"EXEC", b"DISCARD", b"RESET") and len(cmd.args) == 1:
            self.queue = None  # with arguments it is an error, and the transaction stays open


class Side:
    """The connections to one server."""

    def __init__(self, server):
        self.server = server
        self.channels = {}
        self.admin = None
        self.defaults = None
        self.generation = server.generation
        self.want_ids = False

    def channel(self, conn):
        channel = self.channels.get(conn)
        if channel is None:
            channel = self.server.connect(conn)
            if self.want_ids:
                channel.client_id = channel.call("CLIENT", "ID").value or b"0"
            self.channels[conn] = channel
        return channel

    def client_id(self, conn):
        return self.channel(conn).client_id or b"0"

    def drop(self, conn):
        channel = self.channels.pop(conn, None)
        if channel:
            channel.close()

    def drop_all(self):
        for conn in list(self.channels):
            self.drop(conn)

    def admin_channel(self):
        """The runner's own connection; made again after a restart or when it was killed."""
        if self.generation != self.server.generation:
            self.generation = self.server.generation
            self.defaults = None
            self.close_admin()
        if self.admin is None:
            self.admin = self.server.connect(1)
            if self.admin.call("PING").raw[:7] == b"-NOAUTH":
                self.admin.call("AUTH", PASSWORD)
        return self.admin

    def close_admin(self):
        if self.admin:
            self.admin.close()
        self.admin = None

    def ask(self, commands):
        """Runs commands on the runner's own connection, once more if it was lost."""
        for _ in range(2):
            replies = self.admin_channel().pipeline(commands)
            if not replies or not replies[-1].is_state():
                return replies
            self.close_admin()
        return replies

    def read_defaults(self):
        if self.defaults is None or self.generation != self.server.generation:
            self.admin_channel()
            names = sorted(known.CONFIG_COMPARED)
            replies = self.ask([(b"CONFIG", b"GET", n.encode()) for n in names])
            self.defaults = [
                (n.encode(), r.value[1].value)
                for n, r in zip(names, replies)
                if r.kind == b"*" and len(r.value) == 2
            ]
        return self.defaults

    def reset(self, config):
        self.drop_all()
        commands = [(b"CLIENT", b"UNPAUSE")]
        defaults = self.read_defaults()  # before the first sequence can change one
        if config:
            # Setting bind again would close the listening socket for a moment.
            commands += [(b"CONFIG", b"SET", n, v) for n, v in defaults if n != b"bind"]
            commands += [(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1"), (b"SLOWLOG", b"RESET")]
        commands.append((b"FLUSHALL",))
        reply = self.ask(commands)[-1]
        if reply.raw != b"+OK\r\n":
            if not self.server.alive():
                raise ServerDied("%s: %s" % (self.server.label, self.server.obituary()))
            raise ServerDied("%s answers FLUSHALL with %s" % (self.server.label, show(reply)))


class Pair:
    """Two servers under comparison: `a` is the oracle."""

    def __init__(self, a, b, seconds):
        self.a = Side(a)
        self.b = Side(b)
        self.sides = (self.a, self.b)
        self.seconds = seconds  # the patience with b
        self.oracle_seconds = max(seconds, ORACLE_SECONDS)
        self.models = {}
        self.commands_run = 0
        self.dirty_config = False

    def close(self):
        for side in self.sides:
            side.drop_all()
            side.close_admin()

    def recover(self):
        """Restarts whatever does not answer any more."""
        for side in self.sides:
            side.drop_all()
            side.close_admin()
            if not side.server.alive():
                side.server.restart()

    def restart_subject(self):
        self.b.drop_all()
        self.b.close_admin()
        self.b.server.restart()

    def prepare(self, sequence):
        self.models = {}
        steps = sequence.steps
        for side in self.sides:
            side.want_ids = any(c.placeholders() for c in sequence.commands())
            side.reset(self.dirty_config)
        self.dirty_config = any(
            c.name in (b"CONFIG", b"DEBUG") or c.inline is not None for c in sequence.commands()
        ) or any(isinstance(s, Raw) for s in steps)

    def run(self, sequence, every=False):
        """Runs the sequence from a clean state. Returns its differences: the first one, or with
        `every` all of them. A server that is dead beforehand raises ServerDied."""
        found = self.run_prepared(sequence, every)
        if found:  # a reply too many or too few would meet the next run's first question
            for side in self.sides:
                side.close_admin()
        return found

    def run_prepared(self, sequence, every):
        self.prepare(sequence)
        found = []
        try:
            for index, step in enumerate(sequence.steps):
                found += self.run_step(index, step)
                if found and (not every or found[-1].fatal):
                    return found
            found += self.leftovers()
            if not found or (every and not found[-1].fatal):
                found += self.keyspace()
        except OSError as error:
            found.append(self.lost(error))
        return found

    def lost(self, error):
        died = not self.b.server.alive()
        diff = Difference(None, "(connect)", state(CLOSED), state(CLOSED), "%s" % error)
        diff.fatal = "died" if died else None
        return diff

    def run_step(self, index, step):
        if isinstance(step, Batch):
            return self.run_batch(index, step)
        if isinstance(step, Raw):
            return self.run_raw(index, step)
        if isinstance(step, Scan):
            return self.run_scan(index, step)
        if isinstance(step, Elapse):
            return self.run_elapse(step)
        if isinstance(step, Reopen):
            self.forget(step.conn)
            return []
        raise TypeError(step)

    def read_both(self, channels):
        """The next reply of each."""
        return channels[0].read(self.oracle_seconds), channels[1].read(self.seconds)

    def forget(self, conn):
        self.models.pop(conn, None)
        for side in self.sides:
            side.drop(conn)

    def mark_fatal(self, diff):
        """A missing answer of the second server may be its death, or a hang."""
        if diff.b.kind == CLOSED and not self.b.server.alive():
            diff.fatal = "died"
        elif diff.b.kind == TIMEOUT and diff.a.kind != TIMEOUT:
            diff.fatal = "hung" if self.b.server.process.poll() is None else "died"
        return diff

    def run_batch(self, index, step):
        channels = []
        for side in self.sides:
            channel = side.channel(step.conn)
            data = b"".join(cmd.encode(side.client_id) for cmd in step.cmds)
            channel.send(data, self.seconds)  # a failure shows as a missing reply
            channels.append(channel)
        model = self.models.setdefault(step.conn, Model())
        found = []
        self.commands_run += len(step.cmds)
        for cmd in step.cmds:
            if not model.expects_reply(cmd):
                continue
            a, b = self.read_both(channels)
            queue = model.queue
            why = comparing.compare(cmd, a, b, queue)
            if why:
                found.append(self.mark_fatal(Difference(index, cmd.text(), a, b, why)))
                if a.is_state() or b.is_state():
                    self.forget(step.conn)
                    return found
            elif a.is_state():
                self.forget(step.conn)
                return found
            if cmd.name == b"QUIT" and a.raw == b"+OK\r\n":
                found += self.expect_closing(index, step.conn, channels)
                return found
            model.finish(cmd, a)
        return found

    def expect_closing(self, index, conn, channels):
        a, b = self.read_both(channels)
        self.forget(conn)
        why = comparing.compare(Cmd([b"(closing)"]), a, b)
        return [self.mark_fatal(Difference(index, "(after QUIT)", a, b, why))] if why else []

    def run_raw(self, index, step):
        why, a, b = self.raw_once(step, QUIET_SECONDS)
        if why:  # silence is a matter of time: only one that lasts counts
            why, a, b = self.raw_once(step, QUIET_AGAIN_SECONDS)
        if not why:
            return []
        text = "(raw) " + step.lines()[0]
        return [self.mark_fatal(Difference(index, text, a, b, why))]

    def raw_once(self, step, quiet_seconds):
        """Sends the bytes to both. The oracle tells how much to wait for: the end of the stream,
        or as many bytes as it sent before it fell silent."""
        results = []
        for side in self.sides:
            channel = side.server.connect(1)
            channel.send(step.data, self.seconds)
            if step.half_close:
                try:
                    channel.sock.shutdown(1)
                except OSError:
                    pass  # closed by the server already
                patience = self.seconds if results else self.oracle_seconds
                results.append(channel.read_until_closed(patience))
            elif not results:
                results.append(self.read_until_done(channel, len(step.data), quiet_seconds))
            else:
                results.append(self.read_like(channel, results[0], quiet_seconds))
            channel.close()
        (left, left_closed), (right, right_closed) = results
        a, b = Reply("stream", None, left), Reply("stream", None, right)
        if left != right:
            return "bytes differ", a, b
        if left_closed != right_closed:
            who = "redis" if left_closed else "polluxd"
            return "only %s closes the connection" % who, a, b
        return None, a, b

    def read_until_done(self, channel, sent_bytes, quiet_seconds):
        """All that the oracle says to the bytes that were sent. Silence alone does not prove that
        it is done, but it has one thread: after a few turns of its loop it has seen them all."""
        data = b""
        deadline = time.monotonic() + self.oracle_seconds
        while True:
            more, closed = channel.read_until_closed(self.oracle_seconds, quiet_seconds)
            data += more
            if closed or time.monotonic() > deadline:
                return data, closed
            for _ in range(3 + sent_bytes // TURN_BYTES):
                self.a.ask([(b"PING",)])
            more, closed = channel.read_until_closed(self.oracle_seconds, DONE_SECONDS)
            data += more
            if closed or not more:
                return data, closed

    def read_like(self, channel, model, quiet_seconds):
        data, closed = model
        if closed:
            return channel.read_until_closed(self.seconds)
        got = b""
        deadline = time.monotonic() + self.seconds
        while len(got) < len(data) and not channel.eof and time.monotonic() < deadline:
            got += channel.read_until_closed(self.seconds, quiet_seconds)[0]
        more, ended = channel.read_until_closed(self.seconds, quiet_seconds)
        return got + more, ended

    def run_scan(self, index, step):
        left, right = (self.scan_all(side, step) for side in self.sides)
        text = " ".join(["SCAN"] + [l.split("!scan", 1)[1].strip() for l in step.lines()])
        model = self.models.setdefault(step.conn, Model())
        cmd = Cmd([b"SCAN", b"0"] + step.args)
        if isinstance(left, Reply) and isinstance(right, Reply):
            why = comparing.compare(cmd, left, right)
            model.finish(cmd, left)
        elif isinstance(left, Reply) or isinstance(right, Reply):
            why = "only one can be scanned"
            left, right = (self.set_reply(x) for x in (left, right))
        else:
            why = None
            if left != right:
                only = (sorted(left - right)[:5], sorted(right - left)[:5])
                why = "sets of keys differ: only redis %r, only polluxd %r" % only
            left, right = (self.set_reply(x) for x in (left, right))
        if not why:
            return []
        return [self.mark_fatal(Difference(index, text, left, right, why))]

    @staticmethod
    def set_reply(value):
        if isinstance(value, Reply):
            return value
        return Reply("set", None, b" ".join(sorted(value)))

    def scan_all(self, side, step):
        """The set of keys of a complete iteration, or the first reply that is none."""
        channel = side.channel(step.conn)
        patience = self.oracle_seconds if side is self.a else self.seconds
        keys, cursor = set(), b"0"
        for _ in range(SCAN_CALLS_MAX):
            self.commands_run += 1
            channel.send(resp.encode([b"SCAN", cursor] + step.args), self.seconds)
            reply = channel.read(patience)
            if reply.kind != b"*" or comparing.scan_once(None, reply, reply):
                return reply
            keys.update(child.value for child in reply.value[1].value)
            cursor = reply.value[0].value
            if cursor == b"0":
                return keys
        return state(TIMEOUT)

    def run_elapse(self, step):
        for side in self.sides:
            until = None
            deadline = time.monotonic() + self.seconds + step.ms / 1000
            while time.monotonic() < deadline:
                reply = side.ask([(b"TIME",)])[0]
                if not isinstance(reply.value, list):
                    break
                now_ms = reply.value[0].number() * 1000 + reply.value[1].number() // 1000
                until = now_ms + step.ms + 1 if until is None else until
                if now_ms >= until:
                    break
                time.sleep(0.001)  # a poll: the server's clock ends it
        return []

    def leftovers(self):
        """Bytes that nobody asked for: after RESET and ECHO nothing else may be left."""
        found = []
        for conn in sorted(set(self.a.channels) & set(self.b.channels)):
            commands = [(b"RESET",), (b"ECHO", b"end of connection")]
            for side in self.sides:
                side.channel(conn).send(b"".join(resp.encode(c) for c in commands), self.seconds)
            for words in commands:
                a, b = self.read_both([side.channel(conn) for side in self.sides])
                why = comparing.compare(Cmd(words), a, b)
                if why:
                    text = "%s (last sync of connection %d)" % (words[0].decode(), conn)
                    found.append(self.mark_fatal(Difference(None, text, a, b, why)))
                    break
                if a.is_state():
                    break
        return found

    def keyspace(self):
        """Compares every key of every database, and the digests."""
        found = self.compare_admin([(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1")], "all keys")
        counts = self.settled_counts()
        for db in range(DATABASES):
            a, b = counts[0][db], counts[1][db]
            why = comparing.compare(Cmd([b"KEYS", b"*"]), a, b)
            if why:
                found.append(Difference(None, "KEYS in database %d" % db, a, b, why))
        if not found:
            commands = []
            for db in range(DATABASES):
                keys = counts[0][db].value
                if isinstance(keys, list) and keys:
                    commands.append((b"SELECT", b"%d" % db))
                    commands.append((b"DBSIZE",))
                    for key in sorted(child.value for child in keys):
                        commands += [
                            (b"TYPE", key), (b"GET", key), (b"OBJECT", b"ENCODING", key),
                            (b"PEXPIRETIME", key), (b"DEBUG", b"DIGEST-VALUE", key),
                        ]  # fmt: skip
            commands.append((b"DEBUG", b"DIGEST"))
            commands.append((b"SELECT", b"0"))
            found += self.compare_admin(commands, "all keys")
        return found

    def settled_counts(self):
        """KEYS * of each database of both servers, once the expired keys are gone: DBSIZE and the
        digest count a key that has expired until something removes it."""
        commands = []
        for db in range(DATABASES):
            commands += [(b"SELECT", b"%d" % db), (b"KEYS", b"*"), (b"DBSIZE",)]
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            result, settled = [], True
            for side in self.sides:
                replies = side.ask(commands)
                result.append(replies[1::3])
                for keys, size in zip(replies[1::3], replies[2::3]):
                    if isinstance(keys.value, list) and size.number() is not None:
                        settled = settled and len(keys.value) == size.number()
            if settled or time.monotonic() > deadline:
                return result
            time.sleep(0.01)  # a poll: active expiry ends it

    def compare_admin(self, commands, where):
        replies = [side.ask(commands) for side in self.sides]
        found = []
        for words, a, b in zip(commands, *replies):
            cmd = Cmd(words)
            why = comparing.compare(cmd, a, b)
            if why:
                text = "%s (%s)" % (cmd.text(), where)
                found.append(self.mark_fatal(Difference(None, text, a, b, why)))
                if not found[-1].fatal:
                    continue
                break
        return found[:5]
