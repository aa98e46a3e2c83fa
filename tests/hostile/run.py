#!/usr/bin/python3
"""Hostile input against a running server: it stays up, answers others, keeps its memory bounded.

    run.py --server build/polluxd [--quick] [--only TEXT] [--workers 1,4] [--drivers uring]
    run.py --server /usr/bin/redis-server --as-redis     proves the tests that both share

While each test attacks, a prober process sends PING on connections of its own (watch.py); a table
at the end tells the longest answers. The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
sys.path.insert(0, HERE)

from harness.runner import main  # noqa: E402  (the path must be set first)

if __name__ == "__main__":
    sys.exit(main(HERE, __doc__.splitlines()[0]))
