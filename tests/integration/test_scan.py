"""SCAN: what is there throughout is returned, whatever the table does meanwhile."""
from harness.load import Crew
from harness.pollux import mover
from harness.runner import case
from harness.server import poll
from harness.slots import KeyNames, slot_of


def scan_all(conn, *options, on_step=None, limit=1_000_000):
    """Iterates to the end; returns the list of names as they came."""
    cursor, found = b"0", []
    for _ in range(limit):
        cursor, names = conn.must("SCAN", cursor, *options)
        found += names
        if cursor == b"0":
            return found
        if on_step:
            on_step()
    raise AssertionError(f"SCAN did not end within {limit} steps")


def fill(conn, prefix, count, value="v"):
    for first in range(0, count, 1000):
        conn.must("MSET", *[item for n in range(first, min(first + 1000, count))
                            for item in (f"{prefix}{n}", value)])
    return {f"{prefix}{n}".encode() for n in range(count)}


@case(workers=(1, 2, 4))
def test_full_iteration_with_any_count(t):
    conn = t.client()
    for size in (0, 1, 7, 100, 3000):
        conn.must("FLUSHALL")
        wanted = fill(conn, "k:", size)
        for count in (1, 2, 10, 77, 1000, 100_000):
            found = scan_all(conn, "COUNT", count)
            assert len(found) == len(set(found)), "a name twice although nothing changed"
            assert set(found) == wanted, f"{size} keys, COUNT {count}: {len(found)} found"
        assert set(scan_all(conn)) == wanted


@case(workers=(1, 4))
def test_count_bounds_the_work_of_a_step(t):
    conn = t.client()
    fill(conn, "k:", 20_000)
    for count in (1, 10, 100):
        _, names = conn.must("SCAN", 0, "COUNT", count)
        assert len(names) <= count * 4 + 100, f"COUNT {count} returned {len(names)} names"


@case(workers=(1, 4))
def test_match_and_type(t):
    conn = t.client()
    fill(conn, "apple:", 500)
    fill(conn, "pear:", 500)
    conn.must("SET", "b[x]d", 1)
    assert len(scan_all(conn, "MATCH", "apple:*")) == 500
    assert len(scan_all(conn, "MATCH", "apple:?", "COUNT", 7)) == 10
    assert len(scan_all(conn, "MATCH", "*:1[0-4]", "COUNT", 50)) == 10
    assert scan_all(conn, "MATCH", "b\\[x\\]d") == [b"b[x]d"]
    assert scan_all(conn, "MATCH", "apple:17") == [b"apple:17"]
    assert scan_all(conn, "MATCH", "nothing*") == []
    assert len(scan_all(conn, "TYPE", "string", "COUNT", 100)) == 1001
    assert scan_all(conn, "TYPE", "list", "COUNT", 100) == []
    assert len(scan_all(conn, "MATCH", "pear:*", "TYPE", "STRING", "COUNT", 100)) == 500


@case(workers=(1, 4))
def test_errors(t):
    conn = t.client()
    assert conn("SCAN", "x") == b"ERR invalid cursor"
    assert conn("SCAN", 0, "COUNT", 0) == b"ERR syntax error"
    assert conn("SCAN", 0, "COUNT", "x") == b"ERR value is not an integer or out of range"
    assert conn("SCAN", 0, "BAD") == b"ERR syntax error"
    assert conn("SCAN", 0, "MATCH") == b"ERR syntax error"
    # Any cursor is answered; a made-up one just starts somewhere.
    for cursor in ("1", "12345678901234", str(2**53 - 1), str(2**64 - 1)):
        reply = conn.must("SCAN", cursor)
        assert len(reply) == 2 and isinstance(reply[1], list)


@case(workers=(1, 2, 4), timeout=120)
def test_guarantee_across_growth_and_shrinking(t):
    """While an iteration runs the table grows to ten times its size and shrinks again."""
    conn, other = t.client(), t.client()
    rounds = 2 if t.quick else 4
    for number in range(rounds):
        conn.must("FLUSHALL")
        stay = fill(conn, "stay:", 2000)
        state = {"added": 0, "removed": 0}
        total = 20_000

        def churn():
            if state["added"] < total and number % 2 == 0 or state["added"] == 0:
                first = state["added"]
                other.must("MSET", *[item for n in range(first, first + 1000)
                                     for item in (f"new:{n}", 1)])
                state["added"] += 1000
            elif state["removed"] < state["added"]:
                first = state["removed"]
                other.must("UNLINK", *[f"new:{n}" for n in range(first, first + 1000)])
                state["removed"] += 1000

        if number % 2:
            while state["added"] < total:
                first = state["added"]
                other.must("MSET", *[item for n in range(first, first + 1000)
                                     for item in (f"new:{n}", 1)])
                state["added"] += 1000
        found = set(scan_all(conn, "COUNT", 50, on_step=churn))
        lost = stay - found
        assert not lost, f"{len(lost)} of {len(stay)} keys were not returned, e.g. {min(lost)}"
        assert state["added"] >= 5000, state


