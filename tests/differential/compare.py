"""Decides whether two replies to one command are the same answer.

Byte for byte, unless COMPARATORS has a row for the command. A comparator gets the command and both
replies and returns None or what is wrong. Errors are always compared exactly: a comparator sees
two replies that are no errors. To add a command whose answer cannot be equal, add a row.
"""

import re

import known
from resp import CLOSED, cut_array

TTL_TOLERANCE_MS = 2000

# Times that the generators and cases set absolutely: they have to come back to the millisecond.
# Nothing relative to now comes near them.
EXACT_TIMES_MS = {4102444800000, 4102444800123, 9999999999000, 9999999999999, 32503680000000}

BOUNDS = re.compile(rb"argument '([\w-]+)'\) - argument must be between (\d+) and \d+ inclusive")
DEBUG_OBJECT = re.compile(rb"Value at:\S+ refcount:\d+ encoding:(\w+) serializedlength:(\d+) ")


def compare(cmd, a, b, queue=None):
    """None, or what is wrong. `queue` holds the commands of the transaction for an EXEC."""
    if a.kind == b.kind and a.raw == b.raw:
        return None
    if a.is_error() and b.is_error() and same_but_for_bound(cmd, a, b):
        return None
    if cmd.name == b"EXEC" and queue is not None and a.kind == b.kind == CLOSED:
        return compare_cut_exec(queue, a, b)
    if a.is_state() or b.is_state() or a.is_error() or b.is_error():
        return "replies differ"
    if cmd.name == b"EXEC" and queue is not None:
        return compare_exec(queue, a, b)
    row = comparator(cmd.name.decode("latin-1"), cmd.word(1).decode("latin-1"))
    if row is None:
        return "replies differ"
    try:
        return row(cmd, a, b)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return "a reply has an unexpected form (%s)" % error


def same_but_for_bound(cmd, a, b):
    """Refusals of CONFIG SET that differ in the upper bound that they name, where that is known."""
    left, right = BOUNDS.search(a.raw), BOUNDS.search(b.raw)
    if cmd.name != b"CONFIG" or not left or not right or left.group(1) not in known.CONFIG_BOUNDS:
        return False
    return left.group(1, 2) == right.group(1, 2)


def comparator(name, sub):
    if not known.IMPLEMENTED.get(name.lower()):
        sub = ""  # no container: the second word is an argument
    return COMPARATORS.get((name, sub)) or (COMPARATORS.get(("*", sub)) if sub else None)


def compare_exec(queue, a, b):
    if a.header() != b.header() or not isinstance(a.value, list) or len(a.value) != len(queue):
        return "replies differ"
    for index, cmd in enumerate(queue):
        why = compare(cmd, a.value[index], b.value[index])
        if why:
            return "element %d of EXEC (%s): %s" % (index, cmd.text(), why)
    return None


def compare_cut_exec(queue, a, b):
    """A transaction that killed its own client: the replies that came before the end."""
    left, right = cut_array(a.raw), cut_array(b.raw)
    if left is None or right is None or left[0] != right[0] or left[0] != len(queue):
        return "replies differ"
    if len(left[1]) != len(right[1]) or left[2] != right[2]:
        return "replies end at different places"
    for index, (cmd, one, other) in enumerate(zip(queue, left[1], right[1])):
        why = compare(cmd, one, other)
        if why:
            return "element %d of EXEC (%s): %s" % (index, cmd.text(), why)
    return None


# Building blocks


def is_list(reply):
    return isinstance(reply.value, list)


def unordered(cmd, a, b):
    """The same elements in any order."""
    if a.header() != b.header() or not is_list(a) or not is_list(b):
        return "replies differ"
    if sorted(c.raw for c in a.value) != sorted(c.raw for c in b.value):
        return "different elements: %s" % difference(a.value, b.value)
    return None


def difference(a, b):
    left, right = {c.raw for c in a}, {c.raw for c in b}
    return "only first %r, only second %r" % (sorted(left - right)[:5], sorted(right - left)[:5])


def shape(cmd, a, b):
    """The same type, and where it is an array or a map, not empty against filled."""
    if a.kind != b.kind:
        return "types differ"
    if (a.value is None) != (b.value is None):
        return "null against a value"
    return None


