"""Pipelines that mix owners: replies and effects keep their order, however the bytes arrive."""
import threading

from harness.load import Crew
from harness.pollux import mover
from harness.resp import Err, encode, shown
from harness.runner import case
from harness.slots import KeyNames, slot_of

WRONG_NUMBER = Err(b"ERR value is not an integer or out of range")
NO_KEY = Err(b"ERR no such key")


class Model:
    """Strings as Redis has them, for the commands below; answers what Redis would."""

    def __init__(self):
        self.data = {}

    def run(self, command):
        return getattr(self, "do_" + command[0].lower())(*command[1:])

    def do_set(self, key, value):
        self.data[key] = value
        return b"OK"

    def do_get(self, key):
        value = self.data.get(key)
        return None if value is None else value.encode()

    def do_incr(self, key):
        try:
            number = int(self.data.get(key, "0")) + 1
        except ValueError:
            return WRONG_NUMBER
        self.data[key] = str(number)
        return number

    def do_append(self, key, value):
        self.data[key] = self.data.get(key, "") + value
        return len(self.data[key])

    def do_strlen(self, key):
        return len(self.data.get(key, ""))

    def do_setnx(self, key, value):
        if key in self.data:
            return 0
        self.data[key] = value
        return 1

    def do_getset(self, key, value):
        old = self.do_get(key)
        self.data[key] = value
        return old

    def do_getdel(self, key):
        old = self.do_get(key)
        self.data.pop(key, None)
        return old

    def do_del(self, *keys):
        return sum(self.data.pop(key, None) is not None for key in keys)

    def do_exists(self, *keys):
        return sum(key in self.data for key in keys)

    def do_mget(self, *keys):
        return [self.do_get(key) for key in keys]

    def do_mset(self, *items):
        self.data.update(zip(items[::2], items[1::2]))
        return b"OK"

    def do_msetnx(self, *items):
        if any(key in self.data for key in items[::2]):
            return 0
        self.do_mset(*items)
        return 1

    def do_rename(self, source, target):
        if source not in self.data:
            return NO_KEY
        self.data[target] = self.data.pop(source)
        return b"OK"

    def do_copy(self, source, target):
        if source == target:
            return Err(b"ERR source and destination objects are the same")
        if source not in self.data or target in self.data:
            return 0
        self.data[target] = self.data[source]
        return 1

    def do_ping(self, text):
        return text.encode()


def random_command(rng, keys):
    key = rng.choice(keys)
    value = rng.choice(["0", "41", "text", "x" * rng.randrange(1, 200)])
    several = [rng.choice(keys) for _ in range(rng.randrange(1, 6))]
    items = [item for name in several for item in (name, value)]
    return rng.choice([
        ("SET", key, value), ("SET", key, value), ("GET", key), ("GET", key), ("INCR", key),
        ("APPEND", key, "+"), ("STRLEN", key), ("SETNX", key, value), ("GETSET", key, value),
        ("GETDEL", key), ("DEL", *several), ("EXISTS", *several), ("MGET", *several),
        ("MSET", *items), ("MSETNX", *items), ("RENAME", key, several[0]),
        ("COPY", key, several[0]), ("PING", value)])


def random_sequence(rng, model, keys, length):
    """[(command, reply that must come)], with transactions among the commands."""
    sequence = []
    while len(sequence) < length:
        if rng.random() < 0.06:
            commands = [random_command(rng, keys) for _ in range(rng.randrange(0, 8))]
            sequence.append((("MULTI",), b"OK"))
            sequence += [(command, b"QUEUED") for command in commands]
            if rng.random() < 0.2:
                sequence.append((("DISCARD",), b"OK"))
            else:
                sequence.append((("EXEC",), [model.run(command) for command in commands]))
        else:
            command = random_command(rng, keys)
            sequence.append((command, model.run(command)))
    return sequence


def send_in_pieces(conn, rng, data):
    """Writes the bytes cut at random points; a third of the time in one go."""
    if rng.random() < 0.33:
        conn.raw(data)
        return
    at = 0
    size = rng.choice([3, 20, 200, 2000])
    while at < len(data):
        end = min(len(data), at + 1 + rng.randrange(size))
        conn.raw(data[at:end])
        at = end


def check_sequences(server, keys_of):
    def sequences(crew, rng, number):
        model = Model()
        keys = keys_of(number)
        with server.client(timeout=15.0) as conn:
            while crew.going():
                length = rng.choice([1, 2, 5, 16, 50, 200])
                sequence = random_sequence(rng, model, keys, length)
                data = b"".join(encode(*command) for command, _ in sequence)
                send_in_pieces(conn, rng, data)
                for place, (command, wanted) in enumerate(sequence):
                    reply = conn.read()
                    if reply != wanted or isinstance(reply, Err) != isinstance(wanted, Err):
                        before = "\n".join(f"  {shown(c)} -> {w!r:.100}"
                                           for c, w in sequence[max(0, place - 25):place])
                        raise AssertionError(f"{shown(command)} answered {reply!r:.200}, "
                                             f"not {wanted!r:.200}; before it:\n{before}")
                crew.count("commands", len(sequence))
    return sequences


