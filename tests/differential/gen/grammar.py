"""A small grammar for the arguments of a command.

    key value              kinds of args.Args, in lower case
    NX                     literal words, in upper case (made lower now and then)
    (EX ttl|PX pttl)?      alternatives; ? at most once, * up to three times, + one to four times
    <(NX|XX)? GET?>        parts in random order
"""

import re

TOKEN = re.compile(r"[()<>|]|[?*+]|[^\s()<>|?*+]+")
OPTION_SHARE = 0.45


class Grammar:
    def __init__(self, text):
        self.tokens = TOKEN.findall(text)
        self.pos = 0
        self.literals = [t.encode() for t in self.tokens if t[0].isupper()]
        self.tree = self.alternatives()
        if self.pos != len(self.tokens):
            raise ValueError("grammar: %s" % text)

    def peek(self):
        return self.tokens[self.pos] if self.pos < len(self.tokens) else None

    def take(self):
        self.pos += 1
        return self.tokens[self.pos - 1]

    def alternatives(self):
        options = [self.parts()]
        while self.peek() == "|":
            self.take()
            options.append(self.parts())
        return options[0] if len(options) == 1 else ("any", options)

    def parts(self):
        out = []
        while self.peek() not in (None, "|", ")", ">"):
            out.append(self.atom())
        return ("all", out)

    def atom(self):
        token = self.take()
        if token == "(":
            node = self.alternatives()
            self.close(")")
        elif token == "<":
            node = ("shuffled", self.parts()[1])
            self.close(">")
        elif token[0].islower():
            node = ("kind", token)
        else:
            node = ("word", token.encode())
        if self.peek() in ("?", "*", "+"):
            node = (self.take(), node)
        return node

    def close(self, mark):
        if self.take() != mark:
            raise ValueError("grammar: %s expected" % mark)

    def make(self, args):
        out = []
        expand(self.tree, args, out)
        return out


def expand(node, args, out):
    """Appends a random expansion of the node to out."""
    op, body = node
    if op == "kind":
        out.append(args.make(body))
    elif op == "word":
        out.append(body if args.chance(0.9) else body.lower())
    elif op == "all":
        for part in body:
            expand(part, args, out)
    elif op == "any":
        expand(args.pick(body), args, out)
    elif op == "shuffled":
        for part in args.rng.sample(body, len(body)):
            expand(part, args, out)
    else:
        times = {
            "?": int(args.chance(OPTION_SHARE)),
            "*": args.rng.choice([0, 0, 1, 2, 3]),
            "+": args.rng.choice([1, 1, 2, 3, 4]),
        }[op]
        for _ in range(times):
            expand(body, args, out)