def integers(cmd, a, b):
    if a.kind != b.kind or a.number() is None or b.number() is None:
        return "types differ"
    if (a.number() < 0) != (b.number() < 0):
        return "signs differ"
    return None


def near(tolerance, exact=frozenset()):
    """Integers within the tolerance; negative ones (-1, -2) and those in `exact` have to agree."""

    def check(cmd, a, b):
        left, right = a.number(), b.number()
        if a.kind != b.kind or left is None or right is None:
            return "types differ"
        if left < 0 or right < 0 or left in exact or right in exact:
            return None if left == right else "values differ"
        return None if abs(left - right) <= tolerance else "values differ by more than tolerated"

    return check


def help_frame(cmd, a, b):
    """HELP: status lines; the first one and the two about HELP itself agree."""
    if not is_list(a) or not is_list(b) or a.kind != b.kind or len(b.value) < 3:
        return "types differ"
    if any(c.kind != b"+" for c in b.value):
        return "a line is no simple string"
    if a.value[0].raw != b.value[0].raw:
        return "first lines differ"
    if [c.raw for c in a.value[-2:]] != [c.raw for c in b.value[-2:]]:
        return "last lines differ"
    return None


def text(cmd, a, b):
    """Free text: type only, but not empty."""
    if a.kind != b.kind:
        return "types differ"
    if a.kind == b"=" and a.value[:4] != b.value[:4]:
        return "verbatim formats differ"
    return None if b.value else "empty text"


# Single commands


def scan_once(cmd, a, b):
    """One call of SCAN: [decimal cursor, array]; which elements come is the server's choice."""
    for reply in (a, b):
        if not is_list(reply) or len(reply.value) != 2 or not is_list(reply.value[1]):
            return "no [cursor, elements]"
        if reply.value[0].kind != b"$" or not reply.value[0].value.isdigit():
            return "cursor is no decimal bulk string"
    return None


def hello(cmd, a, b):
    """The same fields in the same order; values as known.HELLO_FIELDS allows."""
    if a.header() != b.header():
        return "types differ"
    for (key, value), (other_key, other) in zip(a.pairs(), b.pairs()):
        if key.raw != other_key.raw:
            return "fields differ"
        if key.value in known.HELLO_FIELDS:
            if value.kind != other.kind:
                return "type of %s differs" % key.value.decode()
        elif value.raw != other.raw:
            return "value of %s differs" % key.value.decode()
    return None


def client_fields(line):
    return dict(f.split("=", 1) for f in line.decode("latin-1").strip().split(" ") if "=" in f)


def client_line(a, b):
    left, right = client_fields(a), client_fields(b)
    for field, value in left.items():
        if field not in right:
            return "field %s is missing" % field
        other = right[field]
        if field == "flags":
            value, other = known_flags(value), known_flags(other)
        if field not in known.CLIENT_FIELDS and value != other:
            return "field %s: %s against %s" % (field, value, other)
    return None


def known_flags(flags):
    """Both sides: redis-server is also compared with itself."""
    return "".join(c for c in flags if c not in known.CLIENT_FLAGS) or "N"


def client_info(cmd, a, b):
    if a.kind != b.kind or a.value[:4] != b.value[:4] and a.kind == b"=":
        return "types differ"
    skip = 4 if a.kind == b"=" else 0
    return client_line(a.value[skip:], b.value[skip:])


def client_list(cmd, a, b):
    """Who else is connected is not ours to say; every line has all fields of Redis."""
    if a.kind != b.kind:
        return "types differ"
    wanted = client_fields(a.value.splitlines()[0]) if a.value.strip() else {}
    for line in b.value.splitlines():
        missing = set(wanted) - set(client_fields(line[4:] if line[:4] == b"txt:" else line))
        missing -= {"txt:id"}
        if missing - {"id"}:
            return "fields missing: %s" % sorted(missing)
    return None


def client_kill(cmd, a, b):
    """A kill by id or address hits a known number of clients; by type or user it also hits those
    of the runner that are about to close."""
    loose = {b"TYPE", b"USER"} & {cmd.word(i) for i in range(2, len(cmd.args), 2)}
    return integers(cmd, a, b) if loose else "replies differ"


