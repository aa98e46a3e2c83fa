"""What only Pollux has, as tests use it: slot owners and moves."""
from .resp import pairs
from .slots import SLOTS


def _ranges(value):
    """POLLUX SLOTS shows a worker's slots as [[first, last], ...] or as "a-b c d-e"."""
    if isinstance(value, (bytes, str)):
        text = value.decode() if isinstance(value, bytes) else value
        for part in text.replace(",", " ").split():
            first, _, last = part.partition("-")
            yield int(first), int(last or first)
        return
    if value and not isinstance(value[0], (list, tuple, bytes)):
        value = list(zip(value[::2], value[1::2]))
    for item in value:
        if item == []:
            continue  # a slot left between two looks of the server
        if isinstance(item, bytes):
            yield from _ranges(item)
        else:
            yield int(item[0]), int(item[-1])


def workers(conn):
    """POLLUX SLOTS as a list of dicts by worker, with "ranges" as [(first, last)]."""
    found = []
    for row in conn.must("POLLUX", "SLOTS"):
        fields = {key.decode(): value for key, value in pairs(row).items()}
        fields["ranges"] = list(_ranges(fields["slots"]))
        found.append(fields)
    return sorted(found, key=lambda fields: fields["worker"])


def owners(conn):
    """The owner of every slot, by index; fails unless each slot has exactly one."""
    owner = [None] * SLOTS
    for fields in workers(conn):
        for first, last in fields["ranges"]:
            for slot in range(first, last + 1):
                assert owner[slot] is None, f"slot {slot} has two owners"
                owner[slot] = fields["worker"]
    lost = [slot for slot in range(SLOTS) if owner[slot] is None]
    assert not lost, f"{len(lost)} slots without owner, first {lost[0]}"
    return owner


def mover(server, slots, workers_count, pause=0.0):
    """A job for a Crew: moves the given slots about, and rebalances now and then."""
    def move_slots(crew, rng, _):
        with server.client() as conn:
            while crew.going():
                if rng.random() < 0.02:
                    conn.must("POLLUX", "REBALANCE")
                    crew.count("rebalances")
                else:
                    reply = conn("POLLUX", "MOVE-SLOT", rng.choice(slots),
                                 rng.randrange(workers_count))
                    # Two movers may meet at one slot; the later one is told so.
                    assert reply == b"OK" or reply.startswith(b"TRYAGAIN"), reply
                    crew.count("moves", reply == b"OK")
                if pause:
                    crew.stop.wait(pause)
    return move_slots
