"""The table of commands: one row each. Adding a command is adding a row.

A row is (group, weight, command, grammar of its arguments); a command may have several rows. What
no grammar can say is a function registered with @special, which returns the whole list of
arguments.
"""

from gen.args import BIT_KEYS, KEYS, LCS_KEYS, NUMBER_KEYS, WORDS
from gen.grammar import Grammar
import known

ROWS = [
    # strings
    ("strings", 6, "SET", "key value <(NX|XX)? (GET)? (EX ttl|PX pttl|EXAT at|PXAT pat|KEEPTTL)?>"),
    ("strings", 6, "SET", "key value"),
    ("strings", 3, "SET", "nkey number"),
    ("strings", 2, "SET", "nkey float"),
    ("strings", 2, "SET", "lkey short"),
    ("strings", 6, "GET", "key"),
    ("strings", 2, "GET", "nkey"),
    ("strings", 3, "GETEX", "key (EX ttl|PX pttl|EXAT at|PXAT pat|PERSIST)?"),
    ("strings", 2, "GETDEL", "key"),
    ("strings", 3, "GETSET", "key value"),
    ("strings", 4, "APPEND", "key value"),
    ("strings", 1, "APPEND", "nkey number"),
    ("strings", 1, "APPEND", "lkey short"),
    ("strings", 3, "STRLEN", "key"),
    ("strings", 4, "INCR", "nkey"),
    ("strings", 4, "INCRBY", "nkey int"),
    ("strings", 3, "INCRBYFLOAT", "nkey float"),
    ("strings", 3, "DECR", "nkey"),
    ("strings", 3, "DECRBY", "nkey int"),
    ("strings", 4, "SETRANGE", "key offset value"),
    ("strings", 1, "SETRANGE", "lkey smalloffset short"),
    ("strings", 4, "GETRANGE", "key index index"),
    ("strings", 2, "SUBSTR", "key index index"),
    ("strings", 3, "MSET", "(key value)+"),
    ("strings", 3, "MSETNX", "(key value)+"),
    ("strings", 4, "MGET", "(key)+"),
    ("strings", 2, "MGET", "key (missing|nkey|bkey)+"),
    ("strings", 3, "LCS", "lkey lkey <(LEN)? (IDX)? (MINMATCHLEN count)? (WITHMATCHLEN)?>"),
    ("strings", 2, "PSETEX", "key pttl value"),
    ("strings", 2, "SETEX", "key ttl value"),
    ("strings", 2, "SETNX", "key value"),
    # bitmaps
    ("bitmaps", 5, "SETBIT", "bkey bitoffset bit"),
    ("bitmaps", 3, "GETBIT", "bkey bitoffset"),
    ("bitmaps", 4, "BITCOUNT", "bkey (index index (BYTE|BIT)?)?"),
    ("bitmaps", 4, "BITPOS", "bkey bit (index (index (BYTE|BIT)?)?)?"),
    ("bitmaps", 4, "BITOP", "(AND|OR|XOR|NOT) bkey bkey"),
    ("bitmaps", 4, "BITOP", "(AND|OR|XOR) bkey (bkey|key|missing)+"),
    ("bitmaps", 6, "BITFIELD", "bkey (GET bftype bfoffset|SET bftype bfoffset int"
     "|INCRBY bftype bfoffset int|OVERFLOW (WRAP|SAT|FAIL))+"),
    ("bitmaps", 2, "BITFIELD", "bkey OVERFLOW (WRAP|SAT|FAIL) (INCRBY bftype bfoffset int"
     "|SET bftype bfoffset int)+"),
    ("bitmaps", 2, "BITFIELD_RO", "bkey (GET bftype bfoffset)+"),
    ("bitmaps", 1, "BITFIELD_RO", "bkey (SET|INCRBY) bftype bfoffset int"),
    ("bitmaps", 2, "SET", "bkey value"),
    ("bitmaps", 2, "GET", "bkey"),
    ("bitmaps", 1, "STRLEN", "bkey"),
    # keys
    ("keys", 4, "DEL", "(key)+"),
    ("keys", 2, "UNLINK", "(key|nkey|missing)+"),
    ("keys", 4, "EXISTS", "(key)+"),
    ("keys", 3, "TYPE", "key"),
    ("keys", 2, "KEYS", "pattern"),
    ("keys", 1, "SCAN", "count (MATCH pattern|COUNT count|TYPE text)*"),
    ("keys", 1, "RANDOMKEY", ""),
    ("keys", 4, "RENAME", "key key"),
    ("keys", 4, "RENAMENX", "key key"),
    ("keys", 4, "COPY", "key key <(DB db)? (REPLACE)?>"),
    ("keys", 4, "MOVE", "key db"),
    ("keys", 2, "TOUCH", "(key)+"),
    ("keys", 4, "EXPIRE", "key ttl (NX|XX|GT|LT)?"),
    ("keys", 3, "PEXPIRE", "key pttl (NX|XX|GT|LT)?"),
    ("keys", 3, "EXPIREAT", "key at (NX|XX|GT|LT)?"),
    ("keys", 3, "PEXPIREAT", "key pat (NX|XX|GT|LT)?"),
    ("keys", 1, "EXPIRE", "key ttl (NX|XX|GT|LT) (NX|XX|GT|LT)"),
    ("keys", 3, "TTL", "key"),
    ("keys", 3, "PTTL", "key"),
    ("keys", 2, "EXPIRETIME", "key"),
    ("keys", 2, "PEXPIRETIME", "key"),
    ("keys", 3, "PERSIST", "key"),
    ("keys", 4, "OBJECT", "ENCODING key"),
    ("keys", 1, "OBJECT", "(FREQ|IDLETIME|REFCOUNT|HELP|text) key"),
    ("keys", 1, "OBJECT", "HELP"),
    ("keys", 2, "DBSIZE", ""),
    ("keys", 1, "FLUSHDB", "(ASYNC|SYNC|text)?"),
    ("keys", 0.5, "FLUSHALL", "(ASYNC|SYNC|text)?"),
    ("keys", 1, "SWAPDB", "db db"),
    ("keys", 4, "SELECT", "db"),
    ("keys", 5, "SET", "key value"),
    ("keys", 1, "DEBUG", "DIGEST-VALUE (key)+"),
    ("keys", 1, "DEBUG", "DIGEST"),
    # connection
    ("connection", 4, "PING", "(text)?"),
    ("connection", 4, "ECHO", "text"),
    ("connection", 2, "HELLO", "(hellover)?"),
    ("connection", 2, "HELLO", "hellover <(SETNAME name)? (AUTH user text)?>"),
    ("connection", 2, "AUTH", "(user)? text"),
    ("connection", 4, "SELECT", "db"),
    ("connection", 1, "RESET", ""),
    ("connection", 0.3, "QUIT", "(text)?"),
    ("connection", 1, "CLIENT", "ID"),
    ("connection", 3, "CLIENT", "INFO"),
    ("connection", 1, "CLIENT", "LIST (TYPE clienttype|ID (int)+)?"),
    ("connection", 3, "CLIENT", "GETNAME"),
    ("connection", 3, "CLIENT", "SETNAME name"),
    ("connection", 1, "CLIENT", "GETREDIR"),
    ("connection", 1, "CLIENT", "NO-EVICT (ON|OFF|text)"),
    ("connection", 1, "CLIENT", "PAUSE (int) (ALL|WRITE|text)?"),
    ("connection", 1, "CLIENT", "UNPAUSE"),
    ("connection", 1, "CLIENT", "UNBLOCK int (TIMEOUT|ERROR|text)?"),
    ("connection", 1, "CLIENT", "KILL (ID unknownid|ADDR address|LADDR address|USER nouser"
     "|TYPE (PUBSUB|text)|SKIPME (YES|NO|text) ID unknownid)"),
    ("connection", 1, "CLIENT", "KILL address"),
    ("connection", 1, "CLIENT", "(REPLY text|HELP|text)"),
    ("connection", 2, "SET", "key value"),
    ("connection", 2, "GET", "key"),
    # transactions (the scenarios of builder.py add to these)
    ("transactions", 3, "MULTI", ""),
    ("transactions", 3, "EXEC", ""),
    ("transactions", 1, "DISCARD", ""),
    ("transactions", 3, "WATCH", "(key)+"),
    ("transactions", 1, "UNWATCH", ""),
    ("transactions", 4, "SET", "key value"),
    ("transactions", 4, "GET", "key"),
    ("transactions", 4, "INCR", "nkey"),
    ("transactions", 2, "MGET", "(key)+"),
    ("transactions", 2, "MSET", "(key value)+"),
    ("transactions", 2, "TTL", "key"),
    ("transactions", 1, "KEYS", "pattern"),
    ("transactions", 1, "DBSIZE", ""),
    # server
    ("server", 1, "TIME", ""),
    ("server", 1, "LOLWUT", "(VERSION count)?"),
    ("server", 1, "INFO", "(infosection)*"),
    ("server", 2, "DBSIZE", ""),
    ("server", 3, "CONFIG", "GET (confname|pattern)+"),
    ("server", 0.3, "CONFIG", "(RESETSTAT|HELP|text)"),
    ("server", 1, "SLOWLOG", "(GET (int)?|LEN|RESET|HELP|text)"),
    ("server", 1, "LATENCY", "(LATEST|DOCTOR|HELP|text|RESET (text)*|HISTORY text|GRAPH text"
     "|HISTOGRAM (commandname|text)*)"),
    ("server", 1, "MEMORY", "(DOCTOR|HELP|PURGE|STATS|text|USAGE key (SAMPLES int)?)"),
    ("server", 2, "MEMORY", "USAGE key (SAMPLES count)?"),
    ("server", 2, "DEBUG", "(OBJECT key|ERROR text|DIGEST"
     "|DIGEST-VALUE (key)+|SLEEP 0|SET-ACTIVE-EXPIRE 1)"),
    ("server", 2, "DEBUG", "PROTOCOL protocoltype"),
    ("server", 4, "COMMAND", "INFO (commandname)+"),
    ("server", 3, "COMMAND", "DOCS (commandname)+"),
    ("server", 1, "COMMAND", "(COUNT|HELP|text|INFO)"),
    ("server", 2, "COMMAND", "LIST (FILTERBY (PATTERN listpattern|ACLCAT category|MODULE text))?"),
    ("server", 0.5, "SHUTDOWN", "(ABORT|text|NOSAVE SAVE|NOW ABORT|ABORT ABORT)"),
    ("server", 0.5, "MONITOR", "text"),
    ("server", 1, "CLUSTER", "(INFO|MYID|SLOTS|SHARDS|NODES|KEYSLOT key|COUNTKEYSINSLOT int"
     "|GETKEYSINSLOT int int|text)"),
    ("server", 0.3, "READONLY", ""),
    ("server", 0.3, "READWRITE", ""),
    ("server", 0.3, "ASKING", ""),
    ("server", 3, "SET", "key value"),
]  # fmt: skip

