"""A Debian disk of the tests' own, with its own boot loader, kernel, systemd and cloud-init: made once, then copied."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.needs import lacking

_MAKING = {
    "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
    "syslinux": "syslinux", "sfdisk": "fdisk",
}  # fmt: skip
_BOOTING = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_PACKAGES = (
    "systemd-sysv", "systemd-resolved", "udev", "cloud-init", "openssh-server", "sudo", "python3",
    "linux-image-cloud-amd64", "initramfs-tools", "e2fsprogs", "iproute2", "dbus",
)  # fmt: skip
_HOOK = r"""
chroot "$1" systemctl enable systemd-networkd >/dev/null 2>&1
echo "LABEL=root / ext4 defaults 0 1" > "$1/etc/fstab"
echo disk > "$1/etc/hostname"
printf 'datasource_list: [NoCloud, None]\nlocale: C.UTF-8\n' > "$1/etc/cloud/cloud.cfg.d/90_disk.cfg"
: > "$1/etc/machine-id"
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
"""
_LOADER = """\
DEFAULT debian
LABEL debian
 KERNEL vmlinuz
 APPEND initrd=initrd root=LABEL=root rw console=ttyS0 quiet
"""
_BOOT_MIB, _ROOT_MIB = 64, 1700
_RECIPE = hashlib.sha256("\n".join([*_PACKAGES, _HOOK, _LOADER]).encode()).hexdigest()[:12]


def refuse_without_qemu() -> None:
    """Skip a test where no disk can be made or booted."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    missing = sorted(
        {package for program, package in {**_MAKING, **_BOOTING}.items() if not shutil.which(program, path=path)}
    )
    if missing or not _MBR.exists():
        lacking(f"no disk can be booted here: apt-get install {' '.join(missing or ['syslinux-common'])}")
    if os.uname().machine != "x86_64" or os.geteuid() != 0:
        lacking("the disk is made by root, for x86_64")


def debian() -> Path:
    """The disk, raw; nobody may write to it. The first to ask makes it, some minutes long."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "reconciler", "tests")
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / f"debian-{_RECIPE}.raw"
    with (folder / f"{disk.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not disk.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                _make(Path(work), Path(work, "disk")).rename(disk)
    return disk


def _make(work: Path, disk: Path) -> Path:
    root, boot = work / "root", work / "boot"
    _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}",
         f"--customize-hook={_HOOK}", "bookworm", str(root))  # fmt: skip
    boot.mkdir()
    for name, into in (("vmlinuz", "vmlinuz"), ("initrd.img", "initrd")):
        shutil.copy(root / name, boot / into)
    (boot / "syslinux.cfg").write_text(_LOADER)
    fat, ext4 = work / "fat", work / "ext4"
    for file, size in ((fat, _BOOT_MIB), (ext4, _ROOT_MIB), (disk, _BOOT_MIB + _ROOT_MIB + 2)):
        file.touch()
        os.truncate(file, size << 20)
    _run("mkfs.vfat", "-n", "BOOT", str(fat))
    _run("mcopy", "-i", str(fat), *map(str, boot.iterdir()), "::/")
    _run("syslinux", "--install", str(fat))
    _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(ext4))
    table = f"label: dos\nstart=1MiB,size={_BOOT_MIB}MiB,type=c,bootable\nstart={_BOOT_MIB + 1}MiB,type=83\n"
    _run("sfdisk", "-q", str(disk), stdin=table)
    for part, at in ((fat, 1), (ext4, _BOOT_MIB + 1)):
        _run("dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={at}", "conv=notrunc,sparse", "status=none")
    with disk.open("r+b") as written:
        written.write(_MBR.read_bytes()[:440])
    return disk


def _run(*command: str, stdin: str = "") -> None:
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    ended = subprocess.run(
        command, env={**os.environ, "PATH": path, "MTOOLS_SKIP_CHECK": "1"}, input=stdin, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{_words(command)}: {ended.stderr}"


def _words(command: Sequence[str]) -> str:
    return " ".join(command)[:200]
