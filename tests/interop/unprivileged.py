#!/usr/bin/python3
"""polluxd as a user without any privilege: devices that need none serve, others say what is missing.

    unprivileged.py --server build/polluxd --load build/tools/pollux-bench/pollux-bench [--only TEXT]

As root it starts everything as nobody. The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed. ASan's build needs `setarch -R` in front.
"""
import os
import shutil
import struct
import subprocess
import sys

sys.dont_write_bytecode = True

from client import equal  # noqa: E402
from memif_kills import ADDRESS, SECONDS, Polluxd, nothing_is_left, peer_works  # noqa: E402
from runner import Setup, main  # noqa: E402
from topology import die_with_parent  # noqa: E402

NOBODY = 65534
# EAL's for users other than root, and for root.
EAL_FOLDERS = ("/tmp/dpdk", "/run/dpdk")


def before(place):
    """A folder of the user's, with the programs in it: where they were built he may not be able to
    go."""
    place.user = {"env": {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}}
    place.own = os.path.join(place.folder, "own")
    os.mkdir(place.own)
    place.server = shutil.copy(place.arguments.server, place.own)
    place.arguments.load = shutil.copy(place.arguments.load, place.own)
    with open(os.path.join(place.own, "in.pcap"), "wb") as file:  # of no packet
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    if os.geteuid() == 0:
        place.user.update(user=NOBODY, group=NOBODY, extra_groups=[])
        os.chmod(place.folder, 0o711)
        os.chown(place.own, NOBODY, NOBODY)


def has_no_privilege(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    equal("0" in status["Uid"].split(), False, f"root among its users: {status['Uid']}")
    for name in ("CapPrm", "CapEff", "CapAmb"):
        equal(int(status[name], 16), 0, name)


def eal_folders():
    return {folder for top in EAL_FOLDERS for folder in (top, os.path.join(top, "rte"))
            if os.path.exists(folder)}


# ---- cases ----


def redis_over_memif(place):
    """Both ends: `pollux-bench` is one of the user's, too."""
    before_all = eal_folders()
    server = Polluxd(place.server, place.own, **place.user)
    try:
        has_no_privilege(server.process)
        peer_works(place.arguments, server, popen=place.user)
        equal(server.info("total_commands_processed") > 1000, True, "commands")
        nothing_is_left(place.arguments, server, 0)
        equal(server.end(), 0, "exit status")
    finally:
        server.stop()
    equal(eal_folders() - before_all, set(), "folders of EAL's that are left")
    equal(os.path.exists(server.memif), False, "the socket file is left")


def command(place, spec):
    return [place.server, "--net-driver", "dpdk", "--dpdk-port", spec, "--dpdk-address",
            ADDRESS + "/24", "--workers", "1", "--save", "", "--dir", place.own, "--unixsocket",
            os.path.join(place.own, "unix.sock")]


def starts_and_ends(spec):
    def case(place):
        with subprocess.Popen(command(place, spec), stdout=subprocess.PIPE, text=True,
                              preexec_fn=die_with_parent, **place.user) as process:
            try:
                lines = []
                while lines[-1:] != [""] and "Ready to accept" not in "".join(lines[-1:]):
                    lines.append(process.stdout.readline())
                equal(lines[-1] != "", True, f"it starts; it says:\n{''.join(lines)}")
                has_no_privilege(process)
            finally:
                process.terminate()
            process.communicate(timeout=SECONDS)
        equal(process.returncode, 0, "exit status")
    return f"{spec.partition(',')[0]} serves", case


def says_what_is_missing(spec, wanted):
    def case(place):
        done = subprocess.run(command(place, spec), capture_output=True, text=True, timeout=SECONDS,
                              check=False, preexec_fn=die_with_parent, **place.user)
        equal(done.returncode, 1, "exit status")
        lines = [line for line in done.stdout.splitlines() if "Cannot start" in line]
        equal(len(lines), 1, f"lines that say why, of\n{done.stdout}{done.stderr}")
        equal(done.stderr, "", "what comes besides the log")
        equal(wanted in lines[0], True, f"'{wanted}' in: {lines[0]}")
    return f"{spec} says what is missing", case


def cases(place):
    yield redis_over_memif
    for spec in ("net_ring0", "net_null0", f"net_pcap0,rx_pcap={place.own}/in.pcap,"
                                           f"tx_pcap={place.own}/out.pcap"):
        yield starts_and_ends(spec)
    yield says_what_is_missing("net_af_packet0,iface=lo", "setcap cap_net_raw+ep")
    yield says_what_is_missing("net_pcap0,iface=lo", "setcap cap_net_raw+ep")
    yield says_what_is_missing("net_af_xdp0,iface=lo", "setcap cap_net_admin,cap_net_raw,cap_bpf")
    yield says_what_is_missing("net_tap0,iface=t9", "setcap cap_net_admin+ep")


def setups(_arguments):
    yield Setup("", cases, before=before)


if __name__ == "__main__":
    sys.exit(main(__doc__, setups, ("--load", {"type": os.path.abspath, "required": True}),
                  needs_root=False))
