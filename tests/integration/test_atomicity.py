"""Transfers between accounts on different workers, and readers that must never see a wrong sum."""
from harness.load import Crew
from harness.pollux import mover
from harness.resp import Err
from harness.runner import case
from harness.slots import KeyNames, slot_of

ACCOUNTS = 24
START = 1000
TOTAL = ACCOUNTS * START


def account_names():
    return KeyNames("acct:").spread(ACCOUNTS)


def fill(conn, names):
    conn.must("MSET", *[item for name in names for item in (name, START)])


def transfers(server, names, only_watched):
    """Moves an amount from one account to another: by WATCH and MULTI, or by MULTI alone."""
    def transfer(crew, rng, _):
        with server.client() as conn:
            while crew.going():
                source, target = rng.sample(names, 2)
                amount = rng.randrange(1, 50)
                if only_watched or rng.random() < 0.5:
                    watched_transfer(crew, conn, source, target, amount)
                else:
                    replies = conn.pipe([("MULTI",), ("DECRBY", source, amount),
                                         ("INCRBY", target, amount), ("EXEC",)])
                    assert isinstance(replies[3], list) and len(replies[3]) == 2, replies
                    crew.count("transfers")
    return transfer


def watched_transfer(crew, conn, source, target, amount):
    _, balances = conn.pipe([("WATCH", source, target), ("MGET", source, target)])
    if None in balances:
        assert balances == [None, None], f"half of the accounts are gone: {balances}"
        conn.must("UNWATCH")
        crew.count("met nothing")
        return
    replies = conn.pipe([("MULTI",), ("SET", source, int(balances[0]) - amount),
                         ("SET", target, int(balances[1]) + amount), ("EXEC",)])
    if replies[3] is None:
        crew.count("aborted")
    else:
        assert replies[3] == [b"OK", b"OK"], replies
        crew.count("transfers")


def check(crew, values, may_be_empty, how):
    if may_be_empty and all(value is None for value in values):
        crew.count("empty reads")
        return
    assert None not in values, f"{how} saw {values.count(None)} of {len(values)} accounts absent"
    total = sum(int(value) for value in values)
    assert total == TOTAL, f"{how} summed to {total}, not {TOTAL}: {values}"
    crew.count("reads")


def readers(server, names, may_be_empty=False):
    def read_sums(crew, rng, _):
        with server.client() as conn:
            while crew.going():
                order = rng.sample(names, len(names))
                if rng.random() < 0.5:
                    check(crew, conn.must("MGET", *order), may_be_empty, "MGET")
                else:
                    replies = conn.pipe([("MULTI",), *(("GET", name) for name in order),
                                         ("EXEC",)])
                    assert not any(isinstance(reply, Err) for reply in replies), replies
                    check(crew, replies[-1], may_be_empty, "MULTI")
    return read_sums


def settle(t, crew, seconds, needed):
    counts = crew.run(seconds, at_least=dict.fromkeys(needed, 20))
    t.note(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))


@case(workers=(4,), drivers="each")
def test_sum_is_never_off(t):
    names = account_names()
    fill(t.client(), names)
    crew = Crew(t.seed)
    crew.add(transfers(t.server, names, only_watched=False), 8)
    crew.add(readers(t.server, names), 4)
    settle(t, crew, t.seconds(2, 8), ["transfers", "reads", "aborted"])
    assert sum(int(v) for v in t.client().must("MGET", *names)) == TOTAL


@case(workers=(4,), pollux=True)
def test_sum_is_never_off_while_slots_move(t):
    names = account_names()
    fill(t.client(), names)
    crew = Crew(t.seed)
    crew.add(transfers(t.server, names, only_watched=False), 6)
    crew.add(readers(t.server, names), 4)
    crew.add(mover(t.server, [slot_of(name) for name in names], t.workers), 2)
    settle(t, crew, t.seconds(3, 10), ["transfers", "reads", "moves"])
    t.client().must("POLLUX", "REBALANCE")


def keyspace_swapper(server, names):
    """Empties or exchanges the databases, and sometimes fills again."""
    def swap(crew, rng, _):
        with server.client() as conn:
            while crew.going():
                command = rng.choice([("FLUSHALL",), ("FLUSHALL", "ASYNC"), ("FLUSHDB",),
                                      ("SWAPDB", 0, 1), ("SWAPDB", 1, 0)])
                conn.must(*command)
                crew.count("exchanges")
                crew.stop.wait(rng.random() * 0.01)
                if rng.random() < 0.8:
                    fill(conn, names)
                    crew.stop.wait(rng.random() * 0.02)
    return swap


def under_exchanges(t, moving):
    names = account_names()
    fill(t.client(), names)
    crew = Crew(t.seed)
    crew.add(transfers(t.server, names, only_watched=True), 6)
    crew.add(readers(t.server, names, may_be_empty=True), 4)
    crew.add(keyspace_swapper(t.server, names))
    if moving:
        crew.add(mover(t.server, [slot_of(name) for name in names], t.workers))
    settle(t, crew, t.seconds(3, 10), ["transfers", "reads", "empty reads", "exchanges"])


@case(workers=(4,), drivers="each")
def test_sum_or_nothing_under_flushall_and_swapdb(t):
    under_exchanges(t, moving=False)


@case(workers=(4,), pollux=True)
def test_sum_or_nothing_under_flushall_swapdb_and_moves(t):
    under_exchanges(t, moving=True)
    t.client().must("POLLUX", "REBALANCE")


@case(workers=(2, 4))
def test_msetnx_is_all_or_nothing(t):
    """Competing MSETNX over keys of all workers: exactly one wins, and sets every key."""
    names = KeyNames("nx:").spread(12)
    crew = Crew(t.seed)
    wins = {}

    def compete(crew, rng, number):
        with t.server.client() as conn:
            while crew.going():
                order = rng.sample(names, 6)
                mark = f"{number}:{rng.randrange(1 << 30)}"
                won = conn.must("MSETNX", *[item for name in order for item in (name, mark)])
                if won:
                    values = conn.must("MGET", *order)
                    assert values == [mark.encode()] * 6, f"MSETNX set only a part: {values}"
                    crew.stop.wait(rng.random() * 0.002)
                    assert conn.must("DEL", *order) == 6
                    wins[number] = wins.get(number, 0) + 1
                    crew.count("wins")
                else:
                    crew.count("losses")

    crew.add(compete, 8)
    settle(t, crew, t.seconds(1, 4), ["wins", "losses"])
    assert t.client().must("EXISTS", *names) == 0


@case(workers=(2, 4))
def test_rename_between_workers_never_loses_or_doubles(t):
    """One token wanders by RENAME; a reader must find it under exactly one name."""
    names = KeyNames("token:").spread(8)
    t.client().must("SET", names[0], "token")
    crew = Crew(t.seed)

    def wander(crew, rng, _):
        with t.server.client() as conn:
            at = names[0]
            while crew.going():
                to = rng.choice([name for name in names if name != at])
                assert conn.must("RENAME", at, to) == b"OK"
                at = to
                crew.count("renames")

    def look(crew, rng, _):
        with t.server.client() as conn:
            while crew.going():
                order = rng.sample(names, len(names))
                if rng.random() < 0.5:
                    seen = [value for value in conn.must("MGET", *order) if value is not None]
                    assert seen == [b"token"], f"MGET found {seen}"
                else:
                    assert conn.must("EXISTS", *order) == 1
                crew.count("looks")

    crew.add(wander)
    crew.add(look, 4)
    settle(t, crew, t.seconds(1, 4), ["renames", "looks"])
