"""redis-py as Debian ships it: plain, pipelines, locks, cluster."""
import inspect
import logging
import os
import warnings

from harness.cluster import Endpoints
from harness.load import Crew
from harness.pollux import mover
from harness.runner import case
from harness.slots import KeyNames, slot_of

import redis

# RedisCluster writes every redirection that it follows to the log.
logging.getLogger("redis.cluster").setLevel(logging.CRITICAL)


def protocols():
    """The protocols that this version of redis-py can speak."""
    known = inspect.signature(redis.Connection.__init__).parameters
    return [2, 3] if "protocol" in known else [2]


def plain(server, protocol=2, **options):
    if protocol != 2:
        options["protocol"] = protocol
    return redis.Redis(host=server.host, port=server.port, decode_responses=True, **options)


@case(workers=(1, 4), drivers="each")
def test_plain_commands(t):
    for protocol in protocols():
        with plain(t.server, protocol) as client:
            client.flushall()
            assert client.ping() and client.set("a", "1") and client.get("a") == "1"
            assert client.set("a", "2", nx=True) is None and client.set("a", "3", xx=True, ex=100)
            assert 90 < client.ttl("a") <= 100
            assert client.mset({f"m:{n}": n for n in range(100)})
            assert client.mget([f"m:{n}" for n in range(100)]) == [str(n) for n in range(100)]
            assert client.incr("n", 5) == 5 and client.incrbyfloat("f", 1.5) == 1.5
            assert client.append("t", "abc") == 3 and client.getrange("t", 1, 2) == "bc"
            assert client.setbit("b", 7, 1) == 0 and client.bitcount("b") == 1
            assert client.bitfield("bf").set("u8", 0, 200).get("u8", 0).execute() == [0, 200]
            assert client.exists("a", "b", "nosuch") == 2
            assert len(list(client.scan_iter("m:*", count=7))) == 100
            assert client.dbsize() == len(client.keys())
            assert client.rename("a", "renamed") and client.type("renamed") == "string"
            assert client.copy("renamed", "copied") and client.delete("copied", "nosuch") == 1
            assert client.object("encoding", "n") == "int"
            info = client.info()
            assert info["redis_version"] and info["connected_clients"] >= 1
            assert client.info("everything")["db0"]["keys"] == client.dbsize()
            assert client.config_get("maxclients")["maxclients"].isdigit()
            assert any(row["cmd"] == "client|list" for row in client.client_list())
            assert client.client_id() > 0 and client.client_setname("py")
            assert client.client_getname() == "py"
            assert client.slowlog_get() is not None and client.time()[0] > 1_600_000_000
            assert client.memory_usage("t") > 0 and client.memory_stats()["keys.count"] > 0
            assert client.command_count() > 50 and "get" in client.command()
            assert client.lastsave() if t.as_redis else True
            try:
                client.incr("t")
                raise AssertionError("no error")
            except redis.ResponseError as error:
                assert "not an integer" in str(error)


@case(workers=(1, 4))
def test_pipelines_and_transactions(t):
    with plain(t.server) as client:
        names = KeyNames("py:").spread(8)
        pipe = client.pipeline(transaction=False)
        for n, name in enumerate(names):
            pipe.set(name, n).get(name).incr(name)
        assert pipe.execute() == [item for n in range(8) for item in (True, str(n), n + 1)]
        pipe = client.pipeline(transaction=True)
        pipe.mget(names).mset({name: 0 for name in names}).incr(names[0])
        assert pipe.execute() == [[str(n + 1) for n in range(8)], True, 1]

        def raise_both(pipe):
            values = [int(value) for value in pipe.mget(names[:2])]
            pipe.multi()
            pipe.set(names[0], values[0] + 1).set(names[1], values[1] + 1)
        assert client.transaction(raise_both, *names[:2]) == [True, True]
        with client.pipeline() as pipe:
            pipe.watch(names[0])
            client.incr(names[0])
            pipe.multi()
            pipe.ping()
            try:
                pipe.execute()
                raise AssertionError("no WatchError")
            except redis.WatchError:
                pass


