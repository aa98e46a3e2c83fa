#!/usr/bin/python3
"""Checksums by the device or in software, as dpdk-offloads says: the same bytes arrive. TAP of DPDK
computes them where it is asked to.

    offloads.py --server build/polluxd [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import sys

sys.dont_write_bytecode = True

from client import MEGABYTE, equal, info, transfer  # noqa: E402
from runner import Setup, main  # noqa: E402
from topology import SERVER6  # noqa: E402


def bulk_data(network):
    wanted = "1" if network.answer == "yes" else "0"
    for field in ("network_tx_checksum_offload", "network_rx_checksum_offload"):
        equal(info(network, field), wanted, field)
    transfer(network, 8 * MEGABYTE)
    transfer(network, 4 * MEGABYTE, SERVER6)


def before(answer):
    def prepare(network):
        network.answer = answer
    return prepare


def setups(_arguments):
    for answer in ("yes", "no"):
        yield Setup(f"dpdk-offloads {answer}", lambda _: (bulk_data,), driver="tap",
                    before=before(answer),
                    options=lambda network: ["--dpdk-offloads", network.answer])


if __name__ == "__main__":
    sys.exit(main(__doc__, setups))
