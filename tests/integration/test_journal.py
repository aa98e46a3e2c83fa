"""The merged journal of all workers: replayed elsewhere it gives the same data."""
import os
import shutil

from harness.journal import Recorder, commands, replay
from harness.load import Crew
from harness.oracle import REDIS
from harness.pollux import mover
from harness.resp import Err, info_fields
from harness.runner import case
from harness.server import Server, Target, poll
from harness.slots import KeyNames, slot_of

DATABASES = 3


def random_write(rng, names, short):
    """A change, or now and then a read or a command that fails."""
    def some(low, high):
        return [rng.choice(names) for _ in range(rng.randrange(low, high + 1))]
    key, value = rng.choice(names), str(rng.randrange(1000))
    brief = rng.choice(short)
    return rng.choice([
        ("SET", key, value), ("SET", key, value, "EX", 5000), ("SET", key, value, "KEEPTTL"),
        ("SET", key, value, "NX"), ("SET", key, value, "XX", "GET"), ("GETSET", key, value),
        ("INCR", key), ("INCRBY", key, value), ("DECRBY", key, value),
        ("INCRBYFLOAT", key, "1.25"), ("APPEND", key, value), ("SETRANGE", key, 3, value),
        ("SETBIT", key, rng.randrange(200), 1), ("GETDEL", key), ("DEL", *some(1, 5)),
        ("UNLINK", *some(1, 5)), ("MSET", *[item for name in some(2, 6) for item in (name, value)]),
        ("MSETNX", *[item for name in some(2, 3) for item in (name, value)]),
        ("RENAME", *some(2, 2)), ("RENAMENX", *some(2, 2)), ("COPY", *some(2, 2), "REPLACE"),
        ("COPY", *some(2, 2), "DB", rng.randrange(DATABASES)),
        ("MOVE", key, rng.randrange(DATABASES)), ("BITOP", "XOR", *some(3, 4)),
        ("BITFIELD", key, "INCRBY", "u8", rng.randrange(100), 7), ("EXPIRE", key, 4000),
        ("PERSIST", key), ("GETEX", key, "EX", 3000), ("GETEX", key, "PERSIST"),
        ("EXPIRE", key, -1), ("SETEX", key, 4000, value), ("GET", key), ("MGET", *some(1, 5)),
        # Keys with a short life are only ever set anew: a replay comes after their end.
        ("SET", brief, value, "PX", rng.randrange(1, 120)), ("PSETEX", brief, 30, value),
        ("PEXPIRE", brief, rng.randrange(1, 60)), ("INCR", brief), ("DEL", brief),
        ("GETEX", brief, "PX", rng.randrange(1, 60))])


def writers(server, names, short):
    def write(crew, rng, _):
        with server.client(timeout=30) as conn:
            while crew.going():
                batch = []
                for _ in range(rng.randrange(1, 8)):
                    kind = rng.random()
                    if kind < 0.15:
                        batch.append(("MULTI",))
                        batch += [random_write(rng, names, short)
                                  for _ in range(rng.randrange(1, 6))]
                        if rng.random() < 0.2:
                            batch.insert(-1, ("SELECT", rng.randrange(DATABASES)))
                        batch.append(("EXEC",))
                    elif kind < 0.25:
                        batch.append(("SELECT", rng.randrange(DATABASES)))
                    else:
                        batch.append(random_write(rng, names, short))
                conn.pipe(batch)
                crew.count("commands", len(batch))
    return write


def exchanger(server):
    def exchange(crew, rng, _):
        with server.client(timeout=30) as conn:
            while crew.going():
                crew.stop.wait(rng.random() * 0.2)
                conn.must("SELECT", rng.randrange(DATABASES))
                conn.must(*rng.choice([("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", 0, 1),
                                       ("SWAPDB", 1, 2), ("FLUSHDB", "ASYNC")]))
                crew.count("exchanges")
    return exchange


def digest(server):
    with server.client(timeout=30) as conn:
        return conn.must("DEBUG", "DIGEST")


def settle_expiry(server, names_of_short):
    """Ends every short-lived key, so that the data no longer changes by itself."""
    with server.client() as conn:
        for number in range(DATABASES):
            conn.must("SELECT", number)
            conn.must("DEL", *names_of_short)


