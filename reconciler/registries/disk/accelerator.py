"""What qemu runs on here: KVM, or emulation (`tcg`).

Packer takes KVM wherever /dev/kvm can be opened, if its template names no accelerator (packer-plugin-qemu,
`builder/qemu/config.go`), and waits for SSH where that is all that KVM can do: in a machine that is itself one, it may
run a BIOS and no kernel (seen: "KVM internal error. Suberror: 1", and Packer's "Timeout waiting for SSH"). So what can
be opened is tried: a boot sector does what a kernel asks of a processor on its way up, and says when it got there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reconciler.model.errors import ReconcilerError, Transient
from reconciler.model.fleet import Builder
from reconciler.ports.machine import Machine
from reconciler.registries.disk.dialect import TAKEN_OVER
from reconciler.registries.disk.files import unkeepable

KVM, EMULATION = "kvm", "tcg"
QEMU = f"qemu-system-{os.uname().machine}"
_DEVICE = Path("/dev/kvm")
_PROBE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cbf0080b90018f3abc70600800390c706009003a0c70600a08300660f0116b07c0f20c00c010f22c0ea397c080066"
    "b810008ed88ec08ed0bc007c00009c6a0868517c0000cf0f20e00c200f22e0b8008000000f22d8b9800000c00f3280cc010f300f20c00d000000"
    "800f22c0ea7f7c00001800f0480fc70c2500b00000b031e6f4f4ebfd0000000000000000ffff0000009acf00ffff00000092cf00ffff0000009a"
    "af001f00907c"
)
"""`probe.S`, assembled; a test does that anew."""
_SECTOR, _BOOTABLE = 510, b"\x55\xaa"
_SAID, _ARRIVED = 0x31, 0x31 << 1 | 1
"""What it writes to the port, and what qemu ends with then (`hw/misc/debugexit.c`)."""
_SECONDS, _LOOK = 20.0, 0.05
_DIED = b"KVM internal error"
_HINT = (
    f"have the template take what works where it is built: {TAKEN_OVER}",
    f'or set accelerator = "{EMULATION}", which works everywhere, and is slower',
)


@cache
def why_not_kvm(device: Path = _DEVICE) -> str | None:
    """Why KVM can't be used on this machine, in words; None where it can. It may take some seconds, once a process."""
    if not device.exists():
        return f"there is no {device}"
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError as error:
        return f"{device} can't be opened: {error.strerror}"
    qemu = shutil.which(QEMU)
    if qemu is None or not QEMU.endswith("x86_64"):
        return None
    return None if _runs(qemu, KVM) else f"{device} can be opened, and runs no kernel"


def _runs(qemu: str, accelerator: str) -> bool:
    """Whether a machine gets through the boot sector."""
    with tempfile.TemporaryDirectory(prefix="rec-kvm-") as folder:
        sector, said = Path(folder, "sector"), Path(folder, "said")
        sector.write_bytes(_PROBE.ljust(_SECTOR, b"\0") + _BOOTABLE)
        with said.open("wb") as errors:
            process = subprocess.Popen(
                [
                    qemu, "-nodefaults", "-no-reboot", "-display", "none", "-accel", accelerator, "-m", "64",
                    "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", f"file={sector},format=raw,if=ide",
                ],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
            )  # fmt: skip
        try:
            until = time.monotonic() + _SECONDS
            while process.poll() is None and time.monotonic() < until and _DIED not in said.read_bytes():
                time.sleep(_LOOK)
        finally:
            process.kill()
            ended = process.wait()
        return ended == _ARRIVED


@dataclass(frozen=True)
class Accelerators:
    """This machine as qemu may use it. Implements `Machine`."""

    device: Path = _DEVICE

    def best(self) -> str:
        """KVM where it runs a kernel, else emulation."""
        return EMULATION if why_not_kvm(self.device) else KVM

    def refusal(self, builder: Builder, location: str) -> ReconcilerError | None:
        """Why a build would not get far here: what it leaves can't be kept, or KVM is to be used and does not work."""
        return unkeepable(location) or self._without_kvm(builder)

    def _without_kvm(self, builder: Builder) -> ReconcilerError | None:
        use = builder.machine
        if use is None or use.variable is not None:
            return None
        if use.is_said and use.value == KVM:
            wanted = f'{builder.name} has accelerator = "{KVM}"'
        elif not use.is_said and _opens(self.device):
            wanted = f"{builder.name} names no accelerator, so that Packer takes KVM"
        else:
            return None
        why = why_not_kvm(self.device)
        return Transient(f"{wanted}, and {why}", where=use.place, hint=_HINT) if why is not None else None


def _opens(device: Path) -> bool:
    """Whether Packer would take KVM: it opens the device to read."""
    try:
        os.close(os.open(device, os.O_RDONLY))
    except OSError:
        return False
    return True


MACHINE: Machine = Accelerators()


def open_machine() -> Machine:
    """The same: what KVM does was tried once, for as long as the process lives."""
    return MACHINE
