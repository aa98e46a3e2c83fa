#!/usr/bin/python3
"""What run.py beside this file lets the virtual machine do: cases, a line each on the console."""
import argparse
import glob
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

from machine import CARDS, CLIENT  # noqa: E402

ADDRESS, PORT = "10.9.0.1", 6379
SECONDS = 120  # an emulated machine takes its time
BIG = 3 << 20


def run(*words, check=True, seconds=SECONDS):
    return subprocess.run(words, check=check, timeout=seconds, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def until(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {SECONDS} s")
        time.sleep(0.1)  # between two looks


class Guest:
    def __init__(self, options):
        self.options = options
        self.polluxd = os.path.join(options.build, "polluxd")
        for module in ("e1000", "virtio_net", "vmxnet3", "e1000e", "vfio-pci", "veth", "tun"):
            run("modprobe", module)
        run("ip", "link", "set", "lo", "up")
        until(lambda: self.interface(CLIENT), "the client's card")
        self.hugepages(128)

    @staticmethod
    def hugepages(count):
        write("/proc/sys/vm/nr_hugepages", str(count))

    @staticmethod
    def interface(mac):
        for path in glob.glob("/sys/class/net/*/address"):
            with open(path, encoding="ascii") as file:
                if file.read().strip() == mac:
                    return path.split("/")[-2]
        return None

    @staticmethod
    def address(card):
        return f"0000:00:{CARDS[card][1]}.0"

    def nic(self, *words, check=True):
        return run(os.path.join(ROOT, "tools/pollux-nic"), *words, check=check)

    def words(self, card, *more):
        return [self.polluxd, "--net-driver", "dpdk", "--dpdk-port", self.address(card),
                "--dpdk-address", ADDRESS + "/24", "--workers", "1", "--protected-mode", "no",
                "--dpdk-idle", "100", "--save", "", "--dir", "/tmp", *more]

    def refusal(self, card, *prefix):
        """The line with which a server does not start."""
        output = run(*prefix, *self.words(card), check=False)
        match = re.search(r"Cannot start: (.*)", output)
        assert match, output
        return match[1]


class Server:
    """polluxd on a card; ends with the block."""

    def __init__(self, guest, card, *more):
        self.path = "/tmp/polluxd.log"
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(guest.words(card, *more), stdout=log, stderr=log)

    def text(self):
        with open(self.path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def __enter__(self):
        until(lambda: "Ready to accept" in self.text() or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.text()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0, self.text()


class Client:
    """A connection over the client's card, whose interface is in this namespace."""

    def __init__(self, guest):
        name = guest.interface(CLIENT)
        run("ip", "addr", "replace", "10.9.0.2/24", "dev", name)
        run("ip", "link", "set", name, "up")
        run("ip", "neigh", "flush", "all")
        run("sysctl", "-q", "-w", f"net.ipv4.conf.{name}.rp_filter=0")
        self.socket = socket.create_connection((ADDRESS, PORT), SECONDS)
        self.input = self.socket.makefile("rb")

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) +
                            b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        line = self.input.readline()
        if line[:1] == b"$":
            return self.input.read(int(line[1:]) + 2)[:-2]
        return line[1:-2]

    def info(self):
        text = self.call("INFO", "network").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


# ---- cases: suite, name, function ----

CASES = []


def case(suite):
    def note(function):
        CASES.append((suite, function))
        return function
    return note


def serve(guest, card):
    """The card is given to DPDK, serves, and is the kernel's again."""
    kernels = run("readlink", f"/sys/bus/pci/devices/{guest.address(card)}/driver")
    guest.nic("bind", guest.address(card))
    try:
        with Server(guest, card):
            client = Client(guest)
            data = random.Random(card).randbytes(BIG)
            for _ in range(100):
                assert client.call("PING") == b"PONG"
            assert client.call("SET", "big", data) == b"OK"
            back = client.call("GET", "big")
            assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), len(back)
            info = client.info()
            assert info["network_hugepages"] == "1", info
            assert int(info["network_rx_bytes"]) > BIG < int(info["network_tx_bytes"]), info
            assert info["network_link"] == "up", info
            offload = info["network_tx_segment_offload"]
            assert "ipv4=0" in offload or "frames=0" not in offload, offload
            return ", ".join(f"{name[8:]} {info[name]}" for name in info if name in (
                "network_driver", "network_queues", "network_rx_checksum_offload",
                "network_tx_checksum_offload", "network_tx_segment_offload"))
    finally:
        guest.nic("unbind", guest.address(card))
        again = run("readlink", f"/sys/bus/pci/devices/{guest.address(card)}/driver")
        assert again == kernels, again


for CARD in CARDS:
    def serves_on_card(guest, card=CARD):
        return serve(guest, card)
    serves_on_card.__name__ = f"serves_on_{CARD}"
    case("all")(serves_on_card)


@case("all")
def what_a_card_lacks_is_told(guest):
    line = guest.refusal("e1000e")
    assert f"tools/pollux-nic bind {guest.address('e1000e')}" in line, line
    guest.nic("bind", guest.address("e1000e"))
    try:
        line = guest.refusal("e1000e", "setpriv", "--reuid", "nobody", "--clear-groups")
        assert "no permission for /dev/vfio/" in line and "chown" in line, line
        guest.hugepages(0)
        line = guest.refusal("e1000e")
        assert "hugepages" in line and "sysctl vm.nr_hugepages=" in line, line
    finally:
        guest.hugepages(128)
        guest.nic("unbind", guest.address("e1000e"))


@case("no-remapping")
def an_iommu_without_interrupt_remapping(guest):
    guest.nic("bind", guest.address("e1000e"))
    line = guest.refusal("e1000e")
    assert "IOMMU" in line, line
    run("modprobe", "-r", "vfio_iommu_type1")
    run("modprobe", "vfio_iommu_type1", "allow_unsafe_interrupts=1")
    guest.nic("unbind", guest.address("e1000e"))
    return serve(guest, "e1000e")


def last_line(output):
    return output.strip().splitlines()[-1]


def program(guest, script, *words):
    """A test program that closes with its counts."""
    output = run("/usr/bin/python3", os.path.join(ROOT, script), "--server", guest.polluxd, *words,
                 check=False, seconds=1500)
    assert re.fullmatch(r"\d+ passed, 0 failed", last_line(output)), output[-3000:]
    return last_line(output)


@case("all")
def unit_tests_of_the_streams(guest):
    for name in ("stream", "stream_load", "stream_wake", "uring", "transmit"):
        run(os.path.join(guest.options.build, "tests/unit", "unit_drivers_" + name), seconds=600)


@case("all")
def differential_suite_over_io_uring(guest):
    return program(guest, "tests/differential/run.py", "--quick", "--drivers", "uring",
                   "--timeout", "60")


@case("all")
def integration_over_io_uring(guest):
    modules = ("redis_py", "cli_tools", "transactions", "limits", "listeners", "per_core")
    return program(guest, "tests/integration/run.py", "--quick", "--drivers", "uring",
                   "--patience", "10", *(word for name in modules for word in ("--only", name)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("suite")
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    guest = Guest(options)
    print(f"guest: Linux {os.uname().release}", flush=True)
    for suite, function in CASES:
        if suite != options.suite or options.only not in function.__name__:
            continue
        started = time.monotonic()
        try:
            note = function(guest)
            print(f"ok   {function.__name__} ({time.monotonic() - started:.0f} s)"
                  f"{'; ' + note if note else ''}", flush=True)
        except Exception as error:  # pylint: disable=broad-except  (the other cases go on)
            print(f"FAIL {function.__name__}: {str(error)[-2000:]}", flush=True)
            for line in traceback.format_exc().splitlines():
                print("     " + line, flush=True)
            if isinstance(error, subprocess.CalledProcessError):
                print("     " + str(error.output)[-2000:].replace("\n", "\n     "), flush=True)
    print("guest: the end", flush=True)


if __name__ == "__main__":
    main()
