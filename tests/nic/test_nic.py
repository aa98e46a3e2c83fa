#!/usr/bin/python3
"""tools/pollux-nic against a made-up machine: a tree of files that answers like the kernel."""
import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "pollux-nic")
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("pollux_nic", TOOL)
nic = importlib.util.module_from_spec(importlib.util.spec_from_loader("pollux_nic", loader))
loader.exec_module(nic)

CARD = "0000:03:00.0"
FOLDER = f"/sys/bus/pci/devices/{CARD}"


class Kernel(nic.Machine):
    """Does what writes to /sys would do."""

    takes = True  # whether vfio-pci accepts the card
    xdp = None  # what `ip` shows of a program on eth1

    def call(self, *words):
        """As ip(8) would answer."""
        if words[:4] == ("ip", "-j", "-d", "link"):
            return json.dumps([{"ifname": "eth1", **({"xdp": self.xdp} if self.xdp else {})}])
        self.called = words
        self.xdp = None
        return ""

    def write(self, name, text):
        super().write(name, text)
        if self.dry_run:
            return
        if name.endswith("/driver/unbind"):
            os.unlink(self.path(f"/sys/bus/pci/devices/{text}/driver"))
        elif name.endswith("/drivers_probe"):
            wanted = self.read(f"/sys/bus/pci/devices/{text}/driver_override") or "ixgbe"
            if wanted == "ixgbe" or self.takes:
                os.symlink(f"../../drivers/{wanted}",
                           self.path(f"/sys/bus/pci/devices/{text}/driver"))


class NicTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pollux-nic-")
        self.addCleanup(shutil.rmtree, self.root)
        self.machine = Kernel(self.root)
        self.file(f"{FOLDER}/class", "0x020000")
        self.file(f"{FOLDER}/vendor", "0x8086")
        self.file(f"{FOLDER}/device", "0x1563")
        self.file(f"{FOLDER}/numa_node", "1")
        self.file(f"{FOLDER}/driver_override", "")
        self.file(f"{FOLDER}/net/eth1/x", "")
        self.file("/sys/class/net/eth1/speed", "10000")
        for queue in ("rx-0", "rx-1", "tx-0", "tx-1"):
            self.file(f"/sys/class/net/eth1/queues/{queue}/x", "")
        self.file("/sys/bus/pci/drivers_probe", "")
        self.file("/sys/bus/pci/drivers/ixgbe/unbind", "")
        self.file("/sys/bus/pci/drivers/vfio-pci/unbind", "")
        self.link(f"{FOLDER}/driver", "../../drivers/ixgbe")
        self.link(f"{FOLDER}/iommu_group", "../../../kernel/iommu_groups/14")
        self.routes("eth0")

    def file(self, name, text):
        path = self.root + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(text + "\n")

    def link(self, name, target):
        path = self.root + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)

    def routes(self, interface):
        self.file("/proc/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n"
                  f"{interface} 00000000 0102000A 0003 0 0 0 00000000 0 0 0\n"
                  "eth1 0009000A 00000000 0001 0 0 0 00FFFFFF 0 0 0")

    def run_tool(self, run, **words):
        output = io.StringIO()
        words = {"address": CARD, "driver": "vfio-pci", "yes": False, **words}
        with contextlib.redirect_stdout(output):
            run(self.machine, argparse.Namespace(**words))
        return output.getvalue()

    def driver(self):
        return self.machine.link(f"{FOLDER}/driver")

    def test_bind_and_unbind_change_the_driver_there_and_back(self):
        self.assertIn("dpdk-port 0000:03:00.0", self.run_tool(nic.bind, address="03:00.0"))
        self.assertEqual(self.driver(), "vfio-pci")
        self.assertIn("already", self.run_tool(nic.bind))
        self.run_tool(nic.unbind)
        self.assertEqual(self.driver(), "ixgbe")
        self.assertEqual(self.machine.read(f"{FOLDER}/driver_override"), "")
        self.assertIn("already", self.run_tool(nic.unbind))

    def test_bind_refuses_the_default_route_without_yes(self):
        self.routes("eth1")
        with self.assertRaisesRegex(nic.Problem, "--yes"):
            self.run_tool(nic.bind)
        self.assertEqual(self.driver(), "ixgbe")
        self.run_tool(nic.bind, yes=True)
        self.assertEqual(self.driver(), "vfio-pci")

    def test_bind_refuses_what_carries_a_bond_or_vlan_of_the_default_route(self):
        self.routes("bond0.7")
        os.makedirs(self.root + "/sys/class/net/bond0.7/lower_bond0")
        os.makedirs(self.root + "/sys/class/net/bond0/lower_eth1")
        with self.assertRaisesRegex(nic.Problem, "eth1, which carries the default route"):
            self.run_tool(nic.bind)

    def test_bind_refuses_the_default_route_of_ipv6(self):
        self.file("/proc/net/route", "")
        self.file("/proc/net/ipv6_route",
                  f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 1 0 3 eth1")
        with self.assertRaisesRegex(nic.Problem, "default route"):
            self.run_tool(nic.bind)

    def test_bind_gives_the_card_back_when_the_driver_refuses(self):
        self.machine.takes = False
        with self.assertRaisesRegex(nic.Problem, "dmesg"):
            self.run_tool(nic.bind)
        self.assertEqual(self.driver(), "ixgbe")

    def test_bind_names_what_is_missing(self):
        shutil.rmtree(self.root + "/sys/bus/pci/drivers/vfio-pci")
        with self.assertRaisesRegex(nic.Problem, "modprobe vfio-pci"):
            self.run_tool(nic.bind)
        self.file("/sys/bus/pci/drivers/vfio-pci/unbind", "")
        os.unlink(self.root + f"{FOLDER}/iommu_group")
        with self.assertRaisesRegex(nic.Problem, "intel_iommu=on"):
            self.run_tool(nic.bind)
        self.file("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
        self.run_tool(nic.bind)
        self.assertEqual(self.driver(), "vfio-pci")

    def test_mellanox_is_not_bound(self):
        self.link(f"{FOLDER}/driver", "../../drivers/mlx5_core")
        with self.assertRaisesRegex(nic.Problem, "needs no binding"):
            self.run_tool(nic.bind)

    def test_addresses_are_checked(self):
        for wrong in ("eth1", "../../x", "0000:03:00.9", "0000:04:00.0"):
            with self.assertRaises(nic.Problem, msg=wrong):
                self.run_tool(nic.bind, address=wrong)

    def test_dry_run_writes_nothing(self):
        self.machine.dry_run = True
        output = self.run_tool(nic.bind)
        self.assertIn("would write 'vfio-pci'", output)
        self.assertEqual(self.driver(), "ixgbe")

    def test_tune_spreads_hugepages_over_the_nodes(self):
        pages = "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages"
        for node in (0, 1):
            self.file(pages % node, "0")
        output = self.run_tool(nic.tune, hugepages=1024, interface=None)
        self.assertIn("1024 MB", output)
        for node in (0, 1):
            self.assertEqual(self.machine.read(pages % node), "256")

    def test_tune_sets_the_governor_and_knows_interfaces(self):
        governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
        self.file(governor, "powersave")
        self.run_tool(nic.tune, hugepages=0, interface=None)
        self.assertEqual(self.machine.read(governor), "performance")
        with self.assertRaisesRegex(nic.Problem, "no interface eth9"):
            self.run_tool(nic.tune, hugepages=0, interface="eth9")

    def leftover(self, mode=1, name="xsk_def_prog"):
        self.machine.xdp = {"mode": mode, "prog": {"id": 77, "name": name}}

    def test_release_takes_off_what_af_xdp_left(self):
        for mode, word in ((1, "xdp"), (2, "xdpgeneric")):
            self.leftover(mode)
            self.assertIn("is off", self.run_tool(nic.release, interface="eth1"))
            self.assertEqual(self.machine.called, ("ip", "link", "set", "dev", "eth1", word, "off"))
            self.assertIn("nothing to release", self.run_tool(nic.release, interface="eth1"))

    def test_release_leaves_programs_of_others(self):
        for name in ("firewall", "xdp_dispatcher"):
            self.leftover(name=name)
            with self.assertRaisesRegex(nic.Problem, "stays|xdp-loader"):
                self.run_tool(nic.release, interface="eth1")
            self.assertIsNotNone(self.machine.xdp)
        with self.assertRaisesRegex(nic.Problem, "no interface eth9"):
            self.run_tool(nic.release, interface="eth9")

    def test_release_refuses_while_a_process_uses_it(self):
        self.leftover()
        self.link("/proc/4711/fd/9", "socket:[5]")
        self.link("/proc/4711/fd/14", "anon_inode:bpf-prog")
        self.file("/proc/4711/fdinfo/14", "pos:\t0\nprog_type:\t6\nprog_id:\t77")
        with self.assertRaisesRegex(nic.Problem, "process 4711"):
            self.run_tool(nic.release, interface="eth1")
        self.file("/proc/4711/fdinfo/14", "pos:\t0\nprog_type:\t6\nprog_id:\t770")
        self.run_tool(nic.release, interface="eth1")
        self.assertIsNone(self.machine.xdp)

    def test_release_can_say_what_it_would_do(self):
        self.leftover()
        self.machine.dry_run = True
        self.assertIn("would run: ip link set dev eth1 xdp off",
                      self.run_tool(nic.release, interface="eth1"))
        self.assertIsNotNone(self.machine.xdp)

    def test_doctor_tells_what_is_there_and_what_to_do(self):
        output = self.run_tool(nic.doctor)
        self.assertIn(f"NIC {CARD}: [8086:1563] eth1, driver ixgbe, node 1, 10 Gbit/s", output)
        self.assertIn(f"pollux-nic bind {CARD}", output)
        self.assertIn("pollux-nic tune --hugepages", output)
        self.assertIn("eth1 uses 2 receive queues: of more workers", output)
        self.assertIn("ethtool -L eth1 combined N", output)
        self.routes("eth1")
        output = self.run_tool(nic.doctor)
        self.assertIn("carries the default route", output)
        self.assertNotIn(f"pollux-nic bind {CARD}", output)

    def test_doctor_survives_a_machine_without_anything(self):
        shutil.rmtree(self.root + "/sys")
        shutil.rmtree(self.root + "/proc")
        self.assertIn("no PCI network card", self.run_tool(nic.doctor))

    def test_command_line_ends_with_one_line_and_status_1(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(nic.main(["--root", self.root, "bind", "eth1"]), 1)
        self.assertEqual(errors.getvalue().count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
