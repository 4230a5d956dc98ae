"""What differs inside two builds: which two are meant, which version is newer, what a build changed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import zip_longest
from typing import Literal, NamedTuple

from reconciler.model.difference import Change, Difference, Listed, Moved, PackageChange
from reconciler.model.errors import UserError
from reconciler.model.inventory import BESIDE_PACKAGES, SECTIONS, Inventory, OperatingSystem, Package, PackageKind
from reconciler.model.lockfile import Build, Channels
from reconciler.model.text import first_few

# Which two builds of an image a person asks to be compared.

_WITHDRAWN = ("rejected", "revoked")
_MOST_NAMED = 8


class NotAmong(UserError):
    """A build is not among those that are known. More may be known where more is read."""


def pair(image: str, builds: Sequence[Build], *, channels: Channels, asked: Sequence[str]) -> tuple[Build, Build]:
    """The older and the newer of the two builds; `builds` stand as in a lockfile, what was recorded last first.

    Nothing asked: the candidate and the build before it. One: that and the build before it. Two: those, in the order
    in which they are asked for. A build may be a channel's name, and its id or key may be cut short.

    Raises:
        NotAmong: there is no such build, none before it, or no candidate.
        UserError: what is asked for may be several builds.
    """
    if not asked:
        if channels.candidate is None:
            raise NotAmong(
                f"{image} has no candidate", hint=f"name a build: {_ids(builds)}" if builds else "nothing is built yet"
            )
        asked = ("candidate",)
    new = find(image, builds, channels=channels, asked=asked[-1])
    old = find(image, builds, channels=channels, asked=asked[0]) if len(asked) > 1 else _before(image, builds, new)
    return old, new


def find(image: str, builds: Sequence[Build], *, channels: Channels, asked: str) -> Build:
    """The build that a person names: by a channel, by its id or its key, or by the beginning of one of these.

    Raises:
        NotAmong: there is no such build.
        UserError: it may be several.
    """
    if asked in ("candidate", "stable"):
        asked = getattr(channels, asked) or asked
    found = [one for one in builds if _is_meant(one, asked)]
    if not found:
        pull = "`git pull`; " if builds else ""
        raise NotAmong(f"no build {asked!r} of {image} is recorded", hint=f"{pull}recorded are: {_ids(builds)}")
    if len(found) > 1:
        raise UserError(f"{asked!r} may be {len(found)} builds of {image}", hint=f"which one? {_ids(found)}")
    return found[0]


def _is_meant(build: Build, asked: str) -> bool:
    """Whether what is asked begins a build's id or its key, with `sha256:` or without; `…` is as keys are printed."""
    beginning = asked.removesuffix("…")
    digits = beginning.removeprefix("sha256:")
    names = (build.key.removeprefix("sha256:"),) if digits != beginning else (
        build.id, build.id.partition("-")[2], build.key.removeprefix("sha256:")
    )  # fmt: skip
    return bool(digits) and any(name.startswith(digits) for name in names)


def _before(image: str, builds: Sequence[Build], build: Build) -> Build:
    """The build whose place it took. One that was withdrawn counts for nothing: the one before it had its place."""
    older = builds[builds.index(build) + 1 :]
    found = next((one for one in older if one.phase not in _WITHDRAWN), None)
    if found is None:
        raise NotAmong(
            f"{build.id} is the first build of {image}: there is none before it to compare it with",
            hint="`reconciler history` shows every build; name two to compare them",
        )
    return found


def _ids(builds: Sequence[Build]) -> str:
    return first_few([one.id for one in builds], most=_MOST_NAMED) or "none"


# Which of two package versions is the newer, as the package managers themselves decide it.
#
# deb: deb-version(7) and dpkg's lib/dpkg/version.c. rpm: rpmio/rpmvercmp.c with `~` and `^`, and the epoch before it.
# apk: not decided here; its suffixes have an order of their own.

Order = Literal[-1, 0, 1]

_DEB_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_RPM_PARTS = re.compile(r"[0-9]+|[a-zA-Z]+|~|\^")


def order(kind: PackageKind, one: str, other: str) -> Order | None:
    """-1 where `one` is older than `other`, 1 where it is newer, 0 where neither is; None where nobody can say."""
    if kind == "apk":
        return None
    return _with_release(_deb if kind == "deb" else _rpm, one, other)


def _with_release(compare: Callable[[str, str], Order], one: str, other: str) -> Order:
    """`[epoch:]version[-release]`: the epoch decides before the version, the version before the release."""
    (epoch, version, release), (other_epoch, other_version, other_release) = _split(one), _split(other)
    by_epoch = _sign(epoch, other_epoch)
    return by_epoch or compare(version, other_version) or compare(release, other_release)


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isascii() and epoch.isdecimal() and len(epoch) <= 10):
        epoch, rest = "0", version
    upstream, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), upstream, release


def _deb(one: str, other: str) -> Order:
    """Text and numbers in turns. In text `~` comes before the end, letters before all else."""
    for (text, number), (other_text, other_number) in zip_longest(
        _DEB_PARTS.findall(one), _DEB_PARTS.findall(other), fillvalue=("", "")
    ):
        for character, other_character in zip_longest(text, other_text, fillvalue=""):
            decided = _sign(_weight(character), _weight(other_character))
            if decided:
                return decided
        decided = _by_number(number, other_number)
        if decided:
            return decided
    return 0


def _weight(character: str) -> int:
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) + (0 if character.isascii() and character.isalpha() else 0x110000)


def _rpm(one: str, other: str) -> Order:
    """Numbers and words, whatever is between them. `~` comes before the end, and the end before `^`."""
    for part, other_part in zip_longest(_RPM_PARTS.findall(one), _RPM_PARTS.findall(other), fillvalue=""):
        if part == other_part:
            continue
        decided = _sign(_rank(part), _rank(other_part))
        if decided:
            return decided
        if part.isdecimal():
            decided = _by_number(part, other_part)
            if decided:
                return decided
            continue
        return 1 if part > other_part else -1
    return 0


def _rank(part: str) -> int:
    """What kind of part it is: a word is older than a number, and a version that goes on newer than one that ends."""
    if not part:
        return 1
    if part in "~^":
        return 0 if part == "~" else 2
    return 4 if part.isdecimal() else 3


def _by_number(one: str, other: str) -> Order:
    # By length and then as text: a version may have more digits than Python turns into a number.
    one, other = one.lstrip("0"), other.lstrip("0")
    return _sign(len(one), len(other)) or (0 if one == other else 1 if one > other else -1)


def _sign(one: int, other: int) -> Order:
    return 0 if one == other else 1 if one > other else -1


# The difference that a build makes: what is inside it, against what was inside another.

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
        unknown=_unknown(old, new),
        **{one.name: _listed(getattr(old, one.name), getattr(new, one.name)) for one in BESIDE_PACKAGES},
    )


def _unknown(old: Inventory, new: Inventory) -> dict[str, str]:
    unknown: dict[str, str] = {}
    for name in ("os", "kernel", *(section.name for section in SECTIONS)):
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
