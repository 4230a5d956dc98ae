"""Which files of the repository a template reads, and what of its reading can't be seen from the repository."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.desired.located import shorten
from reconciler.desired.packer.evaluate import CHECKOUT
from reconciler.desired.packer.named_files import Named
from reconciler.desired.packer.value import UNKNOWN, as_text
from reconciler.model.errors import Place

_TEMPLATE_ENGINE = "{{"
"""Packer replaces `{{ … }}` while it builds, also within HCL's constants."""


@dataclass(frozen=True)
class Read:
    """A path that the template reads, from the repository's root; beginning with `..` where it leaves it."""

    path: str
    place: Place
    may_be_absent: bool = False
    from_root: str | None = None
    """Where the path would lead if Packer ran in the repository's root; None if that makes no difference."""


def read_references(named: Iterable[Named]) -> tuple[Read, ...]:
    """Every path that can be known, each once at its first place. Absolute paths of the machine are left out."""
    found: dict[str, Read] = {}
    for one in named:
        path = repository_path(one.value, one.base)
        if path is not None and (path not in found or found[path].may_be_absent):
            from_root = repository_path(one.value, CHECKOUT) if one.starts_where_packer_runs else path
            found[path] = Read(path, one.place, one.may_be_absent, from_root if from_root != path else None)
    return tuple(sorted(found.values(), key=lambda one: (one.place.path, one.place.line, one.path)))


def notes_on_references(named: Iterable[Named]) -> tuple[str, ...]:
    """What may be read although no key can tell: one line for each place, in order of places."""
    found: dict[Place, str] = {}
    for one in named:
        note = None if one.is_credential else _note(one)
        if note is not None:
            found.setdefault(one.place, note)
    places = sorted(found, key=lambda place: (place.path, place.line, place.column))
    return tuple(f"{place}: {found[place]}" for place in places)


def _note(named: Named) -> str | None:
    text = as_text(named.value)
    if named.value is UNKNOWN or (text is not None and _TEMPLATE_ENGINE in text):
        return f"what {named.by} names is only known to Packer: files outside packer.inputs would not be in the key"
    if text is not None and _is_of_the_machine(text):
        return f"{shorten(text, limit=120)} is read from the machine that builds: it is not in the key"
    return None


def _is_of_the_machine(text: str) -> bool:
    return text.startswith(("/", "~")) and posixpath.normpath(text) != CHECKOUT and not text.startswith(f"{CHECKOUT}/")


def repository_path(value: object, base: str) -> str | None:
    """The path from the repository's root, `.` for the root itself; None for unknown, foreign and pattern paths."""
    text = as_text(value)
    if not text or _TEMPLATE_ENGINE in text or "://" in text or text.startswith("~") or "\0" in text:
        return None
    if any(character in text for character in "*?["):
        return None
    path = posixpath.normpath(posixpath.join(base, text))
    if path == CHECKOUT:
        return "."
    if path.startswith(f"{CHECKOUT}/"):
        return path.removeprefix(f"{CHECKOUT}/")
    if text.startswith("/") and not text.startswith(f"{CHECKOUT}/"):
        return None
    return posixpath.relpath(path, CHECKOUT)