@case(workers=(1, 2, 4), timeout=120)
def test_guarantee_under_concurrent_churn(t):
    """Other connections add, remove, rename and expire at full speed during the iterations."""
    stay = fill(t.client(), "stay:", 3000)
    crew = Crew(t.seed)

    def churn(crew, rng, number):
        with t.server.client() as conn:
            while crew.going():
                base = rng.randrange(50)
                names = [f"churn:{number}:{base * 200 + n}" for n in range(200)]
                commands = [("SET", name, 1) for name in names[:100]]
                commands += [("SET", name, 1, "PX", rng.randrange(1, 50)) for name in names[100:]]
                commands += [("RENAME", names[n], names[n] + "r") for n in range(50)]
                if rng.random() < 0.7:
                    commands += [("DEL", *names, *(name + "r" for name in names))]
                conn.pipe(commands)
                crew.count("churns")

    def iterate(crew, rng, _):
        with t.server.client() as conn:
            while crew.going():
                found = set(scan_all(conn, "COUNT", rng.choice([7, 50, 300])))
                lost = stay - found
                assert not lost, f"{len(lost)} keys were not returned, e.g. {min(lost)}"
                crew.count("iterations")

    crew.add(churn, 3)
    crew.add(iterate, 2)
    counts = crew.run(t.seconds(3, 10), at_least={"iterations": 2, "churns": 20})
    t.note(f"{counts['iterations']} iterations")


@case(workers=(2, 4), pollux=True, timeout=120)
def test_guarantee_across_slot_moves(t):
    stay = fill(t.client(), "stay:", 2000)
    slots = [slot_of(name) for name in stay]
    crew = Crew(t.seed)
    crew.add(mover(t.server, slots, t.workers), 2)

    def iterate(crew, rng, _):
        with t.server.client() as conn:
            while crew.going():
                found = set(scan_all(conn, "COUNT", rng.choice([7, 50, 300])))
                lost = stay - found
                assert not lost, f"{len(lost)} keys were not returned, e.g. {min(lost)}"
                crew.count("iterations")

    crew.add(iterate, 2)
    counts = crew.run(t.seconds(4, 10), at_least={"iterations": 2, "moves": 50})
    t.note(f"{counts['iterations']} iterations, {counts['moves']} moves")
    assert set(t.client().must("KEYS", "*")) == stay
    t.client().must("POLLUX", "REBALANCE")


@case(workers=(1, 4))
def test_expired_keys_are_not_returned(t):
    conn = t.client()
    conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        conn.pipe([("SET", f"gone:{n}", 1, "PX", 1) for n in range(200)])
        stay = fill(conn, "stay:", 200)
        conn.must("SET", "end", 1, "PX", 20)
        poll(lambda: conn.must("EXISTS", "end") == 0, 5, what="deadline")
        assert set(scan_all(conn, "COUNT", 10)) == stay
        assert set(conn.must("KEYS", "*")) == stay
    finally:
        conn.must("DEBUG", "SET-ACTIVE-EXPIRE", 1)


@case(workers=(1, 4))
def test_keys_dbsize_randomkey(t):
    conn = t.client()
    assert conn.must("RANDOMKEY") is None and conn.must("KEYS", "*") == []
    names = KeyNames("some:").spread(200)
    conn.must("MSET", *[item for name in names for item in (name, 1)])
    assert conn.must("DBSIZE") == 200
    assert sorted(conn.must("KEYS", "*")) == sorted(name.encode() for name in names)
    drawn = {conn.must("RANDOMKEY") for _ in range(1000)}
    assert drawn <= {name.encode() for name in names}
    assert len(drawn) > 100, f"RANDOMKEY drew only {len(drawn)} of 200 keys in 1000 draws"


@case(workers=(4,))
def test_databases_are_separate(t):
    conn = t.client()
    fill(conn, "zero:", 300)
    conn.must("SELECT", 9)
    nine = fill(conn, "nine:", 300)
    assert set(scan_all(conn, "COUNT", 20)) == nine
