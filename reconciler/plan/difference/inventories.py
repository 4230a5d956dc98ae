"""The difference that a build makes: what is inside it, against what was inside another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from reconciler.model.difference import Change, Difference, Listed, Moved, PackageChange
from reconciler.model.inventory import Inventory, OperatingSystem, Package, PackageKind
from reconciler.plan.difference.version_order import order

__all__ = ["Difference", "difference"]

_DIRECTIONS: Mapping[int | None, Change] = {-1: "upgraded", 1: "downgraded", 0: "changed", None: "changed"}
_NO_SYSTEM = OperatingSystem("", "", "")


class _Facts(NamedTuple):
    """What of a package counts. Its source package is none of it: that follows from the rest."""

    kind: PackageKind
    name: str
    architecture: str
    version: str

    @property
    def place(self) -> tuple[PackageKind, str, str]:
        """What a version of a package takes the place of another in."""
        return self[:3]


def difference(old: Inventory, new: Inventory) -> Difference:
    """What `new` has and `old` has not, and the other way round.

    A section that is unread on either side is in `unknown` with why; it is never taken for empty.
    """
    return Difference(
        os=_system(old.os, new.os),
        kernel=_moved(old.kernel, new.kernel),
        packages=_packages(old.packages, new.packages),
        services=_listed(old.services, new.services),
        ports=_listed(old.ports, new.ports),
        users=_listed(old.users, new.users),
        suid=_listed(old.suid, new.suid),
        unknown=_unknown(old, new),
    )


def _unknown(old: Inventory, new: Inventory) -> dict[str, str]:
    unknown: dict[str, str] = {}
    for name in ("os", "kernel", "packages", "services", "ports", "users", "suid"):
        sides = {"older": old, "newer": new}
        # The system and the kernel are empty where they could not be read, a list is None: an empty one was read.
        why = [
            f"{side}: {one.unread.get(name, 'not recorded')}"
            for side, one in sides.items()
            if getattr(one, name) in (None, "", _NO_SYSTEM)
        ]
        if why:
            unknown[name] = "; ".join(why)
    return unknown


def _system(old: OperatingSystem, new: OperatingSystem) -> Moved | None:
    if _NO_SYSTEM in (old, new):
        return None
    moved = _moved(old.name, new.name)
    return moved or _moved(f"{old.id} {old.version}".strip(), f"{new.id} {new.version}".strip())


def _moved(old: str, new: str) -> Moved | None:
    return Moved(old=old, new=new) if old and new and old != new else None


def _listed(old: Iterable[object] | None, new: Iterable[object] | None) -> Listed:
    if old is None or new is None:
        return Listed()
    before, now = dict.fromkeys(old), dict.fromkeys(new)
    return Listed(
        added=tuple(str(one) for one in now if one not in before),
        removed=tuple(str(one) for one in before if one not in now),
    )


def _packages(old: tuple[Package, ...] | None, new: tuple[Package, ...] | None) -> tuple[PackageChange, ...]:
    if old is None or new is None:
        return ()
    before, now = _facts(old), _facts(new)
    # Most packages are in both as they are. Only the rest is looked at by name.
    gone, come = _by_name(before - now), _by_name(now - before)
    kept = {one.place for one in before & now if (one.kind, one.name) in gone and (one.kind, one.name) in come}
    changes: list[PackageChange] = []
    for key in sorted(gone.keys() | come.keys(), key=lambda key: key[::-1]):
        changes += _changes(gone.get(key, []), come.get(key, []), kept=kept)
    return tuple(changes)


def _facts(packages: Iterable[Package]) -> set[_Facts]:
    return {_Facts(one.kind, one.name, one.architecture, one.version) for one in packages}


def _by_name(packages: Iterable[_Facts]) -> Mapping[tuple[PackageKind, str], list[_Facts]]:
    named: defaultdict[tuple[PackageKind, str], list[_Facts]] = defaultdict(list)
    for one in packages:
        named[one.kind, one.name].append(one)
    return named


def _changes(
    gone: list[_Facts], come: list[_Facts], *, kept: AbstractSet[tuple[PackageKind, str, str]]
) -> Iterator[PackageChange]:
    """The changes of one name. What one version left and one other came to is a change; the rest came or went.

    A name of which a version stays is installed in several at once, as kernels are: there nothing took another's place.
    """
    gone, come = sorted(gone), sorted(come)
    for old in list(gone):
        peers = [one for one in gone if one.architecture == old.architecture]
        heirs = [one for one in come if one.architecture == old.architecture]
        if len(peers) == len(heirs) == 1 and old.place not in kept:
            yield _changed(old, heirs[0])
            gone.remove(old)
            come.remove(heirs[0])
    # From one architecture to another, as from `all` to `amd64`.
    if len(gone) == len(come) == 1 and not any(place[:2] == gone[0][:2] for place in kept):
        yield _changed(gone.pop(), come.pop())
    for one in gone:
        yield _change(one, "removed", old=one.version)
    for one in come:
        yield _change(one, "added", new=one.version)


def _changed(old: _Facts, new: _Facts) -> PackageChange:
    direction = _DIRECTIONS[order(new.kind, old.version, new.version)]
    return _change(new, direction, old=old.version, new=new.version)


def _change(one: _Facts, change: Change, *, old: str | None = None, new: str | None = None) -> PackageChange:
    return PackageChange(name=one.name, kind=one.kind, architecture=one.architecture, change=change, old=old, new=new)