@case(workers=(1, 2, 4), drivers="each")
def test_random_pipelines_follow_the_model(t):
    crew = Crew(t.seed)
    crew.add(check_sequences(t.server, lambda n: KeyNames(f"order:{n}:").spread(12)), 6)
    counts = crew.run(t.seconds(2, 8), at_least={"commands": 2000})
    t.note(f"{counts['commands']} commands")


@case(workers=(4,), pollux=True)
def test_random_pipelines_follow_the_model_while_slots_move(t):
    keys = {n: KeyNames(f"order:{n}:").spread(12) for n in range(6)}
    crew = Crew(t.seed)
    crew.add(check_sequences(t.server, lambda n: keys[n]), 6)
    slots = [slot_of(name) for names in keys.values() for name in names]
    crew.add(mover(t.server, slots, t.workers), 2)
    counts = crew.run(t.seconds(3, 10), at_least={"commands": 1000, "moves": 50})
    t.note(f"{counts['commands']} commands, {counts['moves']} moves")
    t.client().must("POLLUX", "REBALANCE")


@case(workers=(4,))
def test_effects_of_one_connection_are_seen_in_order(t):
    """A writer pipelines SET x n; SET y n. Who reads y and only then x must find x >= y."""
    x, y = KeyNames("seen:").spread(2)
    t.client().must("MSET", x, 0, y, 0)
    crew = Crew(t.seed)

    def write(crew, _rng, _number):
        with t.server.client() as conn:
            number = 0
            while crew.going():
                commands = []
                for _ in range(50):
                    number += 1
                    commands += [("SET", x, number), ("SET", y, number)]
                assert set(conn.pipe(commands)) == {b"OK"}
                crew.count("writes", 100)

    def read(crew, _rng, _number):
        with t.server.client() as conn:
            while crew.going():
                seen_y = int(conn.must("GET", y))
                seen_x = int(conn.must("GET", x))
                assert seen_x >= seen_y, f"y was {seen_y} before x, which was set first: {seen_x}"
                both_x, both_y = (int(value) for value in conn.must("MGET", x, y))
                assert both_x - both_y in (0, 1), f"MGET saw x {both_x} and y {both_y}"
                crew.count("reads", 3)

    crew.add(write)
    crew.add(read, 3)
    crew.run(t.seconds(1, 5), at_least={"writes": 500, "reads": 500})


@case(workers=(1, 4), drivers="each")
def test_deep_pipeline_with_large_replies(t):
    """Thousands of commands sent before the first reply is read; replies far above all buffers."""
    names = KeyNames("deep:").spread(8)
    big = "v" * 20000
    conn = t.client(timeout=30.0)
    conn.must("MSET", *[item for name in names for item in (name, big)])
    count = 3000

    def pour(crew, rng, _):
        with t.server.client(timeout=30.0) as mine:
            order = [rng.choice(names) for _ in range(count)]
            commands = []
            for place, name in enumerate(order):
                commands += [encode("ECHO", place), encode("GET", name)]
            sender = threading.Thread(target=mine.raw, args=(b"".join(commands),), daemon=True)
            sender.start()
            for place in range(count):
                assert mine.read() == str(place).encode()
                assert len(mine.read()) == len(big)
            sender.join()
            crew.count("done")

    crew = Crew(t.seed)
    crew.add(pour, 3)
    crew.run(1, at_least={"done": 3})


@case(workers=(1, 4), drivers="each")
def test_pipeline_written_in_full_before_anything_is_read(t):
    """As libraries send their pipelines: the server may not wait for a reader meanwhile."""
    count = 300_000 if t.quick else 1_500_000
    a, b = KeyNames("full:").spread(2)
    conn = t.client(timeout=60.0)
    conn.must("MSET", a, "x" * 100, b, "y" * 100)
    pair = encode("GET", a) + encode("GET", b)
    conn.raw(pair * (count // 2))
    for _ in range(count // 2):
        assert conn.read() == b"x" * 100 and conn.read() == b"y" * 100
    assert conn.must("PING") == b"PONG"


@case(workers=(2, 4))
def test_blank_lines_and_inline_commands_keep_their_place(t):
    conn = t.client()
    a, b = KeyNames("inline:").spread(2)
    conn.raw(f"SET {a} 1\r\n\r\nGET {a}\nset {b} \"two words\"\r\n".encode() + encode("GET", b)
             + b"*0\r\n" + f"MGET {a} {b} '{a}'\r\n".encode() + b"PING\r\n")
    assert [conn.read() for _ in range(6)] == [
        b"OK", b"1", b"OK", b"two words", [b"1", b"two words", b"1"], b"PONG"]