SPECIALS = []  # (group, weight, command, function)


def special(group, weight, command):
    def register(function):
        SPECIALS.append((group, weight, command, function))
        return function

    return register


@special("server", 5, "COMMAND")
def command_getkeys(args):
    """GETKEYS of any command of the table, with its arguments right or wrong."""
    row = args.pick([r for r in GENERATORS if r.command not in ("COMMAND", "DEBUG")])
    sub = args.pick([b"GETKEYS", b"GETKEYSANDFLAGS", b"getkeys"])
    return [b"COMMAND", sub] + row.arguments(args)


CONFIG_VALUES = {
    b"maxmemory": [b"0", b"4gb", b"2GB", b"4096mb", b"abc", b"-1", b"1.5gb", b"", b"5000000000"],
    b"maxmemory-policy": [b"noeviction", b"allkeys-lru", b"NOEVICTION", b"allkeys-foo", b""],
    b"timeout": [b"0", b"1000", b"-1", b"abc", b"99999999999"],
    b"tcp-keepalive": [b"0", b"300", b"60", b"-1", b"x"],
    b"slowlog-log-slower-than": [b"10000", b"1000000", b"-1", b"-2", b"abc", b"1e6"],
    b"slowlog-max-len": [b"0", b"128", b"10", b"-1", b"x"],
    b"latency-monitor-threshold": [b"0", b"100", b"-1", b"x"],
    b"lazyfree-lazy-user-del": [b"yes", b"no", b"YES", b"maybe", b"1"],
    b"lazyfree-lazy-user-flush": [b"yes", b"no", b"x"],
    b"lazyfree-lazy-expire": [b"yes", b"no", b""],
    b"proto-max-bulk-len": [b"512mb", b"536870912", b"1mb", b"1", b"1048575", b"-1"],
    b"client-query-buffer-limit": [b"1gb", b"1048576", b"1", b"abc"],
    b"loglevel": [b"notice", b"warning", b"verbose", b"loud", b"NOTICE"],
    b"databases": [b"16", b"17"], b"tcp-backlog": [b"511"], b"daemonize": [b"no"],
    b"enable-debug-command": [b"yes", b"no"], b"protected-mode": [b"yes"],
    b"no-such-directive": [b"1"], b"": [b""],
}  # fmt: skip