@case(workers=(4,))
def test_monitor_and_pool(t):
    with plain(t.server) as client, client.monitor() as monitor:
        with plain(t.server) as other:
            other.set("seen", 1)
        assert monitor.next_command()["command"] == "SET seen 1"
    pool = redis.BlockingConnectionPool(host=t.server.host, port=t.server.port, max_connections=5)
    crew = Crew(t.seed)

    def use(crew, _rng, _number):
        mine = redis.Redis(connection_pool=pool)
        while crew.going():
            mine.incr("pooled")
            crew.count("increments")
    crew.add(use, 10)
    counts = crew.run(1)
    with redis.Redis(connection_pool=pool) as client:
        assert int(client.get("pooled")) == counts["increments"]
    pool.disconnect()


@case(workers=(1, 4))
def test_unix_socket_and_password(t):
    path = os.path.join(t.temp_dir(), "server.sock")
    server = t.start({"unixsocket": path, "requirepass": "secret"}, protocol_password="secret")
    with redis.Redis(unix_socket_path=path, password="secret", db=3) as client:
        assert client.set("a", 1) and client.dbsize() == 1
    with redis.Redis(host=server.host, port=server.port, password="wrong") as client:
        try:
            client.ping()
            raise AssertionError("no error")
        except (redis.AuthenticationError, redis.ResponseError) as error:
            assert "WRONGPASS" in str(error), error
    with redis.Redis(host=server.host, port=server.port, username="default", password="secret",
                     health_check_interval=1, client_name="named") as client:
        assert client.ping() and client.client_getname() == "named"
    server.stop()


def cluster_client(points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return redis.RedisCluster(host=points.host, port=points.ports[0], decode_responses=True)


@case(workers=(2, 4), drivers="each")
def test_cluster(t):
    points = Endpoints(t, t.workers)
    client = cluster_client(points)
    try:
        assert sorted(node.port for node in client.get_primaries()) == points.ports
        for n in range(200):
            assert client.set(f"key:{n}", n)
        assert [client.get(f"key:{n}") for n in range(200)] == [str(n) for n in range(200)]
        everywhere = redis.RedisCluster.PRIMARIES
        assert client.dbsize(target_nodes=everywhere) == 200
        listed = client.keys("key:*", target_nodes=everywhere)
        assert len(listed) == 200 == len(set(listed))
        assert len(list(client.scan_iter("key:*"))) == 200
        assert client.mset_nonatomic({f"non:{n}": n for n in range(50)})
        assert client.mget_nonatomic([f"non:{n}" for n in range(50)]) == [
            str(n) for n in range(50)]
        assert client.exists(*[f"non:{n}" for n in range(50)]) == 50
        assert client.delete(*[f"non:{n}" for n in range(50)]) == 50
        pipe = client.pipeline()
        for n in range(100):
            pipe.incr(f"key:{n}")
        assert pipe.execute() == [n + 1 for n in range(100)]
        assert client.cluster_keyslot("key:1") == slot_of("key:1")
        try:
            client.mget("key:1", "key:2")
            raise AssertionError("no error")
        except redis.exceptions.RedisClusterException:
            pass
        assert client.flushall() and client.dbsize(target_nodes=everywhere) == 0
    finally:
        client.close()
    points.stop()


@case(workers=(4,), pollux=True)
def test_cluster_client_under_moves(t):
    """RedisCluster follows slots that move under it."""
    points = Endpoints(t, t.workers)
    keys = [f"moving:{n}" for n in range(50)]
    crew = Crew(t.seed)
    crew.add(mover(points.servers[0], [slot_of(key) for key in keys], t.workers, pause=0.02))

    def use(crew, rng, number):
        client = cluster_client(points)
        totals = {}
        try:
            while crew.going():
                key = f"{rng.choice(keys)}"
                mine = f"{{{key}}}:{number}"
                totals[mine] = totals.get(mine, 0) + 1
                assert client.incr(mine) == totals[mine], mine
                crew.count("increments")
        finally:
            client.close()

    crew.add(use, 3)
    counts = crew.run(t.seconds(2, 6), at_least={"increments": 100, "moves": 10})
    t.note(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    points.stop()
