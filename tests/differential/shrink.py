"""Makes a failing sequence small (delta debugging).

Every candidate runs from a clean state: fresh connections, empty databases, and a fresh process
where the failure kills or wedges the server. A candidate counts only if it shows the same sort of
failure (Difference.sort), so that the search does not slip to another one.
"""

import time

from servers import ServerDied
from steps import Batch, ClientId, Cmd, Scan, Sequence

ROUNDS_MAX = 4


class Shrinker:
    def __init__(self, pair, sort, seconds):
        self.pair = pair
        self.sort = sort
        self.deadline = time.monotonic() + seconds
        self.tries = 0

    def fails(self, steps):
        """True if the steps still show the failure. False as well once time is up, which ends
        every loop below."""
        if time.monotonic() > self.deadline:
            return False
        self.tries += 1
        try:
            found = self.pair.run(Sequence(steps, "candidate"))
        except (ServerDied, OSError):
            self.pair.recover()
            return False
        if found and found[0].fatal:
            self.pair.restart_subject()
        return bool(found) and found[0].sort() == self.sort

    def shrink(self, steps):
        for _ in range(ROUNDS_MAX):
            before = [line for step in steps for line in step.lines()]
            steps = self.fewer(steps, self.fails)
            steps = self.inside_batches(steps)
            steps = self.one_connection(steps)
            steps = self.smaller_arguments(steps)
            if [line for step in steps for line in step.lines()] == before:
                break
        return steps

    def fewer(self, items, fails):
        """Removes chunks of items, halving the chunk whenever no removal works."""
        chunk = max(1, len(items) // 2)
        while items:
            removed = False
            start = 0
            while start < len(items):
                candidate = items[:start] + items[start + chunk :]
                if candidate and fails(candidate):
                    items, removed = candidate, True
                else:
                    start += chunk
            if chunk == 1 and not removed:
                return items
            if not removed:
                chunk = max(1, chunk // 2)
            if time.monotonic() > self.deadline:
                return items
        return items

    def inside_batches(self, steps):
        for index, step in enumerate(steps):
            if not isinstance(step, Batch) or len(step.cmds) < 2:
                continue

            def with_cmds(cmds, index=index, step=step):
                return steps[:index] + [Batch(step.conn, cmds, step.sealed)] + steps[index + 1 :]

            if step.sealed:
                head, tail = step.cmds[:1], step.cmds[-1:]

                def inner_fails(cmds, head=head, tail=tail, with_cmds=with_cmds):
                    return self.fails(with_cmds(head + cmds + tail))

                middle = self.fewer(step.cmds[1:-1], inner_fails)
                steps = with_cmds(head + middle + tail)
                continue
            cmds = self.fewer(step.cmds, lambda c: self.fails(with_cmds(c)))
            steps = with_cmds(cmds)
            if len(cmds) > 1:
                single = [Batch(step.conn, [cmd]) for cmd in cmds]
                candidate = steps[:index] + single + steps[index + 1 :]
                if self.fails(candidate):
                    return self.inside_batches(candidate)
        return steps

    def one_connection(self, steps):
        conns = sorted({step.conn for step in steps if hasattr(step, "conn")})
        if conns in ([], [1]):
            return steps
        candidate = [moved(step, 1) for step in steps]
        return candidate if self.fails(candidate) else steps

    def smaller_arguments(self, steps):
        """Tries shorter arguments, and none where it goes without."""
        for index, step in enumerate(steps):
            if not isinstance(step, Batch):
                continue
            for at, cmd in enumerate(step.cmds):
                if cmd.inline is not None:
                    continue
                for place in range(len(cmd.args) - 1, 0, -1):
                    for smaller in self.replacements(cmd.args[place]):
                        args = cmd.args[:place] + smaller + cmd.args[place + 1 :]
                        cmds = step.cmds[:at] + [Cmd(args)] + step.cmds[at + 1 :]
                        new = Batch(step.conn, cmds, step.sealed)
                        candidate = steps[:index] + [new] + steps[index + 1 :]
                        if self.fails(candidate):
                            steps, step, cmd = candidate, new, cmds[at]
                            break
        return steps

    @staticmethod
    def replacements(arg):
        out = [[]]
        if isinstance(arg, ClientId):
            return out
        if len(arg) > 4:
            out += [[b"x"], [b"xyz"], [arg[: len(arg) // 2]], [arg[: len(arg) * 3 // 4]]]
        return out


def moved(step, conn):
    if isinstance(step, Batch):
        return Batch(conn, step.cmds, step.sealed)
    if isinstance(step, Scan):
        return Scan(conn, step.args)
    return step
