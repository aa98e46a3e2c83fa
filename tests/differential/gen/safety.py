"""Keeps random commands from what would make a comparison worthless or the machine suffer.

Mutations may turn any argument into anything. This is the last hand on a command: it repairs
strings of hundreds of megabytes, keys that expire between the answers of two servers, pauses, and
a shutdown. Each rule says what it is for; the runner's cases cover those places with fixed values.
"""

import re

INTEGER = re.compile(rb"-?\d{1,20}\Z")
BYTES_MAX = 1 << 20
BYTES_BEYOND = 1 << 29  # proto-max-bulk-len: an error from here on
BITS_BEYOND = 1 << 32
FAR_S = 50000000
FAR_MS = FAR_S * 1000

FORBIDDEN_DIRECTIVES = {
    b"requirepass", b"maxclients", b"bind", b"port", b"dir", b"logfile", b"unixsocket",
}  # fmt: skip
RELATIVE_TTL = {  # command -> (position of the time, far value)
    b"EXPIRE": (2, FAR_S), b"PEXPIRE": (2, FAR_MS), b"SETEX": (2, FAR_S), b"PSETEX": (2, FAR_MS),
}  # fmt: skip
# Options of commands that are names of commands as well, of such that Pollux does not have.
FOREIGN = {b"sync", b"save", b"module", b"pubsub"}
TTL_OPTIONS = {b"EX": FAR_S, b"PX": FAR_MS, b"EXAT": 4102444800, b"PXAT": 4102444800123}


def number(arg):
    """What the server may read as an integer, else None."""
    return int(arg) if INTEGER.match(arg) else None


def make_safe(args):
    """Returns the arguments, repaired where they have to be. Works on a copy."""
    args = list(args)
    name = args[0].upper()
    rule = RULES.get(name)
    if rule:
        rule(args)
    return args


def clamp(args, place, most, beyond):
    """A number above `most` but not over the limit becomes small."""
    if place < len(args):
        value = number(args[place])
        if value is not None and most < value < beyond:
            args[place] = b"%d" % (value % 97)


def setrange(args):
    clamp(args, 2, BYTES_MAX, BYTES_BEYOND)
    offset = number(args[2]) if len(args) > 3 else None
    if offset is not None and offset + len(args[3]) <= BYTES_BEYOND:
        clamp(args, 2, BYTES_MAX, 1 << 63)


def setbit(args):
    clamp(args, 2, BYTES_MAX * 8, BITS_BEYOND)


def bitfield(args):
    for place in range(2, len(args)):
        arg = args[place]
        if arg.startswith(b"#"):
            value = number(arg[1:])
            if value is not None and 10000 < value < 1 << 40:
                args[place] = b"#%d" % (value % 97)
        elif args[place - 1][:1] in b"uUiI" and args[place - 1] != b"":
            clamp(args, place, BYTES_MAX * 8, BITS_BEYOND)


def relative_ttl(args):
    """A TTL that can run out during the sequence becomes a far one. (Zero and less delete.)"""
    place, far = RELATIVE_TTL[args[0].upper()]
    if place < len(args):
        clip_time(args, place, far)


def clip_time(args, place, far):
    value = number(args[place])
    if value is not None and 0 < value < far // 1000 * 2:
        args[place] = b"%d" % (far + value)


def ttl_options(args):
    """SET and GETEX. SET with a time in the past leaves a key that is counted until it is found."""
    for place in range(2, len(args) - 1):
        far = TTL_OPTIONS.get(args[place].upper())
        if far is not None and (args[0].upper() == b"SET" or far in (FAR_S, FAR_MS)):
            if far in (FAR_S, FAR_MS):
                clip_time(args, place + 1, far)
            elif 0 < (number(args[place + 1]) or 0) < far:
                args[place + 1] = b"%d" % far


def lcs(args):
    """Time and memory of LCS are the product of the lengths: only keys with short values."""
    for place in (1, 2):
        if place < len(args) and not (args[place][:1] == b"l" and len(args[place]) == 2):
            args[place] = b"absent"


def shutdown(args):
    if len(args) < 2 or args[1].upper() != b"ABORT":
        args[:] = [args[0], b"NOTANOPTION"]


def client(args):
    """No pause that holds up the sequence, no end of replies outside of a sealed batch."""
    sub = args[1].upper() if len(args) > 1 else b""
    if sub == b"PAUSE" and len(args) > 2 and (number(args[2]) or 0) > 0:
        args[2] = b"0"
    if sub == b"REPLY" and len(args) == 3 and args[2].upper() in (b"OFF", b"SKIP", b"ON"):
        args[2] = b"ON"
    if sub in (b"TRACKING", b"CACHING"):
        args[1] = b"GETNAME"


def debug(args):
    allowed = {
        b"SLEEP", b"OBJECT", b"SET-ACTIVE-EXPIRE", b"ERROR", b"PROTOCOL",
        b"DIGEST", b"DIGEST-VALUE", b"HTSTATS",
    }  # fmt: skip
    sub = args[1].upper() if len(args) > 1 else b"DIGEST"
    if sub not in allowed:
        args[1:2] = [b"DIGEST"]
    elif sub == b"SLEEP" and len(args) > 2:
        args[2] = b"0"
    elif sub == b"SET-ACTIVE-EXPIRE" and len(args) > 2:
        args[2] = b"1"


def config(args):
    """Only directives whose change neither closes connections nor moves the server."""
    if len(args) < 2 or args[1].upper() != b"SET":
        if len(args) > 1 and args[1].upper() == b"REWRITE":
            args[1:] = [b"RESETSTAT"]
        return
    for place in range(2, len(args), 2):
        word = args[place].lower()
        if word in FORBIDDEN_DIRECTIVES:
            args[place] = b"loglevel"
        value = number(args[place + 1]) if place + 1 < len(args) else None
        if word == b"timeout" and value is not None and 0 < value < 1000:
            args[place + 1] = b"1000"
        if word == b"maxmemory" and value is not None and 0 < value < 1 << 30:
            args[place + 1] = b"2gb"
        if word == b"client-output-buffer-limit":
            args[place] = b"loglevel"


def command(args):
    """GETKEYS of what only redis-server has: COMMAND GETKEYS FLUSHALL SYNC that lost a word."""
    if len(args) > 2 and args[1].upper().startswith(b"GETKEYS") and args[2].lower() in FOREIGN:
        args[2] = b"nonsense"


def monitor(args):
    args[:] = [b"MONITOR", b"x"]


RULES = {
    b"SETRANGE": setrange, b"SETBIT": setbit, b"BITFIELD": bitfield, b"BITFIELD_RO": bitfield,
    b"EXPIRE": relative_ttl, b"PEXPIRE": relative_ttl, b"SETEX": relative_ttl,
    b"PSETEX": relative_ttl, b"SET": ttl_options, b"GETEX": ttl_options, b"LCS": lcs,
    b"SHUTDOWN": shutdown, b"CLIENT": client, b"DEBUG": debug, b"CONFIG": config,
    b"MONITOR": monitor, b"COMMAND": command,
}  # fmt: skip
