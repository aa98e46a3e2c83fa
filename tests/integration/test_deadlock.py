"""Deadlock hunt: small mailboxes, random overlapping multi-key commands, a watchdog."""
import time

from harness.load import Crew
from harness.pollux import mover
from harness.resp import Closed, Conn, Err, encode, shown
from harness.runner import case
from harness.server import tail
from harness.slots import KeyNames, slot_of

ANSWER_S = 10.0  # any command unanswered for longer counts as a deadlock

EXPECTED_ERRORS = (b"ERR no such key", b"ERR source and destination objects are the same")


def random_command(rng, names):
    def some(low, high):
        return [rng.choice(names) for _ in range(rng.randrange(low, high + 1))]
    kind = rng.randrange(14)
    if kind == 0:
        return ("MSET", *[item for name in some(2, 12) for item in (name, rng.randrange(1000))])
    if kind == 1:
        return ("MSETNX", *[item for name in some(2, 6) for item in (name, "nx")])
    if kind == 2:
        return ("MGET", *some(2, 30))
    if kind == 3:
        return ("DEL", *some(2, 10))
    if kind == 4:
        return ("UNLINK", *some(1, 10))
    if kind == 5:
        return ("COPY", *some(2, 2), *rng.choice([(), ("REPLACE",)]))
    if kind == 6:
        return ("RENAME", *some(2, 2))
    if kind == 7:
        return ("RENAMENX", *some(2, 2))
    if kind == 8:
        return ("BITOP", rng.choice(["AND", "OR", "XOR"]), *some(3, 6))
    if kind == 9:
        return ("EXISTS", *some(1, 12))
    if kind == 10:
        return ("TOUCH", *some(1, 12))
    if kind == 11:
        return ("LCS", *some(2, 2), "LEN")
    if kind == 12:
        return ("SET", rng.choice(names), rng.randrange(1000))
    return ("GET", rng.choice(names))


def random_pipeline(rng, names):
    """Commands and, now and then, whole transactions; every one answers exactly once."""
    commands = []
    for _ in range(rng.randrange(1, 6)):
        if rng.random() < 0.2:
            if rng.random() < 0.5:
                commands.append(("WATCH", *rng.sample(names, rng.randrange(1, 6))))
            commands.append(("MULTI",))
            commands += [random_command(rng, names) for _ in range(rng.randrange(1, 6))]
            commands.append((rng.choices(["EXEC", "DISCARD"], [9, 1])[0],))
        else:
            commands.append(random_command(rng, names))
    return commands


def hunt(server, names):
    def overlap(crew, rng, _):
        with server.client(timeout=ANSWER_S) as conn:
            while crew.going():
                commands = random_pipeline(rng, names)
                began = time.monotonic()
                try:
                    replies = conn.pipe(commands)
                except TimeoutError:
                    raise TimeoutError(
                        f"no answer for {time.monotonic() - began:.1f} s in a pipeline of\n"
                        + "\n".join(shown(command) for command in commands)) from None
                crew.count("commands", len(replies))
                for command, reply in zip(commands, replies):
                    if isinstance(reply, Err):
                        assert reply in EXPECTED_ERRORS, (command, reply)
    return overlap


def dump(server):
    """What can still be learned from a server that hangs."""
    lines = ["threads of the server:", server.stacks()]
    for command in (("PING",), ("INFO", "workers"), ("CLIENT", "LIST"), ("POLLUX", "SLOTS")):
        try:
            with Conn(server.address, timeout=2.0) as conn:
                reply = conn(*command)
            text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else repr(reply)
            lines.append(f"{shown(command)}:\n{text}")
        except (OSError, Closed) as error:
            lines.append(f"{shown(command)}: {error!r}")
    lines.append(f"log:\n{tail(server.output())}")
    return "\n".join(lines)


def run_hunt(t, server, names, seconds, moving=False, exchanging=False):
    crew = Crew(t.seed)
    crew.add(hunt(server, names), 12 if t.quick else 24)
    if moving:
        crew.add(mover(server, [slot_of(name) for name in names], t.workers))
    if exchanging:
        def exchange(crew, rng, _):
            with server.client(timeout=ANSWER_S) as conn:
                while crew.going():
                    conn.must(*rng.choice([("FLUSHDB",), ("FLUSHALL", "ASYNC"),
                                           ("SWAPDB", 0, 1), ("DBSIZE",), ("KEYS", "hunt:1*"),
                                           ("RANDOMKEY",)]))
                    crew.count("exchanges")
                    crew.stop.wait(rng.random() * 0.02)
        crew.add(exchange)
    counts = crew.run(seconds, join_s=ANSWER_S + 10, on_stuck=lambda: dump(server),
                      at_least={"commands": 1000})
    # Everything that was lent has come back: a command over all keys runs.
    with server.client(timeout=ANSWER_S) as conn:
        conn.must("MSET", *[item for name in names for item in (name, "end")])
        assert conn.must("MGET", *names) == [b"end"] * len(names)
    t.note(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))


@case(workers=(4,), drivers="each")
def test_no_deadlock_with_mailboxes_of_four(t):
    server = t.start({"worker-mailbox-size": 4})
    run_hunt(t, server, KeyNames("hunt:").spread(40), t.seconds(3, 15))
    server.stop()


@case(workers=(4,))
def test_no_deadlock_on_few_hot_keys(t):
    server = t.start({"worker-mailbox-size": 4})
    run_hunt(t, server, KeyNames("hot:").spread(6), t.seconds(2, 10))
    server.stop()


@case(workers=(4,))
def test_no_deadlock_among_flushes_and_swaps(t):
    server = t.start({"worker-mailbox-size": 4})
    run_hunt(t, server, KeyNames("hunt:").spread(40), t.seconds(2, 10), exchanging=True)
    server.stop()


@case(workers=(4,), pollux=True)
def test_no_deadlock_while_slots_move(t):
    server = t.start({"worker-mailbox-size": 4})
    run_hunt(t, server, KeyNames("hunt:").spread(40), t.seconds(3, 15), moving=True,
             exchanging=True)
    server.stop()


@case(workers=(4,))
def test_connections_that_vanish_do_not_hold_slots(t):
    """Clients send overlapping commands and reset without reading; nothing stays lent."""
    server = t.start({"worker-mailbox-size": 4})
    names = KeyNames("gone:").spread(16)
    crew = Crew(t.seed)

    def vanish(crew, rng, _):
        while crew.going():
            conn = server.client()
            commands = [command for _ in range(3) for command in random_pipeline(rng, names)]
            conn.raw(b"".join(encode(*command) for command in commands))
            conn.reset()
            crew.count("vanished")
            crew.stop.wait(0.01)  # leave the others a share of the machine

    crew.add(vanish, 6)
    crew.add(hunt(server, names), 4)
    crew.run(t.seconds(2, 6), join_s=ANSWER_S + 10, on_stuck=lambda: dump(server),
             at_least={"vanished": 20, "commands": 100})
    with server.client(timeout=ANSWER_S) as conn:
        conn.must("MSET", *[item for name in names for item in (name, "end")])
    server.stop()
