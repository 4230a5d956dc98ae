"""Versions, and what may be asked of them: `>= 1.7.0, < 2`, as Packer writes it for itself and for its plugins.

The rules are those of the library that Packer compares with (hashicorp/go-version 1.9.0, constraint.go). A version
that is compared is its core: Packer leaves out what follows a `-` before it looks (hcl2template/parser.go, 1.16.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

Version = tuple[int, int, int]
"""The core of a version: `1.16.0` is (1, 16, 0), and so is `1.16`."""

# Nine digits: more are no version, and `int` is slow on thousands of them. What follows the numbers may stand with or
# without a dash, in parts between dots, and with a dash alone it is nothing.
_PART = r"[0-9A-Za-z~-]+"
_VERSION = re.compile(
    r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,15}?)"
    rf"(?:-([0-9][0-9A-Za-z~-]*(?:\.{_PART})*)|-?([A-Za-z~-][0-9A-Za-z~-]*(?:\.{_PART})*))?(?:\+{_PART}(?:\.{_PART})*)?"
)
_TERM = re.compile(r"\s*+(<=|>=|!=|~>|<|>|=|)\s*+(\S+)\s*")


def parse_version(text: str) -> Version | None:
    """The core of `1.8.2`, `v1.8.2` or `1.9.0-dev`; None for what is no version."""
    match = _VERSION.fullmatch(text)
    return _core(_numbers(match[1])) if match else None


_COMPARISONS: Mapping[str, Callable[[int], bool]] = {
    "": lambda compared: compared == 0,
    "=": lambda compared: compared == 0,
    "!=": lambda compared: compared != 0,
    ">": lambda compared: compared > 0,
    "<": lambda compared: compared < 0,
    ">=": lambda compared: compared >= 0,
    "<=": lambda compared: compared <= 0,
}


@dataclass(frozen=True)
class _Term:
    operator: str
    numbers: tuple[int, ...]
    """As many as were written, which `~>` needs to know."""
    prerelease: bool

    def allows(self, version: Version) -> bool:
        # Of two versions with as many numbers as each other alone the library looks at what follows them.
        compared = _compare(version, self.numbers) or int(self.prerelease and len(self.numbers) <= len(version))
        if self.operator == "~>":
            return compared >= 0 and not self.prerelease and self._is_of_the_same_line(version)
        return _COMPARISONS[self.operator](compared)

    def _is_of_the_same_line(self, version: Version) -> bool:
        """`~> 1.2` takes every 1.x from 1.2 on, `~> 1.2.3` every 1.2.x from 1.2.3 on, `~> 1` whatever is newer."""
        fixed, last = self.numbers[:-1], _core(self.numbers)[2]
        return len(self.numbers) <= len(version) and version[: len(fixed)] == fixed and version[2] >= last


@dataclass(frozen=True)
class Constraint:
    """What is asked of a version. `text` is as it was written; without terms everything is allowed."""

    text: str
    terms: tuple[_Term, ...]

    def allows(self, version: Version) -> bool:
        """Whether a version is one that was asked for."""
        return all(term.allows(version) for term in self.terms)

    @property
    def names_prerelease(self) -> bool:
        """Whether a term is of a prerelease, as `>= 1.15.0-beta` is."""
        return any(term.prerelease for term in self.terms)

    def __str__(self) -> str:
        return self.text


def parse_constraint(text: str) -> Constraint:
    """Read a constraint: terms separated by commas. An empty text allows everything.

    Raises:
        ValueError: it is none; the message is the term that can't be read.
    """
    return Constraint(text.strip(), tuple(map(_term, text.split(","))) if text.strip() else ())


def _term(text: str) -> _Term:
    match = _TERM.fullmatch(text)
    version = _VERSION.fullmatch(match[2]) if match else None
    if match is None or version is None:
        raise ValueError(text.strip())
    return _Term(match[1], _numbers(version[1]), prerelease=bool(version[2] or version[3]))


def newest(versions: Sequence[str]) -> str | None:
    """The highest of several versions, a release before the prereleases of the same numbers; None of none."""
    return max(versions, key=lambda text: (parse_version(text) or (), "-" not in text), default=None)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _core(numbers: tuple[int, ...]) -> Version:
    first, second, third, *_ = (*numbers, 0, 0)
    return first, second, third


def _compare(version: Version, other: tuple[int, ...]) -> int:
    for mine, theirs in zip_longest(version, other, fillvalue=0):
        if mine != theirs:
            return 1 if mine > theirs else -1
    return 0
