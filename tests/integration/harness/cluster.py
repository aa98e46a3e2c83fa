"""Servers that answer on one port for each owner of slots.

Pollux does so with per-core-endpoints; with --as-redis the same is made of redis-servers in cluster
mode, which proves the tests.
"""
from .resp import info_fields
from .server import Server, free_ports, poll
from .slots import range_of


class Endpoints:
    """`ports[k]` answers for the slots of owner k; `common` is Pollux's port for everything."""

    def __init__(self, t, owners, directives=None):
        self.owners = owners
        self.servers = []
        if t.as_redis:
            self._redis_cluster(t, directives or {})
        else:
            self._pollux(t, directives or {})

    def _pollux(self, t, directives):
        first = free_ports(self.owners + 1)
        server = t.start({"workers": self.owners, "per-core-endpoints": "yes",
                          "per-core-port-base": first + 1, **directives}, port=first)
        self.servers = [server]
        self.common = first
        self.ports = [first + 1 + k for k in range(self.owners)]

    def _redis_cluster(self, t, directives):
        first = free_ports(2 * self.owners)
        self.ports = [first + k for k in range(self.owners)]
        self.common = None
        for k, port in enumerate(self.ports):
            server = Server(t.target, {"cluster-enabled": "yes", "cluster-port":
                                       first + self.owners + k, **directives}, port=port)
            t.cleanup(server.kill)
            self.servers.append(server)
        for k, server in enumerate(self.servers):
            with server.client() as conn:
                conn.must("CLUSTER", "SET-CONFIG-EPOCH", k + 1)
                conn.must("CLUSTER", "ADDSLOTSRANGE", *range_of(k, self.owners))
                conn.must("CLUSTER", "MEET", "127.0.0.1", self.ports[0], first + self.owners)
        for server in self.servers:
            poll(lambda: self._joined(server), 30, what="cluster state ok")

    def _joined(self, server):
        with server.client() as conn:
            info = info_fields(conn.must("CLUSTER", "INFO"))
        return (info["cluster_state"] == "ok" and info["cluster_slots_assigned"] == "16384"
                and info["cluster_known_nodes"] == str(self.owners))

    @property
    def host(self):
        return self.servers[0].host

    def alive(self):
        return all(server.alive() for server in self.servers)

    def stop(self):
        for server in self.servers:
            server.stop()
