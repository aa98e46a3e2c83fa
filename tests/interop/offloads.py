#!/usr/bin/python3
"""Checksums and segments by the device or in software, as dpdk-offloads says: the same bytes arrive.
TAP of DPDK computes checksums where it is asked to, and cuts frames of IPv4 with its own software; not
those of full segments, for it counts the Ethernet header to the MTU.

    offloads.py --server build/polluxd [--only TEXT]

Needs root (for namespaces of its own). The last line reads "N passed, N failed"; the exit status is 0
only if nothing failed.
"""
import sys

sys.dont_write_bytecode = True

from client import MEGABYTE, Client, equal, info, random_bytes, transfer  # noqa: E402
from run import Losses  # noqa: E402
from runner import Setup, main  # noqa: E402
from topology import SERVER6  # noqa: E402

SMALL_MSS = 1300  # small enough for TAP


def bulk_data(network):
    wanted = "0" if network.answer == "no" else "1"
    for field in ("network_tx_checksum_offload", "network_rx_checksum_offload"):
        equal(info(network, field), wanted, field)
    transfer(network, 8 * MEGABYTE)
    transfer(network, 4 * MEGABYTE, SERVER6)


def cut_by_the_port(network):
    """What `INFO network` says of it: families, frames, segments."""
    pairs = (pair.split("=") for pair in info(network, "network_tx_segment_offload").split(","))
    values = {name: int(value) for name, value in pairs}
    return values["ipv4"], values["ipv6"], values["frames"], values["segments"]


def pipelined(network):
    """Replies that are copied into packets, several to a frame."""
    data = random_bytes(12000, 7)
    with Client(network) as client:
        equal(client.call("SET", "reply", data), b"OK", "SET")
        for _ in range(100):
            client.send("GET", "reply")
        for _ in range(100):
            equal(client.reply() == data, True, "reply")


def segments(network):
    """Large replies to a client of small segments, without losses and with some."""
    cuts = network.answer == "yes"
    equal(cut_by_the_port(network), (cuts, 0, 0, 0), "families, frames and segments, before")
    network.client.run(f"ip route replace default via 10.8.0.1 advmss {SMALL_MSS}")
    network.client.run(f"ip -6 route replace default via fd08::1 advmss {SMALL_MSS}")
    transfer(network, 8 * MEGABYTE)
    v4, v6, frames, count = cut_by_the_port(network)
    equal((v4, v6), (cuts, 0), "families")
    equal(frames > 0, cuts, f"{frames} frames cut by the port")
    equal(3 * frames <= count <= 48 * frames, True, f"{count} segments in {frames} frames")
    print(f"     {8 * MEGABYTE} bytes: {frames} frames of {count} segments cut by the port")
    pipelined(network)
    frames = cut_by_the_port(network)[2]
    transfer(network, MEGABYTE, SERVER6)
    equal(cut_by_the_port(network)[2] - frames < 10, True, "none of IPv6")
    with Losses(network, 0.01) as losses:
        transfer(network, 4 * MEGABYTE)
        equal(losses.dropped() > 0, True, "losses")
    equal(cut_by_the_port(network)[2] > frames, cuts, "frames in spite of losses")
    queue = info(network, "queue0")
    equal("tx_tso_refused=0," in queue and "tx_too_long=0," in queue, True, queue)


def before(answer):
    def prepare(network):
        network.answer = answer
    return prepare


def setups(_arguments):
    for answer in ("yes", "checksums", "no"):
        yield Setup(f"dpdk-offloads {answer}", lambda _: (bulk_data, segments), driver="tap",
                    before=before(answer),
                    options=lambda network: ["--dpdk-offloads", network.answer])


if __name__ == "__main__":
    sys.exit(main(__doc__, setups))
