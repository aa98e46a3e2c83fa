"""A virtual machine with Debian's kernel and emulated network cards, for the tests beside this file.

Its root is this machine's own, read only, with an overlay in memory: the guest runs the programs that
were built here and leaves nothing behind. The cards hang on one hub inside the emulator, and that on a
bridge in a network namespace of the emulator's own, connected to nothing else. virtio's card is at the
bridge itself: it offers checksums and segments only to one that knows what is left to do.
"""
import glob
import gzip
import os
import re
import shutil
import stat
import subprocess

PACKAGES = ("qemu-system-x86", "seabios", "busybox-static", "kmod")
MODULES = ("virtio_pci", "virtio_rng", "9p", "9pnet_virtio", "overlay")
CLIENT = "02:00:00:00:00:02"
# Model, what its device needs, place on the bus.
CARDS = {
    "virtio": ("virtio-net-pci,disable-legacy=on,iommu_platform=on,ats=on", "10"),
    "e1000e": ("e1000e", "12"),
    "vmxnet3": ("vmxnet3", "13"),
}

BRIDGED = "virtio"
NETWORK = """
ip link add bridge type bridge
ip tuntap add hub mode tap
ip tuntap add virtio mode tap vnet_hdr
for name in hub virtio; do ip link set $name master bridge up; done
ip link set bridge up
exec "$@"
"""

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in {modules}; do insmod /modules/$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro host /host
mount -t tmpfs tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new
for place in proc sys dev; do mount --move /$place /new/$place; done
mkdir -p /new/dev/shm /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/run
rm -rf /new/lib/modules
ln -s {folder}/root/lib/modules /new/lib/modules
ulimit -Hn 200000
ulimit -n 200000
chroot /new /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root {command}
echo o >/proc/sysrq-trigger
sleep 60
"""


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def install(folder):
    """Packages, and the kernel's files in `folder`; the kernel's release."""
    missing = [name for name in PACKAGES if subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True,
        text=True, check=False).stdout != "installed"]
    if missing:
        run("apt-get", "update")
        run("apt-get", "install", "-y", "--no-install-recommends", *missing)
    root = os.path.join(folder, "root")
    if not glob.glob(root + "/boot/vmlinuz-*"):
        depends = run("apt-cache", "depends", "linux-image-amd64")
        image = re.search(r"Depends: (linux-image-\S+)", depends)[1]
        os.makedirs(root, exist_ok=True)
        run("apt-get", "download", image, cwd=folder)
        run("dpkg", "-x", glob.glob(folder + "/linux-image-*.deb")[0], root)
    release = os.path.basename(glob.glob(root + "/boot/vmlinuz-*")[0]).split("-", 1)[1]
    run("/sbin/depmod", "-b", root, release)
    return release


def archive(names):
    """A cpio archive (format newc) of {name: (mode, bytes)}."""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*names.items(), ("TRAILER!!!", (0, b""))]):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def make_initrd(folder, release, command):
    root, files = os.path.join(folder, "root"), {}
    for name in ("bin", "modules", "proc", "sys", "dev", "host", "memory", "new"):
        files[name] = (stat.S_IFDIR | 0o755, b"")
    paths = []
    for module in MODULES:
        lines = run("/sbin/modprobe", "-d", root, "-S", release, "--show-depends", module)
        for path in re.findall(r"^insmod (\S+)", lines, re.M):
            if path not in paths:
                paths.append(path)
    for path in paths:
        with open(path, "rb") as file:
            files["modules/" + os.path.basename(path)] = (stat.S_IFREG | 0o644, file.read())
    with open(shutil.which("busybox"), "rb") as file:
        files["bin/busybox"] = (stat.S_IFREG | 0o755, file.read())
    init = INIT.format(modules=" ".join(map(os.path.basename, paths)), folder=folder,
                       command=command)
    files["init"] = (stat.S_IFREG | 0o755, init.encode())
    path = os.path.join(folder, "initrd.gz")
    with gzip.open(path, "wb", 1) as file:
        file.write(archive(files))
    return path


def boot(folder, release, command, remapping, seconds):
    """Runs one command in the machine; yields the lines of its console."""
    words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
             "-m", "4096", "-nographic", "-no-reboot", "-machine", "q35", "-device",
             "intel-iommu,caching-mode=on,intremap=" + ("on" if remapping else "off"),
             "-kernel", f"{folder}/root/boot/vmlinuz-{release}",
             "-initrd", make_initrd(folder, release, command), "-append",
             "console=ttyS0 quiet panic=1 mitigations=off intel_iommu=on iommu=pt net.ifnames=0",
             "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
             "multidevs=remap", "-device", "virtio-rng-pci",
             "-netdev", "tap,id=bridge,ifname=hub,script=no,downscript=no",
             "-netdev", "hubport,hubid=1,id=hub,netdev=bridge",
             "-netdev", "hubport,hubid=1,id=client", "-device",
             f"e1000,netdev=client,mac={CLIENT},bus=pcie.0,addr=0x11,romfile="]
    for number, (name, (device, place)) in enumerate(CARDS.items()):
        words += ["-netdev", f"tap,id={name},ifname={name},script=no,downscript=no"
                  if name == BRIDGED else f"hubport,hubid=1,id={name}", "-device",
                  f"{device},netdev={name},mac=02:00:00:00:01:{number:02x},bus=pcie.0,"
                  f"addr=0x{place},romfile="]
    with subprocess.Popen(["timeout", str(seconds), "unshare", "-n", "sh", "-ec", NETWORK, "sh",
                           *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as process:
        yield from (line.rstrip() for line in process.stdout)
