"""Which files of the repository a template reads, and what of its reading can't be seen from the repository."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.desired.packer.evaluate import CHECKOUT
from reconciler.desired.packer.naming import Named, Use, Weight
from reconciler.desired.packer.syntax import UNKNOWN, as_text
from reconciler.desired.paths import is_a_word
from reconciler.model.errors import Place
from reconciler.model.text import shorten

_TEMPLATE_ENGINE = "{{"
"""Packer replaces `{{ … }}` while it builds, also within HCL's constants."""
_WEIGHTS: tuple[Weight, ...] = ("needed", "optional", "mentioned")
_PATTERN = re.compile(r"[*?\[]|\{[^{}]*,[^{}]*\}")
_FILESET = "fileset()"
"""Reads a backslash as an escape: `\\x.sh` is x.sh."""


@dataclass(frozen=True)
class Read:
    """A path that the template reads, from the fleet's folder; it begins with `..` where it leaves that."""

    path: str
    place: Place
    weight: Weight = "needed"
    uses: frozenset[Use] = frozenset()
    base: str = "."
    """The folder that it begins at."""
    from_root: str | None = None
    """Where the path would lead if Packer ran in the fleet's folder; None if that makes no difference."""
    is_pattern: bool = False
    is_word: bool = False
    """Whether it may be an ordinary word of a command: then it is a file or nothing, and no folder."""


def read_references(named: Iterable[Named]) -> tuple[Read, ...]:
    """Every path that can be known, each once at its first place. Absolute paths of the machine are left out."""
    found: dict[str, Read] = {}
    for one in named:
        path = repository_path(one.value, one.base)
        if path is None:
            continue
        read = _read(one, path)
        other = found.get(path)
        if other is not None:
            first, second = sorted((other, read), key=lambda one: (_WEIGHTS.index(one.weight), one.is_word))
            read = dataclasses.replace(first, uses=first.uses | second.uses)
        found[path] = read
    return tuple(sorted(found.values(), key=lambda one: (one.place.path, one.place.line, one.path)))


def notes_on_references(named: Iterable[Named]) -> tuple[str, ...]:
    """What may be read although no key can tell: one line for each place, in order of places."""
    found: dict[Place, str] = {}
    for one in named:
        note = _note(one)
        if note is not None:
            found.setdefault(one.place, note)
    places = sorted(found, key=lambda place: (place.path, place.line, place.column))
    return tuple(f"{place}: {found[place]}" for place in places)


def _read(named: Named, path: str) -> Read:
    text = as_text(named.value) or ""
    from_root = repository_path(named.value, CHECKOUT) if named.starts_where_packer_runs else path
    return Read(
        path,
        named.place,
        named.weight,
        uses=frozenset({named.use}),
        base=_in_checkout(named.base) or ".",
        from_root=from_root if from_root != path else None,
        is_pattern=_PATTERN.search(text) is not None or (named.by == _FILESET and "\\" in text),
        is_word=named.weight == "mentioned" and is_a_word(text),
    )


def _note(named: Named) -> str | None:
    written = as_text(named.value)
    if written is not None and written.lower().startswith("file:"):
        return f"{shorten(written, limit=120)} is read from the machine that builds: it is not in the key"
    if named.use == "credential" or (named.weight != "needed" and not (named.weight == "optional" and named.use)):
        return None
    text = as_text(named.value)
    if named.value is UNKNOWN or (text is not None and _TEMPLATE_ENGINE in text):
        return f"what {named.by} names is only known to Packer: files outside packer.inputs would not be in the key"
    if text is not None and text.startswith(("/", "~")) and _in_checkout(text) is None:
        return f"{shorten(text, limit=120)} is read from the machine that builds: it is not in the key"
    return None


def repository_path(value: object, base: str) -> str | None:
    """The path from the fleet's folder, `.` for that itself; None for what is unknown, or of the machine."""
    text = as_text(value)
    if not text or _TEMPLATE_ENGINE in text or "://" in text or text.startswith("~") or "\0" in text:
        return None
    inside = _in_checkout(text)
    if inside is None and text.startswith("/"):
        return None
    # Not from the checkout's absolute path: too many `..` would end at the root of the machine.
    start = _in_checkout(base) or "."
    return posixpath.normpath(inside if inside is not None else posixpath.join(start, text))


def _in_checkout(path: str) -> str | None:
    """What follows the checkout in a path; None for one that does not begin there."""
    if path == CHECKOUT:
        return "."
    return path.removeprefix(f"{CHECKOUT}/") or "." if path.startswith(f"{CHECKOUT}/") else None
