"""Checks that no single reply can make: replies that come by themselves, or whose parts matter.

Each takes the pair of servers and returns a list of problems (texts). A check runs the same script
on both and compares what it makes of the answers.
"""

import re
import subprocess
import time

import known
import resp
from resp import TIMEOUT

SILENCE_SECONDS = 0.05
MONITOR_LINE = re.compile(rb"\+\d{10}\.\d{6} \[(\d+) [^]]*\] (.*)\r\n", re.S)


def both(pair, script):
    """Runs script(side) on both; returns the two results."""
    results = []
    for side in (pair.a, pair.b):
        side.reset(config=True)
        results.append(script(side))
        side.drop_all()
    return results


def agree(pair, script):
    left, right = both(pair, script)
    if left == right:
        return []
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return ["%r against %r" % (a, b) for a, b in zip(left, right) if a != b][:5]
    return ["%r against %r" % (left, right)]


def monitor(pair):
    """What MONITOR shows: database, quoting, order, transactions; not what it hides."""

    def script(side):
        watcher, client = side.channel(1), side.channel(2)
        out = [watcher.call("MONITOR").raw]
        requests = [
            (b"SET", b"k", b'a\r\n"\\\x00\xff'),
            (b"SELECT", b"2"),
            (b"get", b"k"),
            (b"GET",),
            (b"NOSUCHCOMMAND", b"x"),
            (b"MULTI",),
            (b"INCR", b"n"),
            (b"EXEC",),
            (b"HELLO", b"2", b"AUTH", b"default", b"hidden"),
            (b"AUTH", b"hidden"),
            (b"CONFIG", b"GET", b"save"),
            (b"DEL", b"k", b"n"),
            (b"ECHO", b"end of the script"),
        ]
        for words in requests:
            client.call(*words)
        while True:
            line = watcher.read(pair.seconds)
            match = MONITOR_LINE.fullmatch(line.raw)
            if not match:
                out.append(("not a line of MONITOR", line.kind, line.raw))
                return out
            out.append(match.groups())
            if b"end of the script" in match.group(2):
                return out

    return agree(pair, script)


def client_pause(pair):
    """PAUSE WRITE holds writers and lets readers through; UNPAUSE lets them go on, in order."""

    def script(side):
        boss, writer, reader = side.channel(1), side.channel(2), side.channel(3)
        out = [boss.call("CLIENT", "PAUSE", 60000, "WRITE").raw]
        writer.send(resp.encode([b"SET", b"k", b"1"]) + resp.encode([b"GET", b"k"]), pair.seconds)
        out.append(writer.read(SILENCE_SECONDS).kind == TIMEOUT)
        out.append(reader.call("GET", "k").raw)
        out.append(boss.call("CLIENT", "UNPAUSE").raw)
        out += [writer.read(pair.seconds).raw, writer.read(pair.seconds).raw]
        out.append(boss.call("CLIENT", "PAUSE", 1, "ALL").raw)
        out.append(reader.call("GET", "k").raw)
        return out

    return agree(pair, script)


def client_kill(pair):
    """The victim's connection ends, the others stay; a client that kills itself gets the reply."""

    def script(side):
        side.want_ids = True
        boss, victim, other = side.channel(1), side.channel(2), side.channel(3)
        out = [boss.call("CLIENT", "KILL", "ID", victim.client_id).raw]
        out.append(victim.read(pair.seconds).kind)
        out.append(other.call("PING").raw)
        out.append(boss.call("CLIENT", "KILL", "ID", victim.client_id).raw)
        out.append(boss.call("CLIENT", "KILL", "ID", boss.client_id).raw)
        out.append(boss.call("CLIENT", "KILL", "ID", boss.client_id, "SKIPME", "no").raw)
        out.append(boss.read(pair.seconds).kind)
        side.want_ids = False
        return out

    return agree(pair, script)


def client_list(pair):
    """Each connection is in CLIENT LIST with its name, database and protocol."""

    def script(side):
        side.want_ids = True
        boss = side.channel(1)
        for conn in (2, 3, 4):
            channel = side.channel(conn)
            channel.call("HELLO", 3 if conn == 3 else 2)
            channel.call("CLIENT", "SETNAME", "name-%d" % conn)
            channel.call("SELECT", conn)
        side.channel(4).call("MULTI")
        side.channel(4).call("PING")
        out = []
        listing = boss.call("CLIENT", "LIST").value or b""
        for conn in (2, 3, 4):
            mine = boss.call("CLIENT", "LIST", "ID", side.client_id(conn)).value or b""
            start = b"id=%s " % side.client_id(conn)
            lines = [line for line in listing.splitlines() if line.startswith(start)]
            out.append((len(lines), len(mine.splitlines())))
            for line in (lines[:1] + mine.splitlines())[:2]:
                fields = dict(f.split(b"=", 1) for f in line.split(b" ") if b"=" in f)
                out.append([fields.get(f) for f in (b"name", b"db", b"resp", b"multi", b"cmd")])
        side.want_ids = False
        return out

    return agree(pair, script)


