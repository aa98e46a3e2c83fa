#!/usr/bin/python3
"""Pollux on Debian's own kernel and on emulated network cards, in a virtual machine.

    run.py [--build build] [--only TEXT] [--folder build-vm]

Needs root (to install the emulator), a release build with its tests, and no acceleration: the machine
is emulated, so nothing here is fast. Not part of tools/test.sh. The last line reads
"N passed, N failed"; the exit status is 0 only if nothing failed.
"""
import argparse
import os
import re
import shlex
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import machine  # noqa: E402

SECONDS = 3000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--folder", default=os.path.join(ROOT, "build-vm"))
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    os.makedirs(folder, exist_ok=True)
    release = machine.install(folder)
    passed = failed = 0
    for suite, remapping in (("all", True), ("no-remapping", False)):
        words = ["/usr/bin/python3", os.path.join(HERE, "guest.py"), suite, "--build",
                 os.path.abspath(options.build), "--only", options.only]
        ended = False
        for line in machine.boot(folder, release, shlex.join(words), remapping, SECONDS):
            line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1bc", "", line)
            passed += line.startswith("ok   ")
            failed += line.startswith("FAIL ")
            ended = ended or line == "guest: the end"
            if line.startswith(("ok   ", "FAIL ", "     ", "guest:")):
                print(line, flush=True)
        if not ended:
            print(f"FAIL {suite}: the machine did not come to its end")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
