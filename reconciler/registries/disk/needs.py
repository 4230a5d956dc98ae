"""What disks need of this machine: qemu, where they are booted to be tested, and KVM, without which that takes long."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.errors import UserError
from reconciler.ports.needs import Asking, Need
from reconciler.registries.disk.accelerator import why_not_kvm
from reconciler.registries.disk.bench import PROGRAMS
from reconciler.registries.disk.formats import program


def needs(asking: Asking) -> Iterator[Need]:
    """Nothing where none is booted: what builders run, their templates' programs say."""
    if not asking.booted:
        return
    lacking = False
    for name in PROGRAMS:
        try:
            program(name)
        except UserError as error:
            lacking = True
            yield Need(error.what, "trouble", error.hint)
    if lacking:
        return
    why = why_not_kvm()
    if why is None:
        yield Need(f"{PROGRAMS[0]} boots disks to be tested, on KVM")
    else:
        what = f"{why}, so {PROGRAMS[0]} emulates the machine (tcg): a test takes minutes"
        yield Need(
            what, "note", ("let this user open /dev/kvm (group kvm); on a virtual machine, nest virtualization",)
        )