def load_as_aof(t, path):
    """A redis-server that has loaded the stream as its append-only file."""
    directory = t.temp_dir()
    shutil.copy(path, os.path.join(directory, "appendonly.aof"))
    server = Server(Target(shutil.which(REDIS), True), {"appendonly": "yes", "dir": directory})
    t.cleanup(server.kill)

    def loaded():
        with server.client() as conn:
            return info_fields(conn.must("INFO", "persistence"))["loading"] == "0"
    poll(loaded, 30, what="the journal loaded by redis-server")
    return server


def record_and_compare(t, moving, exchanging, directives=None):
    server = t.start(directives)
    names = KeyNames("journal:").spread(60)
    short = KeyNames("short:").spread(20)
    recorder = Recorder(t, server)
    recorder.start()
    crew = Crew(t.seed)
    crew.add(writers(server, names, short), 8)
    if exchanging:
        crew.add(exchanger(server))
    if moving and not t.as_redis:
        crew.add(mover(server, [slot_of(name) for name in names + short], t.workers))
    counts = crew.run(t.seconds(2, 8), at_least={"commands": 2000})
    settle_expiry(server, short)
    path = recorder.stop()
    original = digest(server)
    stream = commands(path)
    assert len(stream) > 500, (counts, len(stream))
    check_blocks(stream)

    second = t.start()
    with second.client(timeout=60) as conn:
        replay(conn, stream)
    third = load_as_aof(t, path)
    for who, copy in [("a second server", second), ("redis-server", third)]:
        if digest(copy) != original:
            raise AssertionError(f"{who} differs after the replay of {len(stream)} commands:\n"
                                 + differences(server, copy))
    t.note(f"{len(stream)} recorded; " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    for one in (server, second, third):
        one.stop()


def check_blocks(stream):
    """MULTI and EXEC come in pairs, never nested."""
    inside = False
    for command in stream:
        name = command[0].upper()
        if name == b"MULTI":
            assert not inside, "MULTI within MULTI"
            inside = True
        elif name == b"EXEC":
            assert inside, "EXEC without MULTI"
            inside = False
    assert not inside, "the stream ends within a transaction"


def contents(server):
    found = {}
    with server.client(timeout=30) as conn:
        for number in range(DATABASES):
            conn.must("SELECT", number)
            for key in conn.must("KEYS", "*"):
                found[number, key] = (conn.must("GET", key), conn.must("PEXPIRETIME", key))
    return found


def differences(first, second, limit=10):
    a, b = contents(first), contents(second)
    keys = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return "\n".join(f"  {key}: {a.get(key)} against {b.get(key)}" for key in keys[:limit]) \
        + f"\n  {len(keys)} keys differ"


@case(workers=(1, 2, 4))
def test_replay_gives_the_same_data(t):
    record_and_compare(t, moving=False, exchanging=False)


@case(workers=(4,), drivers="each")
def test_replay_with_moves_and_exchanges(t):
    record_and_compare(t, moving=True, exchanging=True)


@case(workers=(4,))
def test_replay_with_small_mailboxes(t):
    record_and_compare(t, moving=True, exchanging=True, directives={"worker-mailbox-size": 4})


@case(workers=(4,))
def test_deadlines_are_absolute(t):
    """What was recorded with a TTL ends at the same moment in the copy."""
    server = t.start()
    recorder = Recorder(t, server)
    recorder.start()
    names = KeyNames("deadline:").spread(8)
    with server.client() as conn:
        for name in names[:4]:
            conn.must("SET", name, 1)
        for command in [("SET", names[4], 1, "EX", 1000), ("SETEX", names[5], 1000, 1),
                        ("EXPIRE", names[0], 1000), ("PEXPIRE", names[1], 1000000),
                        ("GETEX", names[2], "EX", 1000), ("EXPIREAT", names[3], 9999999999),
                        ("PSETEX", names[6], 1000000, 1), ("COPY", names[4], names[7])]:
            assert conn.must(*command)
        wanted = [conn.must("PEXPIRETIME", name) for name in names]
    assert all(value > 0 for value in wanted), wanted
    stream = commands(recorder.stop())
    second = t.start()
    with second.client() as conn:
        replay(conn, stream)
        assert [conn.must("PEXPIRETIME", name) for name in names] == wanted
    server.stop()
    second.stop()


@case(workers=(4,))
def test_reads_and_failures_are_not_recorded(t):
    server = t.start()
    names = KeyNames("quiet:").spread(4)
    with server.client() as conn:
        conn.must("MSET", names[0], "text", names[1], 1)
        recorder = Recorder(t, server)
        recorder.start()
        for command in [("GET", names[0]), ("MGET", *names), ("INCR", names[0]),
                        ("SET", names[0], 1, "NX"), ("DEL", names[2], names[3]),
                        ("RENAME", names[2], names[0]), ("PERSIST", names[0]), ("PING",),
                        ("EXISTS", *names), ("SETNX", names[0], 1), ("GETEX", names[0]),
                        ("MSETNX", names[0], 1, names[3], 1), ("EXPIRE", names[2], 100),
                        ("COPY", names[0], names[1]), ("NOSUCH",), ("TOUCH", names[0])]:
            conn(*command)
        conn.must("SET", names[3], "mark")
    stream = [command for command in commands(recorder.stop())
              if command[0].upper() != b"SELECT"]
    assert stream == [[b"SET", names[3].encode(), b"mark"]], stream
    server.stop()


@case(workers=(4,))
def test_every_prefix_is_a_state_that_existed(t):
    """Transfers between accounts, recorded: the sum holds after every command of the stream."""
    server = t.start()
    accounts = KeyNames("acct:").spread(16)
    total = 100 * len(accounts)
    recorder = Recorder(t, server)
    recorder.start()
    with server.client() as conn:
        conn.must("MSET", *[item for name in accounts for item in (name, 100)])
    crew = Crew(t.seed)

    def transfer(crew, rng, _):
        with server.client() as conn:
            while crew.going():
                source, target = rng.sample(accounts, 2)
                amount = rng.randrange(1, 20)
                if rng.random() < 0.5:
                    conn.pipe([("MULTI",), ("DECRBY", source, amount),
                               ("INCRBY", target, amount), ("EXEC",)])
                else:
                    _, (a, b) = conn.pipe([("WATCH", source, target), ("MGET", source, target)])
                    conn.pipe([("MULTI",), ("MSET", source, int(a) - amount, target,
                                            int(b) + amount), ("EXEC",)])
                crew.count("transfers")

    crew.add(transfer, 8)
    if not t.as_redis:
        crew.add(mover(server, [slot_of(name) for name in accounts], t.workers))
    counts = crew.run(t.seconds(2, 6), at_least={"transfers": 300})
    stream = commands(recorder.stop())
    balances, inside, states = {}, False, 0
    for command in stream:
        name = command[0].upper()
        if name in (b"MULTI", b"EXEC"):
            inside = name == b"MULTI"
        elif name in (b"MSET", b"SET"):
            balances.update(zip(command[1::2], map(int, command[2::2])))
        elif name in (b"INCRBY", b"DECRBY"):
            change = int(command[2])
            balances[command[1]] += change if name == b"INCRBY" else -change
        elif name != b"SELECT":
            raise AssertionError(f"{command} was never sent")
        if not inside and name not in (b"SELECT",):
            assert sum(balances.values()) == total, \
                f"after {states} states the sum is {sum(balances.values())}: {command}"
            states += 1
    assert states > 200, (states, counts)
    with server.client() as conn:
        kept = [int(value) for value in conn.must("MGET", *accounts)]
    assert kept == [balances[name.encode()] for name in accounts]
    t.note(f"{states} states")
    server.stop()


@case(workers=(1, 4), pollux=True)
def test_debug_journal_arguments(t):
    conn = t.client()
    assert isinstance(conn("DEBUG", "JOURNAL"), Err)
    assert isinstance(conn("DEBUG", "JOURNAL", "/nonexistent/folder/file"), Err)
    path = os.path.join(t.temp_dir(), "journal")
    assert conn.must("DEBUG", "JOURNAL", path) == b"OK"
    conn.must("SET", "k", "v")
    assert conn.must("DEBUG", "JOURNAL", "OFF") == b"OK"
    conn.must("SET", "after", "v")
    recorded = [command for command in commands(path) if command[0].upper() != b"SELECT"]
    assert recorded == [[b"SET", b"k", b"v"]], recorded