def info_fields(pair):
    """Every section and field that Redis has, except those in known.INFO_FIELDS."""

    def script(side):
        client = side.channel(1)
        client.call("SET", "k", "v")
        client.call("GET", "nothing")
        client.call("NOSUCHCOMMAND")
        fields = {}
        section = b""
        for line in (client.call("INFO", "everything").value or b"").splitlines():
            if line.startswith(b"#"):
                section = line[2:]
            elif b":" in line:
                fields[line.split(b":")[0].decode()] = section.decode()
        return fields

    left, right = both(pair, script)
    problems = []
    for field, section in sorted(left.items(), key=lambda item: (item[1], item[0])):
        if section in ("Modules", "Commandstats", "Latencystats", "Errorstats"):
            continue
        if known.info_field_excused(field):
            continue
        if field not in right:
            problems.append("INFO: %s of section %s is missing" % (field, section))
        elif right[field] != section:
            problems.append("INFO: %s is in section %s, not %s" % (field, right[field], section))
    return problems


def info_counts(pair):
    """Statistics that a fixed script moves by fixed amounts."""

    def figures(client, *wanted):
        text = (client.call("INFO", "everything").value or b"").decode("latin-1")
        found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return [found.get(w) for w in wanted]

    def script(side):
        client = side.channel(1)
        client.call("CONFIG", "RESETSTAT")
        for words in (("SET", "k", "v"), ("SET", "t", "v", "EX", "10000"), ("GET", "k"),
                      ("GET", "none"), ("EXISTS", "k", "none", "t"), ("NOSUCHCOMMAND",), ("GET",),
                      ("INCR", "k"), ("SETEX", "k", "0", "v")):  # fmt: skip
            client.call(*words)
        client.call("SELECT", 3)
        client.call("SET", "k", "v")
        out = figures(client, "keyspace_hits", "keyspace_misses", "total_error_replies",
                      "errorstat_ERR", "expired_keys", "evicted_keys", "blocked_clients",
                      "maxmemory_policy", "cluster_enabled", "role", "redis_mode")  # fmt: skip
        for db in ("db0", "db3", "db1"):
            value = figures(client, db)[0]
            out.append(value and re.sub(r"avg_ttl=\d+", "avg_ttl=", value))
        for command in ("cmdstat_set", "cmdstat_get", "cmdstat_setex", "cmdstat_nosuchcommand"):
            value = figures(client, command)[0]
            out.append(value and re.sub(r"usec(_per_call)?=[\d.]+", "usec=", value))
        return out

    return agree(pair, script)


def statistics(pair):
    """Calls, rejected and failed calls of each command, and errors by their code."""
    lines = """
        SET k v|SET k v EX 0|GET|GET k k|NOSUCH a b|CLIENT NOSUCH|CLIENT|CLIENT ID|CLIENT SETNAME
        INCR k|MULTI|SET k|EXEC|EXEC|MULTI|INCR k|GET k|NOSUCH|DISCARD|DISCARD|MULTI|INCR k|SET x y
        WATCH k|MULTI|EXEC x|EXEC|MULTI|INCR k|SET x y|EXEC|WATCH k|SET k 5|MULTI|PING|EXEC|AUTH x
        AUTH default wrong|HELLO 9|HELLO 3 AUTH a b|SELECT 99|OBJECT HELP|OBJECT FREQ k
        OBJECT ENCODING k|OBJECT ENCODING none|DEBUG ERROR ABC|DEBUG|CONFIG SET a b
        CONFIG GET maxmemory|MGET a b c|MSET a 1 b|DEL a b c|EXISTS k a|KEYS *|SCAN 0|SCAN x
        RANDOMKEY|BITOP NOT a b c|COPY k k|RENAME none k|PING a b c|ECHO|TTL k|TOUCH k none
        TYPE none|STRLEN none|BITFIELD k GET u8 0|COMMAND COUNT|COMMAND INFO get
        COMMAND GETKEYS get|COMMAND GETKEYS mset a 1 b 2|FLUSHALL x|SWAPDB 0 99|GETRANGE k 0 1
        LCS k a|QUIT"""
    wanted = re.compile(r"(cmdstat|errorstat)_|total_(error_replies|commands_processed)|keyspace_")

    def script(side):
        client = side.channel(1)
        client.call("CONFIG", "RESETSTAT")
        for line in lines.replace("\n", "|").split("|"):
            if line.split():
                client.call(*line.split())
        text = (side.channel(2).call("INFO", "everything").value or b"").decode("latin-1")
        return [
            re.sub(r"usec(_per_call)?=[\d.]+", "", line)
            for line in sorted(text.splitlines())
            if wanted.match(line)
        ]

    return agree(pair, script)


