"""Kinds of arguments. A grammar row of table.py names a kind in lower case; here is what it makes.

Keys come from a small population, so that commands meet what others wrote. Numbers keep to what a
server can hold: an offset is either small or beyond every limit (see safety.py).
"""

KEYS = (
    [b"k%d" % i for i in range(16)]
    + [b"{tag}%d" % i for i in range(5)]
    + [b"{u}a", b"{u}b", b"x{u}y", b"{}x", b"{a}{b}", b"foo{bar", b"a{b}c", b"}{", b"user:1000"]
    + [b"", b"\x00\xff\r\n bin", b"with space", b"K" * 300, b"123", b"*", b"[a-c]?"]
)
NUMBER_KEYS = [b"n%d" % i for i in range(6)] + [b"{tag}n"]
BIT_KEYS = [b"b%d" % i for i in range(5)] + [b"{tag}b"]
LCS_KEYS = [b"l%d" % i for i in range(5)]
TYPED_KEYS = [b"t:list", b"t:hash", b"t:set", b"t:zset", b"t:stream"]

WORDS = [b"hello", b"foo", b"bar", b"OK", b"QUEUED", b"nil", b"ohmytext", b"mynewtext", b"a", b"b"]
NUMBERS = [
    b"0", b"1", b"-1", b"2", b"10", b"42", b"-17", b"9999", b"10000", b"2147483647", b"-2147483648",
    b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806",
]  # fmt: skip
NO_NUMBERS = [
    b"", b" ", b" 1", b"1 ", b"+1", b"-", b"--1", b"-0", b"00", b"01", b"0x10", b"1.0", b"1e3",
    b"abc",
    b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999", b"1\x00", b"nan",
    b"inf", b"-inf", b"1_000", b"\xff",
]  # fmt: skip
FLOATS = [
    b"0", b"1", b"-1", b"0.1", b"-0.5", b"3.0", b"1e2", b"1.5e-3", b"5.0e3", b"1e17", b"1e20",
    b"-1e-10",
    b"0.000001", b"123456789.123456789", b"1e300", b".5", b"5.", b"+5", b"0x1p3", b"1e-20",
    b"1234567890123456789",
]  # fmt: skip
NO_FLOATS = [b"nan", b"inf", b"-inf", b"infinity", b"", b" 1", b"1 ", b"abc", b"1,5", b"1e400",
    b"1e", b"-"]
PATTERNS = [
    b"*", b"k*", b"k?", b"k[0-5]", b"k[^0-5]", b"{tag}*", b"*{u}*", b"n[1-3]", b"\\*", b"[a-c]*",
    b"",
    b"h*llo", b"?*", b"**", b"[", b"k[", b"[^", b"\\", b"k[5-0]", b"*\xff*", b"*:*", b"user:1000",
]  # fmt: skip
BIT_TYPES = [b"u8", b"i8", b"u1", b"i1", b"u16", b"i16", b"u32", b"i32", b"u63", b"i64", b"u4",
    b"i5", b"u7", b"i33"]
BAD_BIT_TYPES = [b"u64", b"i65", b"u0", b"i0", b"x8", b"u", b"", b"8", b"U8", b"i-1",
    b"u99999999999"]
FAR_TIMES_S = [b"4102444800", b"32503680000"]
FAR_TIMES_MS = [b"4102444800000", b"4102444800123", b"9999999999000", b"9999999999999"]
PAST_TIMES = [b"1", b"1000", b"1500000000", b"1600000000"]
BAD_TIMES = [b"0", b"-1", b"-9223372036854775808", b"9223372036854775807",
    b"99999999999999999999", b"abc", b"", b"1.5"]


