"""What a sequence consists of, and its text form.

A sequence is a list of steps; each step runs to its end on both servers before the next begins.
The text form is the one of cases/*.txt, so a printed failure can be pasted into a case file:

    SET k "v\\x00"          a command on connection 1
    2> GET k               the same on connection 2
    | INCR n               consecutive lines with a bar are written in one go (a pipeline)
    !inline "GET k"        an inline command, sent as it stands with CRLF behind it
    !raw "*1\\r\\n$-9\\r\\n"   bytes on a connection of their own; replies and closing are compared
    !half "PING\\r\\n"       the same, but the client closes its sending side behind the bytes
    !scan MATCH k*         SCAN to the end; the sets of keys are compared
    !reopen                close the connection and open it again
    !elapse 20             wait until both servers' clocks have moved on by 20 ms
    $rep(x,100)  $id(2)    100 times x; the client id of connection 2

`== name` begins a case: fresh connections, empty databases. `#` begins a comment.
"""

import re

from resp import encode, quote

PLAIN = re.compile(rb"[A-Za-z0-9_.:{}*?\[\]+^/@=,<>-]+\Z")
REP = re.compile(r"\$rep\((.|\\x[0-9a-fA-F]{2}),(\d+)\)")
ID = re.compile(r"\$id\((\d+)\)")
PREFIX = re.compile(r"(\d+)> ?")
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "a": b"\a", "b": b"\b"}
REP_SHOWN_FROM = 24


class ClientId:
    """Stands for the id of a connection, which differs between the servers."""

    __slots__ = ("conn",)

    def __init__(self, conn):
        self.conn = conn


class Cmd:
    """A command; `inline` holds the line to send where it is not a multibulk request."""

    __slots__ = ("args", "inline", "name")

    def __init__(self, args, inline=None):
        self.args = list(args)
        self.inline = inline
        self.name = self.word(0)

    def word(self, index):
        """An argument in upper case, b"" where there is none."""
        if index >= len(self.args) or not isinstance(self.args[index], bytes):
            return b""
        return self.args[index].upper()

    def placeholders(self):
        return any(isinstance(arg, ClientId) for arg in self.args)

    def encode(self, client_id):
        if self.inline is not None:
            return self.inline + b"\r\n"
        return encode([client_id(a.conn) if isinstance(a, ClientId) else a for a in self.args])

    def text(self):
        if self.inline is not None:
            return "!inline " + quote(self.inline)
        return " ".join(arg_text(arg) for arg in self.args)


class Batch:
    """Commands of one connection, written in one go. A sealed one keeps its first and last command
    when it is shrunk (CLIENT REPLY OFF ... ON: without the end nobody knows when it is done)."""

    def __init__(self, conn, cmds, sealed=False):
        self.conn = conn
        self.cmds = list(cmds)
        self.sealed = sealed

    def lines(self):
        prefix = "" if self.conn == 1 else "%d> " % self.conn
        bar = "| " if len(self.cmds) > 1 else ""
        return [prefix + bar + cmd.text() for cmd in self.cmds]


class Raw:
    """Bytes on a throw-away connection."""

    def __init__(self, data, half_close=False):
        self.data = data
        self.half_close = half_close

    def lines(self):
        return [("!half " if self.half_close else "!raw ") + arg_text(self.data, force=True)]


class Scan:
    """SCAN from 0 until the cursor is 0 again; `args` are the options behind the cursor."""

    def __init__(self, conn, args):
        self.conn = conn
        self.args = list(args)

    def lines(self):
        prefix = "" if self.conn == 1 else "%d> " % self.conn
        return [(prefix + "!scan " + " ".join(arg_text(a) for a in self.args)).rstrip()]


class Reopen:
    def __init__(self, conn):
        self.conn = conn

    def lines(self):
        return [("" if self.conn == 1 else "%d> " % self.conn) + "!reopen"]


class Elapse:
    def __init__(self, ms):
        self.ms = ms

    def lines(self):
        return ["!elapse %d" % self.ms]


class Sequence:
    """Steps with where they came from; `origin` is printed with a failure."""

    def __init__(self, steps, origin):
        self.steps = steps
        self.origin = origin

    def commands(self):
        for step in self.steps:
            if isinstance(step, Batch):
                yield from step.cmds

    def size(self):
        return sum(len(s.cmds) if isinstance(s, Batch) else 1 for s in self.steps)


