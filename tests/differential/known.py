"""Where Pollux differs from Redis 7.0 on purpose: one table, each row with its reason.

Nothing else in the runner makes an exception. A row that is no longer true is to be deleted, so
that the comparison becomes exact again.
"""

# The commands that have to be there; the runner fails when one is missing. Containers list their
# subcommands. What Redis has beyond this is not implemented yet and is left out of comparisons of
# whole listings (COMMAND LIST, COMMAND INFO of a container).
IMPLEMENTED = {
    # connection
    "ping": (), "echo": (), "hello": (), "auth": (), "select": (), "quit": (), "reset": (),
    "client": (
        "id", "info", "list", "kill", "getname", "setname", "pause", "unpause", "reply",
        "no-evict", "unblock", "getredir", "help",
    ),
    # strings
    "set": (), "get": (), "getex": (), "getdel": (), "getset": (), "append": (), "strlen": (),
    "incr": (), "incrby": (), "incrbyfloat": (), "decr": (), "decrby": (), "setrange": (),
    "getrange": (), "substr": (), "mset": (), "msetnx": (), "mget": (), "lcs": (), "psetex": (),
    "setex": (), "setnx": (),
    # bitmaps
    "setbit": (), "getbit": (), "bitcount": (), "bitpos": (), "bitop": (), "bitfield": (),
    "bitfield_ro": (),
    # keys
    "del": (), "unlink": (), "exists": (), "type": (), "keys": (), "scan": (), "randomkey": (),
    "rename": (), "renamenx": (), "copy": (), "move": (), "touch": (), "expire": (),
    "pexpire": (), "expireat": (), "pexpireat": (), "ttl": (), "pttl": (), "expiretime": (),
    "pexpiretime": (), "persist": (), "dbsize": (), "flushdb": (), "flushall": (), "swapdb": (),
    "object": ("encoding", "freq", "idletime", "refcount", "help"),
    # transactions
    "multi": (), "exec": (), "discard": (), "watch": (), "unwatch": (),
    # server
    "info": (), "time": (), "lolwut": (), "monitor": (), "shutdown": (),
    "debug": (
        "object", "sleep", "set-active-expire", "error", "protocol", "digest",
        "digest-value", "htstats", "help",
    ),
    "config": ("get", "set", "rewrite", "resetstat", "help"),
    "slowlog": ("get", "len", "reset", "help"),
    "latency": ("doctor", "graph", "help", "histogram", "history", "latest", "reset"),
    "memory": ("doctor", "help", "malloc-stats", "purge", "stats", "usage"),
    "cluster": ("countkeysinslot", "getkeysinslot", "info", "keyslot", "myid", "nodes", "shards",
                "slots"),
    "readonly": (), "readwrite": (), "asking": (),
    "command": ("count", "docs", "getkeys", "getkeysandflags", "help", "info", "list"),
}  # fmt: skip

# Subcommands that Pollux has and Redis 7.0 does not. Nothing here compares them; they are named so
# that nobody adds them to the generators.
NEWER_THAN_THE_ORACLE = {
    "client|setinfo": "came with 7.2",
    "client|no-touch": "came with 7.2",
    "debug|stringmatch-len": "came with 7.2",
}

# Commands that are no entries of the command table of Redis 7.0, though it answers them.
NOT_IN_TABLE = {"quit"}

# Makers of values of other types, used for wrong-type errors as soon as both servers have them.
TYPE_MAKERS = {
    "list": (b"RPUSH", b"a", b"b", b"c"),
    "hash": (b"HSET", b"f", b"v", b"g", b"w"),
    "set": (b"SADD", b"x", b"y", b"z"),
    "zset": (b"ZADD", b"1", b"one", b"2", b"two"),
    "stream": (b"XADD", b"1-1", b"f", b"v"),
}

# field of HELLO -> reason why its value is not compared
HELLO_FIELDS = {
    b"version": "Pollux answers 7.2.x",
    b"id": "the server numbers its clients itself",
}