def config_get(cmd, a, b):
    """The directives in known.CONFIG_COMPARED, in any order."""
    if a.kind != b.kind:
        return "types differ"
    left, right = (
        {k.value: v.raw for k, v in r.pairs() if k.value.decode("latin-1") in known.CONFIG_COMPARED}
        for r in (a, b)
    )
    if left != right:
        wrong = sorted(k for k in set(left) | set(right) if left.get(k) != right.get(k))
        return "; ".join("%s: %r against %r" % (k, left.get(k), right.get(k)) for k in wrong[:5])
    return None


def command_list(cmd, a, b):
    if a.kind != b.kind:
        return "types differ"
    left, right = (
        {c.value for c in r.value if known.listing_name(c.value.decode("latin-1"))} for r in (a, b)
    )
    if left != right:
        return "only redis %s, only polluxd %s" % (sorted(left - right), sorted(right - left))
    return None


def canonical(reply):
    """A reply tree as nested tuples with sets (and arrays of flags) sorted."""
    if not is_list(reply):
        return (reply.kind, reply.value)
    children = [canonical(c) for c in reply.value]
    if reply.kind == b"~" or (children and all(kind == b"+" for kind, _ in children)):
        children.sort()
    return (reply.kind, children)


def command_entry(reply):
    """One element of COMMAND INFO without the subcommands that are not implemented."""
    if not is_list(reply) or len(reply.value) < 10:
        return canonical(reply)
    fields = [canonical(c) for c in reply.value[:9]]
    subs = [
        command_entry(c)
        for c in reply.value[9].value
        if is_list(c) and known.listing_name(c.value[0].value.decode("latin-1"))
    ]
    return (reply.kind, fields + [sorted(subs, key=lambda s: s[1][0][1])])


def command_info(cmd, a, b):
    if len(cmd.args) == 2:
        return command_table(cmd, a, b)
    if not is_list(a) or not is_list(b) or a.header() != b.header():
        return "types differ"
    names = ("name", "arity", "flags", "first key", "last key", "step", "categories", "tips",
             "key specifications", "subcommands")  # fmt: skip
    for left, right in zip(a.value, b.value):
        left, right = command_entry(left), command_entry(right)
        if left == right:
            continue
        if isinstance(left[1], list) and isinstance(right[1], list):
            for index, name in enumerate(names):
                if left[1][index : index + 1] != right[1][index : index + 1]:
                    command = left[1][0][1].decode()
                    mismatch = first_mismatch(left[1][index], right[1][index])
                    return "%s of %s: %s" % (name, command, mismatch)
        return first_mismatch(left, right)
    return None


def command_table(cmd, a, b):
    """COMMAND: the entries of all implemented commands, in any order."""
    if a.kind != b.kind:
        return "types differ"
    left, right = (
        {c.value[0].value: command_entry(c) for c in r.value
         if known.listing_name(c.value[0].value.decode("latin-1"))}
        for r in (a, b)
    )  # fmt: skip
    for name in sorted(set(left) | set(right)):
        if left.get(name) != right.get(name):
            return "%s: %s" % (name.decode(), first_mismatch(left.get(name), right.get(name)))
    return None