def arg_text(arg, force=False):
    if isinstance(arg, ClientId):
        return "$id(%d)" % arg.conn
    if len(arg) >= REP_SHOWN_FROM and arg == arg[:1] * len(arg):
        byte = arg[:1]
        shown = byte.decode() if PLAIN.match(byte) else "\\x%02x" % byte[0]
        return "$rep(%s,%d)" % (shown, len(arg))
    if PLAIN.match(arg) and not force and not PREFIX.match(arg.decode()):
        return arg.decode()
    return quote(arg)


def split(text):
    """Splits a line into arguments: words, quoted strings, $rep() and $id()."""
    args, pos = [], 0
    while True:
        while pos < len(text) and text[pos] in " \t":
            pos += 1
        if pos == len(text):
            return args
        parts = []
        while pos < len(text) and text[pos] not in " \t":
            match = ID.match(text, pos)
            if match and not parts:
                parts.append(ClientId(int(match.group(1))))
                pos = match.end()
                continue
            match = REP.match(text, pos)
            if match:
                unit = match.group(1)
                byte = bytes([int(unit[2:], 16)]) if len(unit) > 1 else unit.encode()
                parts.append(byte * int(match.group(2)))
                pos = match.end()
            elif text[pos] in "\"'":
                part, pos = quoted(text, pos)
                parts.append(part)
            else:
                parts.append(text[pos].encode("latin-1"))
                pos += 1
        if isinstance(parts[0], ClientId):
            if len(parts) > 1:
                raise ValueError("bytes behind $id()")
            args.append(parts[0])
        else:
            args.append(b"".join(parts))


def quoted(text, pos):
    """Reads the quoted string at pos; returns (bytes, position behind it)."""
    mark, out = text[pos], []
    pos += 1
    while pos < len(text) and text[pos] != mark:
        if text[pos] == "\\" and mark == '"':
            follow = text[pos + 1 : pos + 2]
            if follow == "x":
                out.append(bytes([int(text[pos + 2 : pos + 4], 16)]))
                pos += 4
            else:
                out.append(ESCAPES.get(follow, follow.encode("latin-1")))
                pos += 2
        else:
            out.append(text[pos].encode("latin-1"))
            pos += 1
    if pos >= len(text):
        raise ValueError("quote without end")
    return b"".join(out), pos + 1


def parse_line(line):
    """One line of a case file, as (step, belongs to a pipeline), or None for nothing."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    conn = 1
    match = PREFIX.match(line)
    if match:
        conn = int(match.group(1))
        line = line[match.end() :]
    piped = line.startswith("|")
    if piped:
        line = line[1:].lstrip()
    if not line.startswith("!"):
        return Batch(conn, [Cmd(split(line))]), piped
    word, _, rest = line[1:].partition(" ")
    if word == "inline":
        data = split(rest)[0]
        return Batch(conn, [Cmd(data.replace(b'"', b" ").split(), inline=data)]), piped
    if word in ("raw", "half"):
        return Raw(b"".join(split(rest)), half_close=word == "half"), False
    if word == "scan":
        return Scan(conn, split(rest)), False
    if word == "reopen":
        return Reopen(conn), False
    if word == "elapse":
        return Elapse(int(rest)), False
    raise ValueError("unknown directive !" + word)


def parse_cases(text, name):
    """A case file as a list of Sequences; errors name the line."""
    cases, steps, joined = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("=="):
            steps, joined = [], False
            cases.append(Sequence(steps, "%s:%d %s" % (name, number, line.strip("= "))))
            continue
        try:
            parsed = parse_line(line)
        except (ValueError, IndexError) as error:
            raise ValueError("%s:%d: %s" % (name, number, error)) from None
        if parsed is None:
            continue
        if steps is None:
            raise ValueError("%s:%d: a line before the first ==" % (name, number))
        step, piped = parsed
        last = steps[-1] if steps else None
        if piped and joined and isinstance(last, Batch) and last.conn == step.conn:
            last.cmds.extend(step.cmds)
        else:
            steps.append(step)
        joined = piped
    return cases
