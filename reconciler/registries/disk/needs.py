"""What disks need of this machine: qemu, where they are booted to be tested, and KVM, without which that takes long."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.errors import UserError
from reconciler.ports.needs import Asking, Need
from reconciler.registries.disk.bench import KVM, PROGRAMS, accelerators
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
    if accelerators()[0] == "kvm":
        yield Need(f"{PROGRAMS[0]} boots disks to be tested, on KVM where that can run them")
    else:
        why = f"{KVM} can't be opened here, so {PROGRAMS[0]} emulates the machine (tcg): a test takes minutes"
        yield Need(why, "note", (f"let this user open {KVM} (group kvm); on a virtual machine, nest virtualization",))
