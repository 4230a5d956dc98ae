"""A value that knows where in a file it stands, whatever the file's syntax was."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from reconciler.model.errors import Place

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document to a value in it."""

NOTHING: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Located:
    """A value with its place; the place of a mapping's member is that of its key, where a reader looks for it."""

    value: dict[str, Located] | list[Located] | str | int | float | bool | None
    place: Place
    text: str | None = None
    """An unquoted scalar as it was written: `true` or `123` where text may have been meant."""

    def plain(self, *, as_text: Collection[Path] = NOTHING, here: Path = ()) -> Any:
        """The value without places. Scalars at the paths `as_text` come as they were written.

        A key without a value counts as not written, which also is how an image takes back a default.
        """
        if isinstance(self.value, dict):
            return {
                key: member.plain(as_text=as_text, here=(*here, key))
                for key, member in self.value.items()
                if member.value is not None
            }
        if isinstance(self.value, list):
            return [item.plain(as_text=as_text, here=(*here, index)) for index, item in enumerate(self.value)]
        return self.text if self.text is not None and here in as_text else self.value

    def follow(self, path: Path) -> tuple[Path, Located]:
        """Go down a path as far as it exists; returns how far that was, and what is there."""
        at = self
        for depth, step in enumerate(path):
            below = at._member(step)
            if below is None:
                return path[:depth], at
            at = below
        return path, at

    def _member(self, step: str | int) -> Located | None:
        if isinstance(self.value, dict):
            return self.value.get(step) if isinstance(step, str) else None
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def place_of(self, *path: str | int) -> Place:
        """Where a path stands, or the nearest thing above it."""
        return self.follow(path)[1].place

    def kind(self) -> str:
        """Say what the value is, as in `found a number`."""
        match self.value:
            case None:
                return "nothing"
            case bool():
                return "true" if self.value else "false"
            case int() | float():
                return "a number"
            case str():
                return f'"{shorten(self.value)}"'
            case list():
                return "a list"
            case _:
                return "a mapping"


def shorten(text: str, *, limit: int = 60) -> str:
    """Text for a message: one line, printable, at most `limit` characters."""
    line = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def merge(under: Located, over: Located, *, whole: frozenset[str] = frozenset()) -> Located:
    """Lay one document over another: mappings merge, everything else replaces.

    `whole` names top-level keys that are one choice, so that their mappings replace as well.
    """
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(under.value)
    for key, member in over.value.items():
        merged[key] = merge(merged[key], member) if key in merged and key not in whole else member
    return Located(merged, over.place)
