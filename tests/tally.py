#!/usr/bin/python3
"""Counts single tests for tools/test.sh and prints "PASSED FAILED".

tally.py meson LOG.json    a testlog.json of Meson: Criterion programs count case by case, and so
                           do those that close with "N passed, N failed"
tally.py lines LOG         a program that closes with "N passed, N failed"
"""
import json
import re
import sys

SYNTHESIS = re.compile(r"Passing: .*?(\d+).*?Failing: .*?(\d+).*?Crashing: .*?(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LAST_LINE = re.compile(r"^(\d+) passed, (\d+) failed$")


def count_meson(path):
    passed = failed = 0
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            entry = json.loads(line)
            # A test that is skipped has not shown anything: it counts as failed.
            good = entry["result"] in ("OK", "EXPECTEDFAIL")
            output = COLOUR.sub("", entry.get("stderr", "") + entry.get("stdout", ""))
            cases = SYNTHESIS.search(output)
            closing = LAST_LINE.match((entry.get("stdout", "").strip().splitlines() or [""])[-1])
            if cases is not None:
                passing, failing, crashing = map(int, cases.groups())
            elif closing is not None:
                passing, failing, crashing = int(closing[1]), int(closing[2]), 0
            else:
                passed, failed = passed + good, failed + (not good)
                continue
            passed += passing
            # A program may fail after its last case: a leak, a sanitizer's report at exit.
            failed += max(failing + crashing, 0 if good else 1)
    return passed, failed


def count_lines(path):
    last = ""
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            last = line.strip() or last
    match = LAST_LINE.match(last)
    if match is None:
        return 0, 1
    return int(match.group(1)), int(match.group(2))


def main():
    mode, path = sys.argv[1:]
    try:
        passed, failed = {"meson": count_meson, "lines": count_lines}[mode](path)
    except (OSError, ValueError) as error:
        print(f"tally.py: {path}: {error}", file=sys.stderr)
        passed, failed = 0, 1
    print(passed, failed)


if __name__ == "__main__":
    main()
