"""Hash slots as Redis counts them, and key names that land where a test wants them."""
import binascii

SLOTS = 16384


def slot_of(key):
    """CRC16 (XMODEM) of the key or of its {tag}, modulo 16384."""
    if isinstance(key, str):
        key = key.encode()
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % SLOTS


def range_of(worker, workers):
    """The contiguous slots that a worker owns at start: (first, last)."""
    return worker * SLOTS // workers, (worker + 1) * SLOTS // workers - 1


class KeyNames:
    """Names by slot: `in_range(first, last)` yields fresh names whose slot lies there."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.count = 0

    def in_range(self, first, last):
        while True:
            name = f"{self.prefix}{self.count}"
            self.count += 1
            if first <= slot_of(name) <= last:
                return name

    def spread(self, count, parts=4):
        """`count` names, dealt evenly over `parts` equal ranges of slots."""
        return [self.in_range(*range_of(i % parts, parts)) for i in range(count)]


def tag_table():
    """A short hash tag for every slot: list index = slot."""
    tags = [None] * SLOTS
    left, number = SLOTS, 0
    while left:
        tag = f"{number:x}"
        slot = slot_of(tag)
        if tags[slot] is None:
            tags[slot] = tag
            left -= 1
        number += 1
    return tags
