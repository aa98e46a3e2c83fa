#!/usr/bin/python3
"""Whole-server tests: starts the given server and checks it from outside, as its clients see it.

    run.py --server build/polluxd [--quick] [--only TEXT] [--workers 1,4] [--drivers uring]
    run.py --server /usr/bin/redis-server --as-redis     proves the tests that both share

The last line reads "N passed, N failed"; the exit status is 0 only if nothing failed.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.runner import main  # noqa: E402  (the path must be set first)

if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.abspath(__file__)), __doc__.splitlines()[0]))
