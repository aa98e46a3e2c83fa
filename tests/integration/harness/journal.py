"""Recording of every change as one RESP command stream, and reading such a stream.

Pollux records with DEBUG JOURNAL; with --as-redis the AOF of redis-server stands in for it.
"""
import glob
import os

from .resp import Err, encode, info_fields
from .server import poll


class Recorder:
    """Records between `start` and `stop`; `stop` returns the path of the stream."""

    def __init__(self, t, server):
        self.as_redis = t.as_redis
        self.server = server
        self.path = os.path.join(t.temp_dir(), "journal")

    def start(self):
        with self.server.client() as conn:
            if not self.as_redis:
                conn.must("DEBUG", "JOURNAL", self.path)
                return
            conn.must("CONFIG", "SET", "aof-use-rdb-preamble", "no", "appendonly", "yes")
            poll(lambda: self._settled(conn), 20, what="AOF in use")

    @staticmethod
    def _settled(conn):
        info = info_fields(conn.must("INFO", "persistence"))
        return info["aof_enabled"] == "1" and info["aof_rewrite_in_progress"] == "0" \
            and info["aof_rewrite_scheduled"] == "0"

    def stop(self):
        with self.server.client(timeout=60) as conn:
            if not self.as_redis:
                conn.must("DEBUG", "JOURNAL", "OFF")
                return self.path
            conn.must("CONFIG", "SET", "appendonly", "no")
        (path,) = glob.glob(os.path.join(self.server.directory, "appendonlydir", "*.incr.aof"))
        return path


def commands(path):
    """The commands of a stream as lists of bytes; fails on a torn or malformed one."""
    with open(path, "rb") as source:
        data = source.read()
    at, found = 0, []

    def number(kind):
        nonlocal at
        end = data.index(b"\r\n", at)
        assert data[at:at + 1] == kind, f"{data[at:at + 40]!r} at byte {at} of {path}"
        value = int(data[at + 1:end])
        at = end + 2
        return value

    while at < len(data):
        if data[at:at + 1] == b"#":
            at = data.index(b"\n", at) + 1
            continue
        arguments = []
        for _ in range(number(b"*")):
            size = number(b"$")
            arguments.append(data[at:at + size])
            assert data[at + size:at + size + 2] == b"\r\n", f"torn at byte {at} of {path}"
            at += size + 2
        found.append(arguments)
    return found


def replay(conn, stream):
    """Runs the commands through a connection; fails at the first error reply, inside EXEC too."""
    for first in range(0, len(stream), 500):
        part = stream[first:first + 500]
        conn.raw(b"".join(encode(*command) for command in part))
        for command in part:
            reply = conn.read()
            for item in reply if isinstance(reply, list) else [reply]:
                assert not isinstance(item, Err), f"replay of {command} answered {item!r}"
            assert reply is not None or command[0].upper() != b"EXEC", "EXEC was aborted in replay"