def active_expiry(pair):
    """Expired keys go without being asked for, and are counted."""

    def script(side):
        client = side.channel(1)
        for number in range(200):
            client.call("SET", "k%d" % number, "v", "PX", 20)
        client.call("SET", "stays", "v")
        deadline = time.monotonic() + pair.seconds
        while client.call("DBSIZE").number() != 1 and time.monotonic() < deadline:
            time.sleep(0.005)  # a poll: DBSIZE ends it
        return [client.call("DBSIZE").raw, client.call("GET", "stays").raw]

    return agree(pair, script)


def expiry_on_access(pair):
    """With active expiry off, a key that has expired is gone for every command."""

    def script(side):
        client = side.channel(1)
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        out = []
        for words in (("GET", "k"), ("EXISTS", "k"), ("TTL", "k"), ("TYPE", "k"), ("KEYS", "*"),
                      ("RENAME", "k", "l"), ("SET", "k", "w", "NX"), ("SET", "k", "w", "XX"),
                      ("APPEND", "k", "x"), ("INCR", "k"), ("PERSIST", "k"), ("COPY", "k", "l"),
                      ("GETSET", "k", "y"), ("OBJECT", "ENCODING", "k"), ("SCAN", 0, "COUNT", 100),
                      ("MSETNX", "k", "1", "m", "2"), ("SETNX", "k", "1"), ("MOVE", "k", 1),
                      ("EXPIRE", "k", 1000), ("STRLEN", "k"), ("RANDOMKEY",), ("DEL", "k"),
                      ("TOUCH", "k"), ("UNLINK", "k"), ("GETEX", "k", "PERSIST"),
                      ("SETRANGE", "k", 2, "x"), ("BITCOUNT", "k"),
                      ("DEBUG", "DIGEST-VALUE", "k")):  # fmt: skip
            client.call("FLUSHALL")
            client.call("SET", "k", "5", "PX", 1)
            start = side.ask([(b"TIME",)])[0]
            deadline = time.monotonic() + pair.seconds
            while time.monotonic() < deadline:
                now = side.ask([(b"TIME",)])[0]
                passed = (now.value[0].number() - start.value[0].number()) * 1000000
                if passed + now.value[1].number() - start.value[1].number() > 3000:
                    break
            out.append((words, client.call(*words).raw, client.call("GET", "k").raw))
        # A WATCH of a key that expires later sees a change; of one that had expired, none.
        client.call("FLUSHALL")
        return out

    return agree(pair, script)


def slowlog(pair):
    """Entries: newest first, at most 32 arguments of 128 bytes, the client's name."""

    def script(side):
        client = side.channel(1)
        client.call("CLIENT", "SETNAME", "slow")
        client.call("CONFIG", "SET", "slowlog-log-slower-than", 0)
        client.call("SLOWLOG", "RESET")
        client.call("SET", "k", b"v" * 200)
        client.call("MGET", *["key%d" % i for i in range(40)])
        client.call("CONFIG", "SET", "slowlog-log-slower-than", -1)
        client.call("PING")
        reply = client.call("SLOWLOG", "GET", 3)
        if not isinstance(reply.value, list):
            return [reply.raw]
        entries = [(e.header(), e.value[3].raw, e.value[5].raw) for e in reply.value]
        return [reply.header()] + entries

    return agree(pair, script)


def memory_usage(pair):
    """MEMORY USAGE grows with the value and is of the order of its size."""

    def script(side):
        client = side.channel(1)
        out = []
        for size in (0, 10, 100, 1000, 100000):
            client.call("SET", "k", b"v" * size)
            usage = client.call("MEMORY", "USAGE", "k").number()
            out.append(usage is not None and size < usage < size * 2 + 200)
        return out

    return agree(pair, script)


def shutdown(pair):
    """SHUTDOWN NOSAVE ends the process with status 0 and without a reply. Runs last."""

    def script(side):
        client = side.channel(1)
        reply = client.call("SHUTDOWN", "NOSAVE")
        try:
            status = side.server.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            status = "still running"
        return [reply.kind, status]

    problems = agree(pair, script)
    for side in (pair.a, pair.b):
        side.close_admin()
        side.server.restart()
    return problems


CHECKS = {
    "monitor": monitor,
    "client-pause": client_pause,
    "client-kill": client_kill,
    "client-list": client_list,
    "info-fields": info_fields,
    "info-counts": info_counts,
    "statistics": statistics,
    "active-expiry": active_expiry,
    "expiry-on-access": expiry_on_access,
    "slowlog": slowlog,
    "memory-usage": memory_usage,
    "shutdown": shutdown,
}
