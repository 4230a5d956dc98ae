"""What disks need of this machine: folders, and qemu with KVM, without which a boot to be tested takes long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reconciler.model.errors import UserError
from reconciler.ports.needs import Asking, Need
from reconciler.registries.disk.accelerator import why_not_kvm
from reconciler.registries.disk.bench import PROGRAMS
from reconciler.registries.disk.dialect import BUCKET
from reconciler.registries.disk.files import unkeepable
from reconciler.registries.disk.formats import program


def needs(asking: Asking) -> Iterator[Need]:
    """Say which folder can't hold any, or is still to be made; and what boots them, where any is booted.

    What builders run, their templates' programs say.
    """
    for location in asking.locations:
        refused = unkeepable(location)
        if refused is not None:
            yield Need(refused.what, "trouble", refused.hint)
        elif not location.startswith(BUCKET) and not Path(location).is_dir():
            yield Need(f"{location} is not there yet: the first disk that is kept in it makes it", "note")
    if asking.booted:
        yield from _booting()


def _booting() -> Iterator[Need]:
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
