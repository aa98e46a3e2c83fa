"""COMMAND and its subcommands, held against redis for every command that both have."""
from harness.oracle import start_oracle
from harness.resp import Err, pairs
from harness.runner import case

# Commands that redis 7.0.15 does not have.
OURS = {b"pollux"}
# What issue by issue is promised so far; COMMAND must list all of these.
PROMISED = """
    ping echo hello auth select quit reset client
    set get getex getdel getset append strlen incr incrby incrbyfloat decr decrby setrange
    getrange substr mset msetnx mget lcs psetex setex setnx
    setbit getbit bitcount bitpos bitop bitfield bitfield_ro
    del unlink exists type keys scan randomkey rename renamenx copy move touch expire expireat
    pexpire pexpireat ttl pttl expiretime pexpiretime persist object dbsize flushdb flushall swapdb
    multi exec discard watch unwatch
    info config time lolwut slowlog latency memory monitor shutdown debug command
    cluster readonly readwrite asking
""".split()


def by_name(rows):
    return {row[0]: row for row in rows if row is not None}


def top_level(conn):
    """COMMAND LIST without subcommands."""
    return {name for name in conn.must("COMMAND", "LIST") if b"|" not in name}


@case(workers=(1, 4))
def test_every_promised_command_is_there(t):
    conn = t.client()
    listed = top_level(conn)
    lacking = [name for name in PROMISED if name.encode() not in listed]
    assert not lacking, f"COMMAND LIST lacks {lacking}"
    assert conn.must("COMMAND", "COUNT") == len(listed) == len(conn.must("COMMAND"))
    assert by_name(conn.must("COMMAND")).keys() == listed
    assert t.as_redis or b"pollux" in listed


def same_set(ours, theirs):
    return sorted(map(repr, ours)) == sorted(map(repr, theirs))


@case(workers=(1,))
def test_info_equals_that_of_redis(t):
    """Arity, flags, key positions, categories, hints and key specifications."""
    oracle = start_oracle(t)
    with oracle.client() as conn:
        theirs = by_name(conn.must("COMMAND"))
    ours = by_name(t.client().must("COMMAND"))
    problems = []
    for name, row in ours.items():
        if name not in theirs:
            if name not in OURS:
                problems.append(f"{name.decode()}: redis has no such command")
            continue
        wanted = theirs[name]
        for place, what in [(1, "arity"), (3, "first key"), (4, "last key"), (5, "step")]:
            if row[place] != wanted[place]:
                problems.append(f"{name.decode()}: {what} {row[place]}, redis {wanted[place]}")
        for place, what in [(2, "flags"), (6, "categories")]:
            if not same_set(row[place], wanted[place]):
                problems.append(f"{name.decode()}: {what} {row[place]}, redis {wanted[place]}")
        if row[8] != wanted[8]:
            problems.append(f"{name.decode()}: key specs {row[8]}, redis {wanted[8]}")
    assert not problems, "\n".join(problems)
    oracle.stop()


@case(workers=(1,))
def test_docs_of_every_command(t):
    """Each has summary, since and group; arguments wherever redis has some, with its names."""
    oracle = start_oracle(t)
    with oracle.client() as conn:
        theirs = pairs(conn.must("COMMAND", "DOCS"))
    conn = t.client()
    ours = pairs(conn.must("COMMAND", "DOCS"))
    assert set(ours) == top_level(conn)
    problems = []

    def names(arguments):
        return [pairs(argument)[b"name"] for argument in arguments]

    def compare(name, mine, wanted):
        mine, wanted = pairs(mine), pairs(wanted) if wanted is not None else {}
        for field in (b"summary", b"since", b"group"):
            if not mine.get(field):
                problems.append(f"{name}: no {field.decode()}")
            elif field != b"summary" and wanted and mine[field] != wanted.get(field):
                problems.append(f"{name}: {field.decode()} {mine[field]}, "
                                f"redis {wanted.get(field)}")
        if b"arguments" in wanted:
            if b"arguments" not in mine:
                problems.append(f"{name}: no arguments")
            elif names(mine[b"arguments"]) != names(wanted[b"arguments"]):
                problems.append(f"{name}: arguments {names(mine[b'arguments'])}, "
                                f"redis {names(wanted[b'arguments'])}")
        for sub, docs in pairs(mine.get(b"subcommands", [])).items():
            compare(f"{sub.decode()}", docs, pairs(wanted.get(b"subcommands", [])).get(sub))

    for name, docs in ours.items():
        compare(name.decode(), docs, theirs.get(name))
    assert not problems, "\n".join(problems)
    assert list(pairs(conn.must("COMMAND", "DOCS", "get", "nosuch"))) == [b"get"]
    assert isinstance(t.client(protocol=3).must("COMMAND", "DOCS", "get"), dict)
    oracle.stop()


@case(workers=(1,))
def test_subcommands(t):
    conn = t.client()
    assert [row and row[0] for row in conn.must("COMMAND", "INFO", "GET", "nosuch", "set")] == [
        b"get", None, b"set"]
    assert conn.must("COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch") == []
    assert b"setbit" in conn.must("COMMAND", "LIST", "FILTERBY", "ACLCAT", "bitmap")
    assert set(conn.must("COMMAND", "LIST", "FILTERBY", "PATTERN", "get*")) >= {
        b"get", b"getex", b"getdel", b"getset", b"getrange", b"getbit"}
    assert isinstance(conn("COMMAND", "LIST", "FILTERBY", "WHAT", "x"), Err)
    assert conn("COMMAND", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP."
    rows = by_name(conn.must("COMMAND", "INFO", "client", "config|get"))
    assert b"config|get" in rows and b"client" in rows, list(rows)
    assert any(sub[0] == b"client|list" for sub in rows[b"client"][9]), rows[b"client"][9]


@case(workers=(1,))
def test_getkeys(t):
    oracle = start_oracle(t)
    commands = [
        ("GET", "a"), ("SET", "a", "b"), ("MSET", "a", 1, "b", 2), ("MGET", "a", "b", "c"),
        ("BITOP", "AND", "d", "a", "b"), ("COPY", "a", "b"), ("RENAME", "a", "b"),
        ("LCS", "a", "b"), ("DEL", "a", "b"), ("GETEX", "a"), ("SET", "a", "b", "GET"),
        ("OBJECT", "ENCODING", "a"), ("MEMORY", "USAGE", "a"), ("BITFIELD", "a", "GET", "u8", 0),
        ("BITFIELD", "a", "SET", "u8", 0, 1), ("WATCH", "a", "b"), ("TOUCH", "a"),
        # Those without keys, malformed ones, and ones that do not exist.
        ("PING",), ("GET",), ("NOSUCH", "a"), ("MSET", "a"), ("CLIENT", "LIST"),
        ("CONFIG", "GET", "x"), ("SCAN", "0"), ("OBJECT", "NOSUCH", "a"), ("OBJECT",)]
    with oracle.client() as theirs:
        conn = t.client()
        for command in commands:
            for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
                wanted, reply = theirs("COMMAND", sub, *command), conn("COMMAND", sub, *command)
                assert reply == wanted, f"COMMAND {sub} {command}: {reply!r}, redis {wanted!r}"
    oracle.stop()
