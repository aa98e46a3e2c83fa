"""Makes sequences of commands: connections, protocols, transactions, pipelines, mistakes."""

import random

from gen import args as kinds
from gen import protocol, table
from gen.args import Args
from gen.safety import make_safe
from known import TYPE_MAKERS
from steps import Batch, ClientId, Cmd, Reopen, Scan, Sequence

CONNECTIONS = 3
MUTATED_SHARE = 0.1
INLINE_SHARE = 0.04
PIPELINE_SHARE = 0.12
PIPELINE_MAX = 24
LONG_PIPELINE_MAX = 300

GROUPS = table.GROUPS + ["pipelines", "mixed", "protocol"]


class Builder:
    """Makes sequences for one pair of servers. `missing` names commands that the second server
    does not have (reported once by the runner); `types` the value types that both have."""

    def __init__(self, seed, missing=(), types=()):
        self.seed = seed
        self.types = types
        usable = [g for g in table.GENERATORS if g.command.lower() not in missing]
        self.by_group = {group: [g for g in usable if g.group == group] for group in table.GROUPS}
        self.by_group["mixed"] = usable
        self.by_group["pipelines"] = [
            g for g in usable if g.group in ("strings", "bitmaps", "keys", "transactions")
        ]
        self.missing = missing

    def sequence(self, group, number, length):
        """The same seed, group, number and length always make the same sequence."""
        origin = "seed %s, group %s, sequence %d" % (self.seed, group, number)
        rng = random.Random("%s/%s/%d" % (self.seed, group, number))
        if group == "protocol":
            return Sequence(protocol.steps(rng), origin)
        return Sequence(Work(self, rng, group).steps(length), origin)


