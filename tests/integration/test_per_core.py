"""A port for each core: what a cluster-aware client needs, and the common port beside it."""
import re

from harness.cluster import Endpoints
from harness.load import Crew
from harness.pollux import owners as slot_owners
from harness.resp import Conn, Err, info_fields, pairs
from harness.runner import case
from harness.slots import KeyNames, range_of, slot_of

CROSSSLOT = b"CROSSSLOT Keys in request don't hash to the same slot"


class Fixture:
    """Endpoints with a connection to each port."""

    def __init__(self, t, owners=None):
        self.t = t
        self.points = Endpoints(t, owners or t.workers)
        self.conns = []
        for port in self.points.ports:
            conn = Conn((self.points.host, port))
            t.cleanup(conn.close)
            self.conns.append(conn)
        self.count = len(self.conns)
        self.names = KeyNames("core:")

    def key_of(self, owner):
        return self.names.in_range(*range_of(owner, self.count))

    def moved(self, key, owner):
        return f"MOVED {slot_of(key)} {self.points.host}:{self.points.ports[owner]}".encode()


@case(workers=(2, 4), drivers="each")
def test_own_slots_and_moved(t):
    f = Fixture(t)
    for owner in range(f.count):
        key = f.key_of(owner)
        for asked, conn in enumerate(f.conns):
            reply = conn("SET", key, owner)
            if asked == owner:
                assert reply == b"OK", reply
            else:
                assert isinstance(reply, Err) and reply == f.moved(key, owner), reply
        assert f.conns[owner].must("GET", key) == str(owner).encode()
        assert f.conns[(owner + 1) % f.count]("GET", key) == f.moved(key, owner)
    f.points.stop()


@case(workers=(2, 4))
def test_multi_key_commands(t):
    f = Fixture(t)
    a, b, far = f.key_of(0), f.key_of(0), f.key_of(1)
    own = f.conns[0]
    for command in [("MSET", a, 1, b, 2), ("MGET", a, b), ("DEL", a, b), ("RENAME", a, b),
                    ("EXISTS", a, far), ("BITOP", "AND", a, b), ("MSETNX", a, 1, far, 2),
                    ("COPY", a, far)]:
        assert own(*command) == CROSSSLOT, command
    tagged = [f"{{{a}}}:{n}" for n in range(3)]
    assert own.must("MSET", *[item for key in tagged for item in (key, 1)]) == b"OK"
    assert own.must("MGET", *tagged) == [b"1"] * 3
    assert f.conns[1]("MGET", *tagged) == f.moved(a, 0)
    assert own.must("RENAME", tagged[0], tagged[1]) == b"OK"
    assert own.must("DEL", *tagged) == 2
    f.points.stop()


@case(workers=(2, 4))
def test_transactions(t):
    f = Fixture(t)
    key, far = f.key_of(0), f.key_of(1)
    own = f.conns[0]
    replies = own.pipe([("MULTI",), ("SET", key, 1), ("INCR", key), ("EXEC",)])
    assert replies[-1] == [b"OK", 2], replies
    replies = own.pipe([("MULTI",), ("SET", key, 5), ("SET", far, 5), ("EXEC",), ("GET", key)])
    assert replies[2] == f.moved(far, 1), replies
    assert replies[3].startswith(b"EXECABORT"), replies
    assert replies[4] == b"2", replies
    assert own("WATCH", far) == f.moved(far, 1)
    assert own("WATCH", key, far) == CROSSSLOT
    other = f.key_of(0)
    replies = own.pipe([("MULTI",), ("SET", key, 1), ("SET", other, 1), ("EXEC",)])
    assert replies[3] == [b"OK", b"OK"] or replies[3] == CROSSSLOT, replies
    f.points.stop()


@case(workers=(2, 4))
def test_database_zero_only(t):
    f = Fixture(t)
    key = f.key_of(0)
    own = f.conns[0]
    own.must("SET", key, 1)
    assert own.must("SELECT", 0) == b"OK"
    assert own("SELECT", 1) == b"ERR SELECT is not allowed in cluster mode"
    assert own("MOVE", key, 1) == b"ERR MOVE is not allowed in cluster mode"
    assert own("SWAPDB", 0, 1) == b"ERR SWAPDB is not allowed in cluster mode"
    assert own("COPY", key, f"{{{key}}}x", "DB", 1) == \
        b"ERR Copying to another database is not allowed in cluster mode"
    f.points.stop()