# field of CLIENT INFO and CLIENT LIST -> reason why only its presence is compared
CLIENT_FIELDS = {
    "id": "numbered by the server", "addr": "the client's own port", "laddr": "the server's port",
    "fd": "numbered by the kernel", "age": "time", "idle": "time", "qbuf": "buffers differ",
    "qbuf-free": "buffers differ", "argv-mem": "buffers differ", "multi-mem": "buffers differ",
    "rbs": "buffers differ", "rbp": "buffers differ", "obl": "buffers differ",
    "oll": "buffers differ", "omem": "buffers differ", "tot-mem": "buffers differ",
    "events": "depends on the loop",
}  # fmt: skip

# Directives whose CONFIG GET has to agree. Others describe the place where the server runs (port,
# dir, unixsocket, logfile, pidfile, syslog-ident) or features that Pollux does not have.
CONFIG_COMPARED = {
    "maxmemory", "maxmemory-policy", "timeout", "tcp-keepalive", "tcp-backlog", "maxclients",
    "databases", "proto-max-bulk-len", "client-query-buffer-limit",
    "client-output-buffer-limit", "slowlog-log-slower-than", "slowlog-max-len",
    "latency-monitor-threshold", "latency-tracking", "latency-tracking-info-percentiles",
    "requirepass", "protected-mode", "loglevel", "bind", "unixsocketperm", "syslog-enabled",
    "syslog-facility", "daemonize", "supervised", "enable-debug-command",
    "enable-protected-configs", "appendonly", "save", "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire", "lazyfree-lazy-server-del", "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
}  # fmt: skip

# directive -> reason why its upper bound, which CONFIG SET names when it refuses, is another
CONFIG_BOUNDS = {
    b"proto-max-bulk-len": "lengths of values are 31 bits",
    b"client-query-buffer-limit": "1 TiB for one connection is a mistake",
}

# letter of the field `flags` of CLIENT INFO and CLIENT LIST that Pollux does not show -> reason
CLIENT_FLAGS = {"d": "that a watched key has changed is known where the key is"}

# What no single reply shows, and what nothing here compares -> reason
BEHAVIOUR = {
    "CLIENT REPLY OFF in a transaction": "all of EXEC's reply is missing; Redis sends its beginning",
    "CLIENT PAUSE": "one beyond the end of time lasts until UNPAUSE; Redis does not pause at all",
    "CLIENT UNPAUSE": "works while all commands are paused; in Redis it waits for the end as well",
    "BITFIELD": "one that lengthens the string and then fails by OVERFLOW FAIL counts as a change, "
    "for WATCH and the journal; in Redis it does not, and a replica would differ",
    "LCS": "refused as for want of memory beyond 2^23 words of 64 columns: one string of 8 MB "
    "against a very short one; Redis's own limit stays below that otherwise",
}

# field of INFO that Redis has and Pollux does not -> reason. A trailing * stands for any ending.
INFO_FIELDS = {}

# (command, subcommand) of free texts, * for every container -> reason. Only the frame of such a
# reply is compared.
FREE_TEXTS = {
    ("*", "HELP"): "help is written in the project's own words and lists its own subcommands",
    ("LOLWUT", ""): "own art",
    ("MEMORY", "DOCTOR"): "own words",
    ("LATENCY", "DOCTOR"): "own words",
    ("MEMORY", "MALLOC-STATS"): "jemalloc's report",
}

# keys of COMMAND DOCS whose values are prose: presence and type are compared, words are not.
DOC_PROSE = {
    b"summary": "own words",
    b"complexity": "own words",
    b"history": "own words; versions are facts, but their sentences are not",
}


def listing_name(name):
    """True if a name from COMMAND LIST (`get`, `client|id`) is one that both have to list."""
    base, _, sub = name.lower().partition("|")
    if base not in IMPLEMENTED or base in NOT_IN_TABLE:
        return False
    return not sub or sub in IMPLEMENTED[base]


def info_field_excused(field):
    for row in INFO_FIELDS:
        if field == row or (row.endswith("*") and field.startswith(row[:-1])):
            return True
    return False
