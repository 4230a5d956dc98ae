"""Which of two package versions is the newer, as the package managers themselves decide it.

deb: deb-version(7) and dpkg's lib/dpkg/version.c. rpm: rpmio/rpmvercmp.c with `~` and `^`, and the epoch before it.
apk: not decided here; its suffixes have an order of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import zip_longest
from typing import Literal

from reconciler.model.inventory import PackageKind

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