@case(workers=(2, 4))
def test_cluster_information(t):
    f = Fixture(t)
    ids = [conn.must("CLUSTER", "MYID") for conn in f.conns]
    assert len(set(ids)) == f.count
    assert all(re.fullmatch(rb"[0-9a-f]{40}", item) for item in ids), ids
    for owner, conn in enumerate(f.conns):
        info = info_fields(conn.must("CLUSTER", "INFO"))
        assert info["cluster_state"] == "ok" and info["cluster_enabled"] == "1" \
            if "cluster_enabled" in info else info["cluster_state"] == "ok", info
        for field, value in [("cluster_slots_assigned", 16384), ("cluster_slots_ok", 16384),
                             ("cluster_slots_fail", 0), ("cluster_known_nodes", f.count),
                             ("cluster_size", f.count)]:
            assert info[field] == str(value), (field, info)
        assert info_fields(conn.must("INFO", "cluster"))["cluster_enabled"] == "1"
        assert info_fields(conn.must("INFO", "server"))["redis_mode"] == "cluster"
        assert pairs(conn.must("HELLO"))[b"mode"] == b"cluster"

        slots = sorted(conn.must("CLUSTER", "SLOTS"))
        wanted = [[*range_of(k, f.count), f.points.host.encode(), f.points.ports[k], ids[k]]
                  for k in range(f.count)]
        assert [row[:2] + row[2][:3] for row in slots] == wanted, slots

        shards = [pairs(shard) for shard in conn.must("CLUSTER", "SHARDS")]
        found = sorted((shard[b"slots"], [pairs(node) for node in shard[b"nodes"]])
                       for shard in shards)
        for k, (ranges, nodes) in enumerate(found):
            assert ranges == list(range_of(k, f.count)) and len(nodes) == 1, found
            node = nodes[0]
            assert node[b"id"] == ids[k] and node[b"port"] == f.points.ports[k], node
            assert node[b"ip"] == f.points.host.encode() and node[b"role"] == b"master", node
            assert node[b"health"] == b"online" and b"endpoint" in node, node
            assert b"replication-offset" in node, node

        lines = [line.split(b" ") for line in conn.must("CLUSTER", "NODES").split(b"\n") if line]
        assert len(lines) == f.count, lines
        for line in lines:
            k = ids.index(line[0])
            assert line[1].startswith(f"{f.points.host}:{f.points.ports[k]}@".encode()), line
            assert line[2] == (b"myself,master" if k == owner else b"master"), line
            assert line[3] == b"-" and line[7] == b"connected", line
            assert line[8:] == [b"%d-%d" % range_of(k, f.count)], line
    f.points.stop()