class Work:
    """The making of one sequence."""

    def __init__(self, builder, rng, group):
        self.rng = rng
        self.group = group
        self.generators = builder.by_group[group]
        self.weights = [g.weight for g in self.generators]
        self.missing = builder.missing
        self.args = table.kinds_resolved(Args(rng, builder.types))
        self.types = builder.types
        self.out = []
        self.made = 0

    def steps(self, length):
        if not self.generators:
            return []
        self.setup()
        while self.made < length:
            self.next_step()
        return self.out

    def add(self, step):
        self.out.append(step)
        self.made += len(step.cmds) if isinstance(step, Batch) else 1

    def has(self, *names):
        return not any(name in self.missing for name in names)

    def setup(self):
        """Some keys to begin with."""
        cmds = []
        for key in self.rng.sample(self.args.key_set, 8):
            cmds.append(Cmd([b"SET", key, self.args.kind_value()]))
        for key in kinds.NUMBER_KEYS[:3]:
            cmds.append(Cmd([b"SET", key, self.args.kind_number()]))
        for key in kinds.BIT_KEYS[:3]:
            cmds.append(Cmd([b"SET", key, self.args.bytes(self.rng.randint(0, 30))]))
        for key in kinds.LCS_KEYS[:3]:
            cmds.append(Cmd([b"SET", key, self.args.kind_short()]))
        for name in self.types:
            maker = TYPE_MAKERS[name]
            cmds.append(Cmd([maker[0], b"t:" + name.encode()] + list(maker[1:])))
        self.add(Batch(1, cmds))

    def conn(self):
        return self.rng.choices([1, 2, 3], [6, 3, 2])[0]

    def next_step(self):
        roll = self.rng.random()
        chance_of_scenario = 0.25 if self.group == "transactions" else 0.03
        if roll < chance_of_scenario and self.has("multi", "exec", "watch"):
            self.transaction()
        elif roll < chance_of_scenario + 0.02 and self.has("hello"):
            self.add(Batch(self.conn(), [Cmd([b"HELLO", self.args.pick([b"2", b"3"])])]))
        elif roll < chance_of_scenario + 0.03 and self.has("scan"):
            self.scan()
        elif roll < chance_of_scenario + 0.035:
            self.add(Reopen(self.conn()))
        elif self.group in ("connection", "mixed") and roll > 0.97 and self.has("client"):
            self.reply_off()
        elif self.group in ("connection", "mixed") and roll > 0.96 and self.has("client"):
            self.kill()
        elif self.group == "pipelines" or self.args.chance(PIPELINE_SHARE):
            self.pipeline()
        else:
            self.add(Batch(self.conn(), [self.command()]))

    def command(self):
        generator = self.rng.choices(self.generators, self.weights)[0]
        words = generator.arguments(self.args)
        if self.args.chance(MUTATED_SHARE):
            words = self.mutate(words, generator)
        words = make_safe(words)
        if self.args.chance(INLINE_SHARE) and words[0]:
            line = protocol.inline(self.rng, words)
            if line is not None:
                return Cmd(words, inline=line)
        return Cmd(words)

    def mutate(self, words, generator):
        """One mistake, as a client might make it."""
        words = list(words)
        kind = self.rng.randrange(9)
        place = self.rng.randrange(1, len(words)) if len(words) > 1 else 0
        if kind == 0 and place:
            del words[-1]
        elif kind == 1 and place:
            del words[place]
        elif kind == 2:
            words.append(self.args.kind_junk())
        elif kind == 3 and place:
            words[place] = self.args.kind_junk()
        elif kind == 4 and place:
            words.insert(place, words[place])
        elif kind == 5 and len(words) > 2:
            other = self.rng.randrange(1, len(words))
            words[place], words[other] = words[other], words[place]
        elif kind == 6:
            misspelt = self.args.chance(0.2)
            words[0] = self.args.pick(table.MISSPELT) if misspelt else words[0].swapcase()
        elif kind == 7 and generator.literals:
            near_end = max(1, len(words) - self.rng.randrange(3))
            words.insert(near_end, self.args.pick(generator.literals))
        elif place:
            words[place] = b""
        return words

    def pipeline(self):
        many = self.args.chance(0.06)
        size = self.rng.randint(2, LONG_PIPELINE_MAX if many else PIPELINE_MAX)
        self.add(Batch(self.conn(), [self.command() for _ in range(size)]))

    def scan(self):
        words = []
        if self.args.chance(0.5):
            words += [b"MATCH", self.args.kind_pattern()]
        if self.args.chance(0.5):
            words += [b"COUNT", self.args.pick([b"1", b"2", b"7", b"100", b"5000"])]
        if self.args.chance(0.2):
            words += [b"TYPE", self.args.pick([b"string", b"STRING", b"list", b"nonsense"])]
        self.add(Scan(self.conn(), words))

    def reply_off(self):
        conn = self.conn()
        middle = [self.command() for _ in range(self.rng.randint(1, 4))]
        kept_out = (b"QUIT", b"RESET", b"MULTI", b"EXEC", b"CLIENT")
        middle = [c for c in middle if c.name not in kept_out]
        if self.args.chance(0.5) or not middle:
            head, middle, tail = [b"CLIENT", b"REPLY", b"SKIP"], middle[:1], [b"PING"]
        else:
            head, tail = [b"CLIENT", b"REPLY", b"OFF"], [b"CLIENT", b"REPLY", b"ON"]
        # Without this a MULTI left open would queue the head, and replies would go on.
        self.add(Batch(conn, [Cmd([b"DISCARD"])]))
        self.add(Batch(conn, [Cmd(head)] + middle + [Cmd(tail)], sealed=True))

    def kill(self):
        victim, killer = self.rng.sample([1, 2, 3], 2)
        words = [b"CLIENT", b"KILL", b"ID", ClientId(victim)]
        if self.args.chance(0.3):
            words += [b"SKIPME", self.args.pick([b"yes", b"no"])]
            killer = self.args.pick([victim, killer])
        self.add(Batch(killer, [Cmd(words)]))

    def transaction(self):
        """WATCH, perhaps a conflict from another connection, MULTI, commands, EXEC."""
        first, second = self.rng.sample([1, 2, 3], 2)
        watched = [self.args.kind_key() for _ in range(self.rng.randint(1, 3))]
        if self.args.chance(0.7):
            self.add(Batch(first, [Cmd([b"WATCH"] + watched)]))
        if self.args.chance(0.5):
            self.add(Batch(second, [self.disturbance(self.args.pick(watched))]))
        inner = [self.command() for _ in range(self.rng.randint(0, 6))]
        inner = [c for c in inner if c.name not in (b"QUIT", b"CLIENT", b"MONITOR")]
        end = Cmd([self.rng.choices([b"EXEC", b"DISCARD"], [6, 1])[0]])
        if self.args.chance(0.4):
            self.add(Batch(first, [Cmd([b"MULTI"])] + inner + [end]))
            return
        self.add(Batch(first, [Cmd([b"MULTI"])]))
        for cmd in inner:
            self.add(Batch(first, [cmd]))
            if self.args.chance(0.2):
                self.add(Batch(second, [self.disturbance(self.args.pick(watched))]))
        self.add(Batch(first, [end]))

    def disturbance(self, key):
        args = self.args
        return Cmd(
            args.pick(
                [
                    [b"SET", key, args.kind_value()],
                    [b"APPEND", key, b"x"],
                    [b"DEL", key],
                    [b"EXPIRE", key, args.kind_ttl()],
                    [b"PERSIST", key],
                    [b"GET", key],
                    [b"TOUCH", key],
                    [b"GETEX", key, b"PERSIST"],
                    [b"RENAME", key, args.kind_key()],
                    [b"COPY", args.kind_key(), key, b"REPLACE"],
                    [b"MOVE", key, b"1"],
                    [b"SWAPDB", b"0", b"1"],
                    [b"FLUSHDB"],
                    [b"SETRANGE", key, b"0", b""],
                    [b"SETNX", key, b"v"],
                    [b"SELECT", b"1"],
                    [b"SELECT", b"0"],
                ]
            )
        )
