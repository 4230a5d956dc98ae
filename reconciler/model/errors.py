"""The one tree of errors. Adapters translate what they meet into these; the command line prints them.

A message has up to three parts, each a line: what happened, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.model.text import did_you_mean, first_few, visible, visible_lines

DONE = 0
FAILED = 1
DRIFT = 2
PARTIAL = 3
LOST_RACE = 4
INTERRUPTED = 130
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands. Lines and columns count from 1; 0 means not known."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Read as `path:line:column`, leaving out what is not known. A path may hold anything, and is made visible."""
        parts = [visible(self.path), *(str(number) for number in (self.line, self.column) if number)]
        return ":".join(parts)


class ReconcilerError(Exception):
    """Anything this program expects to go wrong. `exit_code` is what the process ends with."""

    exit_code = FAILED

    def __init__(self, what: str, *, where: Place | None = None, hint: str | Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint: tuple[str, ...] = (hint,) if isinstance(hint, str) else tuple(hint)

    def __str__(self) -> str:
        """Lay the message out as it is printed: the first line, then one indented line per fix."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return visible_lines("\n  ".join([head, *self.hint]))


class UserError(ReconcilerError):
    """The person can fix it: a file, a flag, a missing tool, a missing right."""


def no_image(name: str, known: Collection[str], *, those: str, of: Collection[str] | None = None) -> UserError:
    """Say that no image has a name, and which was probably meant of the `known`.

    Where none is near, all are listed, or those `of` them that are as `those` says: `recorded`, or `declared`.
    """
    listed = first_few(sorted(known if of is None else of), most=_MOST_NAMED) or "none"
    return UserError(
        f"no image is named {name!r}", hint=did_you_mean(name, known, otherwise=f"{those} are: {listed}")
    )  # fmt: skip


class Contention(ReconcilerError):
    """Somebody else was faster, again and again. What was built is kept and will be adopted."""

    exit_code = LOST_RACE


class Transient(ReconcilerError):
    """It may work the next time: a throttled call, a network that is down, a full capacity pool."""

    exit_code = PARTIAL


class Locked(Transient):
    """Another process has its hands on what this one needs, for a moment; or was killed, and its lock stayed."""


class Terminal(ReconcilerError):
    """It will not work until something outside changes: a forbidden push, a refused credential."""


class NoCredentials(Terminal):
    """There is nothing to sign in with: a job of a fork, to which CI hands no secrets."""
