#!/usr/bin/python3
"""Checksums by the device or in software, as dpdk-offloads says: the same bytes arrive. TAP of DPDK
computes them where it is asked to.

    offloads.py --server build/polluxd [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import argparse
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kernel_path import attempt  # noqa: E402
from queues import info  # noqa: E402
from run import Results, equal, transfer  # noqa: E402
from topology import SERVER6, Network, Server  # noqa: E402

MEGABYTE = 1 << 20


def bulk_data_with_offloads(answer, arguments, folder):
    network = Network("tap")
    network.control = "cubic"
    server = None
    try:
        server = Server(arguments.server, network, folder, ["--dpdk-offloads", answer])
        wanted = "1" if answer == "yes" else "0"
        for field in ("network_tx_checksum_offload", "network_rx_checksum_offload"):
            equal(info(network, field), wanted, field)
        transfer(network, 8 * MEGABYTE)
        transfer(network, 4 * MEGABYTE, SERVER6)
        equal(server.end(), 0, "exit status")
    finally:
        if server is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        network.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    arguments.server = os.path.abspath(arguments.server)
    results = Results()
    folder = tempfile.mkdtemp(prefix="pollux-offloads-")
    try:
        for answer in ("yes", "no"):
            attempt(results, arguments, f"bulk data, dpdk-offloads {answer}",
                    bulk_data_with_offloads, answer, arguments, folder)
    finally:
        shutil.rmtree(folder)
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed or not results.passed else 0


if __name__ == "__main__":
    sys.exit(main())
