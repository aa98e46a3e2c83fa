"""A command over very many slots completes under a storm of commands over two."""
import time

from harness.load import Crew
from harness.runner import case
from harness.slots import KeyNames, tag_table

PATIENCE_S = 10.0  # generous: the machine is shared; the figure is printed


def storm(server, names):
    def two_slots(crew, rng, _):
        with server.client(timeout=30.0) as conn:
            while crew.going():
                commands = []
                for _ in range(8):
                    first, second = rng.sample(names, 2)
                    commands.append(rng.choice([("MSET", first, 1, second, 2),
                                                ("MGET", first, second),
                                                ("DEL", first, second)]))
                conn.pipe(commands)
                crew.count("storm commands", 8)
    return two_slots


def under_storm(t, what, act, rounds=3):
    """Runs `act(conn)` several times during a storm; each must be done within PATIENCE_S."""
    server = t.server
    names = KeyNames("storm:").spread(48)
    crew = Crew(t.seed)
    longest = []

    def wide(crew, _rng, _number):
        with server.client(timeout=PATIENCE_S) as conn:
            for _ in range(rounds):
                before = crew.counts.get("storm commands", 0)
                began = time.monotonic()
                try:
                    act(conn)
                except TimeoutError:
                    raise AssertionError(f"{what}: no answer within {PATIENCE_S} s") from None
                longest.append(time.monotonic() - began)
                # The storm must have been blowing for the figure to mean anything.
                deadline = time.monotonic() + PATIENCE_S
                while crew.going() and crew.counts.get("storm commands", 0) < before + 100:
                    assert time.monotonic() < deadline, f"the storm stopped after {what}"
                    crew.stop.wait(0.01)
            crew.stop.set()

    crew.add(storm(server, names), 12)
    crew.add(wide)
    crew.run(60)
    assert len(longest) == rounds
    t.note(f"longest {what}: {max(longest) * 1000:.0f} ms")


def wide_keys(count):
    """Keys of `count` slots, evenly over all 16,384."""
    tags = tag_table()
    return [f"wide:{{{tags[i * 16384 // count]}}}" for i in range(count)]


@case(workers=(2, 4))
def test_del_over_hundreds_of_slots(t):
    keys = wide_keys(800)

    def act(conn):
        conn.must("MSET", *[item for key in keys for item in (key, "x")])
        assert conn.must("DEL", *keys) == len(keys)
    under_storm(t, "MSET and DEL over 800 slots", act)


@case(workers=(4,))
def test_exec_over_hundreds_of_slots(t):
    keys = wide_keys(400)

    def act(conn):
        replies = conn.pipe([("MULTI",), *(("INCR", key) for key in keys), ("EXEC",)])
        assert len(replies[-1]) == len(keys) and len(set(replies[-1])) == 1, replies[-1][:10]
    under_storm(t, "EXEC over 400 slots", act)


@case(workers=(4,))
def test_exec_with_watch_over_hundreds_of_slots(t):
    keys = wide_keys(400)

    def act(conn):
        replies = conn.pipe([("WATCH", *keys), ("MULTI",), ("PING",), ("EXEC",)])
        assert replies[-1] == [b"PONG"], replies[-1]
    under_storm(t, "WATCH and EXEC over 400 slots", act)


@case(workers=(4,))
def test_flushdb_and_swapdb(t):
    def act(conn):
        assert conn.must("FLUSHDB") == b"OK"
        assert conn.must("SWAPDB", 0, 1) == b"OK"
        conn.must("MULTI")
        conn.must("FLUSHALL")
        conn.must("DBSIZE")
        assert conn.must("EXEC") == [b"OK", 0]
    under_storm(t, "FLUSHDB, SWAPDB and FLUSHALL in EXEC", act, rounds=10)


@case(workers=(4,))
def test_mget_over_all_slots(t):
    keys = [f"all:{{{tag}}}" for tag in tag_table()]

    def act(conn):
        assert conn.must("MGET", *keys) == [None] * len(keys)
        conn.must("MSET", *[item for key in keys for item in (key, "x")])
        assert conn.must("UNLINK", *keys) == len(keys)
    under_storm(t, "MGET, MSET and UNLINK over 16,384 slots", act, rounds=2)