class Args:
    """Makes arguments for one sequence. `types` holds the names of the other value types that
    both servers know."""

    def __init__(self, rng, types=()):
        self.rng = rng
        self.types = types
        # No two relative TTLs of a sequence come near each other: the answer of GT and LT must
        # not hang on the milliseconds between two commands.
        self.ttls = list(range(2, 4000))
        rng.shuffle(self.ttls)
        self.key_set = rng.sample(KEYS, 14) + rng.sample(NUMBER_KEYS, 3) + rng.sample(BIT_KEYS, 3)

    def make(self, kind):
        return getattr(self, "kind_" + kind)()

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, items):
        return self.rng.choice(items)

    def mostly(self, good, bad, share_bad=0.07):
        return self.pick(bad) if self.chance(share_bad) else self.pick(good)

    # keys

    def kind_key(self):
        if self.types and self.chance(0.05):
            return b"t:" + self.pick(sorted(self.types)).encode()
        return self.pick(self.key_set) if self.chance(0.9) else self.pick(KEYS)

    def kind_nkey(self):
        return self.pick(NUMBER_KEYS) if self.chance(0.85) else self.kind_key()

    def kind_bkey(self):
        return self.pick(BIT_KEYS) if self.chance(0.85) else self.kind_key()

    def kind_lkey(self):
        return self.pick(LCS_KEYS)

    def kind_missing(self):
        return self.pick([b"absent", b"{tag}absent", b"nothing here"])

    # values

    def kind_value(self):
        roll = self.rng.random()
        if roll < 0.3:
            return self.pick(WORDS)
        if roll < 0.5:
            return self.kind_number()
        if roll < 0.55:
            return self.pick(FLOATS)
        if roll < 0.65:
            return b"v" * self.rng.choice([0, 1, 15, 16, 20, 21, 31, 32, 43, 44, 45, 46, 63,
                64, 65])
        if roll < 0.75:
            return self.bytes(self.rng.randint(0, 24))
        if roll < 0.93:
            return self.pick(WORDS) + b"%d" % self.rng.randint(0, 999)
        if roll < 0.985:
            return self.bytes(self.rng.randint(50, 1500))
        return bytes([self.rng.randint(97, 122)]) * self.pick([4096, 16384, 32767, 32768,
            65536, 70000])

    def kind_short(self):
        return bytes(self.pick(b"abcd") for _ in range(self.rng.randint(0, 40)))

    def bytes(self, size):
        return self.rng.getrandbits(8 * size).to_bytes(size, "big") if size else b""

    # numbers

    def kind_number(self):
        if self.chance(0.4):
            return self.pick(NUMBERS)
        return b"%d" % self.rng.randint(-1000, 20000)

    def kind_int(self):
        return self.pick(NO_NUMBERS) if self.chance(0.08) else self.kind_number()

    def kind_float(self):
        if self.chance(0.4):
            return b"%.*f" % (self.rng.randint(0, 9), self.rng.uniform(-1000, 1000))
        return self.mostly(FLOATS, NO_FLOATS, 0.12)

    def kind_index(self):
        if self.chance(0.8):
            return b"%d" % self.rng.randint(-30, 60)
        return self.kind_int()

    def kind_offset(self):
        """Byte offset of SETRANGE."""
        roll = self.rng.random()
        if roll < 0.75:
            return b"%d" % self.rng.randint(0, 100)
        if roll < 0.85:
            return b"%d" % self.rng.randint(0, 5000)
        if roll < 0.87:
            return b"%d" % self.rng.randint(60000, 200000)
        return self.pick([b"536870911", b"536870912", b"4294967296", b"9223372036854775807",
            b"-1"] + NO_NUMBERS)

    def kind_smalloffset(self):
        return b"%d" % self.rng.randint(0, 60)

    def kind_bitoffset(self):
        roll = self.rng.random()
        if roll < 0.75:
            return b"%d" % self.rng.randint(0, 200)
        if roll < 0.88:
            return b"%d" % self.rng.randint(0, 50000)
        return self.pick([b"4294967296", b"9223372036854775807", b"-1",
            b"4294967295000"] + NO_NUMBERS)

    def kind_bit(self):
        return self.mostly([b"0", b"1"], [b"2", b"-1", b"", b"a", b"01",
            b"9223372036854775808"], 0.08)

    def kind_bftype(self):
        return self.mostly(BIT_TYPES, BAD_BIT_TYPES, 0.08)

    def kind_bfoffset(self):
        if self.chance(0.9):
            return (b"#" if self.chance(0.3) else b"") + b"%d" % self.rng.randint(0, 120)
        return self.pick([b"#", b"#-1", b"-1", b"abc", b"", b"4294967296",
            b"#9223372036854775807", b"+1", b"##1"])

    # times

    def kind_ttl(self):
        if self.chance(0.12):
            return self.pick(BAD_TIMES)
        return b"%d" % (self.ttls.pop() * 1000) if self.ttls else b"100000"

    def kind_pttl(self):
        if self.chance(0.12):
            return self.pick(BAD_TIMES)
        return b"%d" % (self.ttls.pop() * 1000000) if self.ttls else b"100000000"

    def kind_at(self):
        roll = self.rng.random()
        return self.pick(FAR_TIMES_S if roll < 0.75 else PAST_TIMES if roll < 0.88 else BAD_TIMES)

    def kind_pat(self):
        roll = self.rng.random()
        return self.pick(FAR_TIMES_MS if roll < 0.75 else PAST_TIMES if roll < 0.88 else BAD_TIMES)

    # names and words

    def kind_db(self):
        return self.mostly([b"0", b"0", b"1", b"2", b"3", b"15"], [b"16", b"-1", b"abc", b"",
            b"9999999999", b"1.0"], 0.12)

    def kind_pattern(self):
        return self.pick(PATTERNS)

    def kind_count(self):
        return self.mostly([b"1", b"2", b"5", b"10", b"100", b"1000"], [b"0", b"-1", b"abc",
            b"", b"99999999999999999999"], 0.1)

    def kind_junk(self):
        roll = self.rng.random()
        if roll < 0.35:
            return self.pick(NO_NUMBERS)
        if roll < 0.6:
            return self.pick(NUMBERS)
        if roll < 0.8:
            return self.pick(WORDS)
        return self.bytes(self.rng.randint(1, 12))

    def kind_text(self):
        return self.pick(WORDS + [b"", b"with space", b"new\r\nline", b"x" * 200, b"\x00",
            b"'q\"", b"\xc3\xa9"])

    def kind_name(self):
        return self.pick([b"conn", b"a-b_c", b"x" * 60, b"", b"with space", b"new\nline",
            b"\xff", b"tab\t", b"!"])