def first_mismatch(left, right):
    """The innermost place where two trees of tuples and lists part, as text."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        for one, two in zip(left, right):
            if one != two:
                return first_mismatch(one, two)
    return ("%r against %r" % (left, right))[:400]


def doc_tree(reply, prose=False):
    """COMMAND DOCS as a tree: maps as sorted pairs, prose replaced by its type."""
    if prose or not is_list(reply):
        return (reply.kind,) if prose else (reply.kind, reply.value)
    return (reply.kind, [doc_tree(c) for c in reply.value])


def doc_map(reply):
    out = {}
    for key, value in reply.pairs():
        if key.value == b"subcommands":
            out[b"subcommands"] = {
                k.value: doc_map(v)
                for k, v in value.pairs()
                if known.listing_name(k.value.decode("latin-1"))
            }
        elif key.value == b"arguments":
            out[key.value] = [doc_map(argument) for argument in value.value]
        else:
            out[key.value] = doc_tree(value, key.value in known.DOC_PROSE)
    return out


def command_docs(cmd, a, b):
    if a.kind != b.kind:
        return "types differ"
    left, right = (
        {k.value: doc_map(v) for k, v in r.pairs()
         if known.listing_name(k.value.decode("latin-1"))}
        for r in (a, b)
    )  # fmt: skip
    for name in sorted(set(left) | set(right)):
        if left.get(name) != right.get(name):
            return "%s: %s" % (name.decode(), doc_mismatch(left.get(name), right.get(name)))
    return None


def doc_mismatch(left, right):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(set(left) | set(right)):
            if left.get(key) != right.get(key):
                return "%s: %s" % (key.decode(), doc_mismatch(left.get(key), right.get(key)))
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, two in zip(left, right):
            if one != two:
                return doc_mismatch(one, two)
    return first_mismatch(left, right)


def keys_and_flags(cmd, a, b):
    """Keys in order, the flags of each in any order."""
    return None if canonical(a) == canonical(b) else "replies differ"


def debug_object(cmd, a, b):
    left, right = DEBUG_OBJECT.match(a.value or b""), DEBUG_OBJECT.match(b.value or b"")
    if a.kind != b.kind or not left or not right:
        return "form differs"
    return None if left.groups() == right.groups() else "encoding or serializedlength differ"


def time_of_day(cmd, a, b):
    if a.header() != b.header() or any(not c.value.isdigit() for c in b.value):
        return "form differs"
    return None if abs(a.value[0].number() - b.value[0].number()) <= 2 else "clocks differ"


def slowlog_get(cmd, a, b):
    """What was slow is a matter of the machine; each entry has the form of Redis: [id, time,
    duration, arguments, address, name]. The check special/slowlog compares the contents."""
    if a.kind != b.kind or (a.value is None) != (b.value is None):
        return "types differ"
    for entry in b.value:
        if "".join(child.kind.decode() for child in entry.value) != ":::*$$":
            return "form of an entry: %r" % entry
    return None


COMPARATORS = {
    ("KEYS", ""): unordered,
    ("SCAN", ""): scan_once,
    ("TTL", ""): near(TTL_TOLERANCE_MS // 1000),
    ("PTTL", ""): near(TTL_TOLERANCE_MS),
    ("EXPIRETIME", ""): near(TTL_TOLERANCE_MS // 1000, {t // 1000 for t in EXACT_TIMES_MS}),
    ("PEXPIRETIME", ""): near(TTL_TOLERANCE_MS, EXACT_TIMES_MS),
    ("RANDOMKEY", ""): shape,
    ("TIME", ""): time_of_day,
    ("HELLO", ""): hello,
    ("INFO", ""): text,
    ("CLIENT", "ID"): integers,
    ("CLIENT", "INFO"): client_info,
    ("CLIENT", "LIST"): client_list,
    ("CLIENT", "KILL"): client_kill,
    ("CONFIG", "GET"): config_get,
    ("COMMAND", ""): command_table,
    ("COMMAND", "INFO"): command_info,
    ("COMMAND", "COUNT"): integers,
    ("COMMAND", "LIST"): command_list,
    ("COMMAND", "DOCS"): command_docs,
    ("COMMAND", "GETKEYSANDFLAGS"): keys_and_flags,
    ("OBJECT", "IDLETIME"): integers,  # small integers share a clock in Redis
    ("OBJECT", "FREQ"): integers,
    ("OBJECT", "REFCOUNT"): integers,
    ("MEMORY", "USAGE"): integers,
    ("MEMORY", "STATS"): shape,
    ("LATENCY", "LATEST"): shape,
    ("LATENCY", "HISTOGRAM"): shape,
    ("LATENCY", "HISTORY"): shape,
    ("LATENCY", "RESET"): integers,
    ("SLOWLOG", "GET"): slowlog_get,
    ("SLOWLOG", "LEN"): integers,
    ("DEBUG", "OBJECT"): debug_object,
    ("DEBUG", "HTSTATS"): text,
}

for _row in known.FREE_TEXTS:
    COMPARATORS[_row] = help_frame if _row[1] == "HELP" else text