@case(workers=(2, 4))
def test_keys_in_slots(t):
    f = Fixture(t)
    own = f.conns[0]
    key = f.key_of(0)
    slot = slot_of(key)
    tagged = [f"{{{key}}}:{n}" for n in range(25)]
    assert own.must("CLUSTER", "KEYSLOT", key) == slot
    assert own.must("CLUSTER", "KEYSLOT", "{user1000}.following") == slot_of("user1000")
    assert own.must("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
    own.must("MSET", *[item for name in tagged for item in (name, 1)])
    assert own.must("CLUSTER", "COUNTKEYSINSLOT", slot) == 25
    assert sorted(own.must("CLUSTER", "GETKEYSINSLOT", slot, 100)) == sorted(
        name.encode() for name in tagged)
    assert len(own.must("CLUSTER", "GETKEYSINSLOT", slot, 4)) == 4
    assert own.must("CLUSTER", "GETKEYSINSLOT", slot, 0) == []
    for bad in (-1, 16384, "x"):
        assert isinstance(own("CLUSTER", "COUNTKEYSINSLOT", bad), Err), bad
        assert isinstance(own("CLUSTER", "GETKEYSINSLOT", bad, 10), Err), bad
    assert isinstance(own("CLUSTER", "GETKEYSINSLOT", slot, -1), Err)
    assert own("CLUSTER", "NOSUCH") == b"ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP."
    assert any(line.startswith(b"KEYSLOT") for line in own.must("CLUSTER", "HELP"))
    for command in ("READONLY", "READWRITE", "ASKING"):
        assert own.must(command) == b"OK"
    f.points.stop()


@case(workers=(2, 4))
def test_each_port_counts_its_own_keys(t):
    """As nodes of a cluster do: clients add up DBSIZE, KEYS and SCAN over the ports."""
    f = Fixture(t)
    wanted = set()
    for owner, conn in enumerate(f.conns):
        for _ in range(50 + owner):
            key = f.key_of(owner)
            conn.must("SET", key, owner)
            wanted.add(key.encode())
    assert [conn.must("DBSIZE") for conn in f.conns] == [50 + k for k in range(f.count)]
    for owner, conn in enumerate(f.conns):
        for _ in range(owner):
            conn.must("SET", f.key_of(owner), "going", "EX", 1000)
        keyspace = info_fields(conn.must("INFO", "keyspace"))["db0"]
        assert keyspace.startswith(f"keys={50 + 2 * owner},expires={owner},avg_ttl="), keyspace
        assert owner == 0 or 0 < int(keyspace.rsplit("=", 1)[1]) <= 1000000, keyspace
        for key in conn.must("KEYS", "*"):
            if conn.must("TTL", key) > 0:
                conn.must("DEL", key)
    listed = [key for conn in f.conns for key in conn.must("KEYS", "*")]
    assert len(listed) == len(wanted) and set(listed) == wanted
    scanned = []
    for conn in f.conns:
        cursor = b"0"
        while True:
            cursor, names = conn.must("SCAN", cursor, "COUNT", 20)
            scanned += names
            if cursor == b"0":
                break
    assert len(scanned) == len(wanted) and set(scanned) == wanted
    for owner, conn in enumerate(f.conns):
        key = conn.must("RANDOMKEY")
        first, last = range_of(owner, f.count)
        assert first <= slot_of(key) <= last, (owner, key)
    # Clients flush a cluster port by port.
    for conn in f.conns:
        conn.must("FLUSHALL")
    assert [conn.must("DBSIZE") for conn in f.conns] == [0] * f.count
    f.points.stop()


@case(workers=(2, 4), pollux=True)
def test_common_port_forwards_everything(t):
    f = Fixture(t)
    common = Conn((f.points.host, f.points.common))
    t.cleanup(common.close)
    keys = [f.key_of(owner) for owner in range(f.count) for _ in range(5)]
    assert common.must("MSET", *[item for key in keys for item in (key, "x")]) == b"OK"
    assert common.must("MGET", *keys) == [b"x"] * len(keys)
    assert common.must("DBSIZE") == len(keys)
    assert info_fields(common.must("INFO", "cluster"))["cluster_enabled"] == "0"
    assert info_fields(common.must("INFO", "server"))["redis_mode"] == "standalone"
    assert pairs(common.must("HELLO"))[b"mode"] == b"standalone"
    assert common.must("SELECT", 1) == b"OK"
    for owner, conn in enumerate(f.conns):
        assert conn.must("GET", keys[owner * 5]) == b"x"
    f.points.stop()


@case(workers=(2, 4), pollux=True)
def test_ports_follow_moved_slots(t):
    f = Fixture(t)
    common = Conn((f.points.host, f.points.common))
    t.cleanup(common.close)
    key = f.key_of(0)
    slot = slot_of(key)
    f.conns[0].must("SET", key, "here")
    last = f.count - 1
    common.must("POLLUX", "MOVE-SLOT", slot, last)
    assert slot_owners(common)[slot] == last
    assert f.conns[0]("GET", key) == f.moved(key, last)
    assert f.conns[last].must("GET", key) == b"here"
    assert f.conns[last].must("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    first_range = range_of(0, f.count)
    for conn in f.conns:
        ranges = sorted(row[:2] + [row[2][1]] for row in conn.must("CLUSTER", "SLOTS"))
        assert [slot, slot, f.points.ports[last]] in ranges, ranges
        covered = sum(row[1] - row[0] + 1 for row in ranges)
        assert covered == 16384, ranges
    common.must("POLLUX", "MOVE-SLOT", slot, 0)
    assert f.conns[0].must("GET", key) == b"here"
    assert sorted(f.conns[0].must("CLUSTER", "SLOTS"))[0][:2] == list(first_range)
    f.points.stop()


def follow(points, key, command, conns, start):
    """Sends a command the way a cluster client does, following MOVED."""
    at = start
    for hops in range(50):
        if at not in conns:
            conns[at] = Conn((points.host, at))
        reply = conns[at](*command)
        if not isinstance(reply, Err) or not reply.startswith(b"MOVED "):
            return reply, at, hops
        slot, target = reply.split(b" ")[1:]
        assert int(slot) == slot_of(key), reply
        at = int(target.rsplit(b":", 1)[1])
        assert at in points.ports, reply
    raise AssertionError(f"{command} was sent from port to port 50 times")


@case(workers=(4,), pollux=True)
def test_nothing_is_lost_while_slots_move(t):
    f = Fixture(t)
    keys = [f.key_of(n % f.count) for n in range(40)]
    crew = Crew(t.seed)

    def move(crew, rng, _):
        with Conn((f.points.host, f.points.common)) as conn:
            while crew.going():
                conn.must("POLLUX", "MOVE-SLOT", slot_of(rng.choice(keys)), rng.randrange(f.count))
                crew.count("moves")
                crew.stop.wait(0.002)

    def count_up(crew, rng, number):
        mine = keys[number::4]
        totals = dict.fromkeys(mine, 0)
        at = dict.fromkeys(mine, f.points.ports[0])
        conns = {}
        try:
            while crew.going():
                key = rng.choice(mine)
                reply, at[key], hops = follow(f.points, key, ("INCR", key), conns, at[key])
                totals[key] += 1
                assert reply == totals[key], f"{key} counted {reply}, not {totals[key]}"
                crew.count("increments")
                crew.count("redirections", hops)
        finally:
            for conn in conns.values():
                conn.close()

    crew.add(move)
    crew.add(count_up, 4)
    counts = crew.run(t.seconds(2, 8),
                      at_least={"moves": 50, "increments": 500, "redirections": 10})
    t.note(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    f.points.stop()