@special("server", 4, "CONFIG")
def config_set(args):
    words = [b"CONFIG", b"SET"]
    for _ in range(args.rng.choice([1, 1, 1, 2, 3])):
        name = args.pick(sorted(CONFIG_VALUES))
        words += [name if args.chance(0.9) else name.upper(), args.pick(CONFIG_VALUES[name])]
    return words


class Extra:
    """Kinds that are lists of words; mixed into the arguments of a sequence. (DEBUG PROTOCOL push
    is in the cases: inside of EXEC it breaks the framing, also with Redis.)"""

    WORDS_OF = {
        "hellover": [b"2", b"3", b"2", b"3", b"3", b"1", b"4", b"abc", b"", b"-2", b"03"],
        "user": [b"default", b"default", b"nobody", b""],
        "nouser": [b"nobody", b"somebody"],
        "clienttype": [b"normal", b"NORMAL", b"master", b"replica", b"slave", b"pubsub", b"foo"],
        "address": [b"127.0.0.1:1", b"1.2.3.4:5", b"", b"nonsense", b"/no/socket:0"],
        "unknownid": [b"99999999", b"0", b"-1", b"abc", b"9223372036854775807"],
        "infosection": [b"server", b"clients", b"memory", b"stats", b"keyspace", b"all", b"default",
                        b"everything", b"commandstats", b"nonsense", b"CPU", b"errorstats"],
        "confname": sorted(n.encode() for n in known.CONFIG_COMPARED) + [b"nonsense", b"SAVE"],
        "protocoltype": [b"string", b"integer", b"double", b"bignum", b"null", b"array", b"set",
                         b"map", b"attrib", b"verbatim", b"true", b"false", b"nonsense"],
        "listpattern": [b"*", b"get*", b"*set", b"client*", b"[a-c]*", b"GET", b"xyz*", b"bit????"],
        "category": [b"keyspace", b"read", b"write", b"string", b"bitmap", b"fast", b"slow",
                     b"connection", b"transaction", b"dangerous", b"admin", b"STRING", b"nonsense"],
    }  # fmt: skip

    def __init__(self):
        names = sorted(set(known.IMPLEMENTED) - known.NOT_IN_TABLE)
        subs = [n + "|" + s for n in names for s in known.IMPLEMENTED[n]]
        self.WORDS_OF = dict(self.WORDS_OF)
        self.WORDS_OF["commandname"] = [n.encode() for n in names * 3 + subs] + [
            b"GET", b"nonsense", b"client|nonsense", b"get|set", b"", b"CLIENT|ID", b"config",
        ]  # fmt: skip


EXTRA = Extra()


class Generator:
    """One row of the table, ready for use."""

    def __init__(self, group, weight, command, make, literals):
        self.group = group
        self.weight = weight
        self.command = command
        self.make = make
        self.literals = literals

    def arguments(self, args):
        return self.make(args)


def kinds_resolved(args):
    """Gives an Args the word-list kinds of this module."""
    for name, words in EXTRA.WORDS_OF.items():
        setattr(args, "kind_" + name, lambda words=words: args.pick(words))
    return args


def build():
    out = []
    for group, weight, command, text in ROWS:
        grammar = Grammar(text)

        def make(args, grammar=grammar, command=command.encode()):
            return [command] + grammar.make(args)

        out.append(Generator(group, weight, command, make, grammar.literals))
    for group, weight, command, function in SPECIALS:
        out.append(Generator(group, weight, command, function, []))
    return out


GENERATORS = build()
GROUPS = ["strings", "bitmaps", "keys", "connection", "transactions", "server"]
ALL_KEYS = KEYS + NUMBER_KEYS + BIT_KEYS + LCS_KEYS
MISSPELT = [b"FOO", b"GETT", b"", b"SE", b"\xff\x00", b"x" * 200] + WORDS[:2]
