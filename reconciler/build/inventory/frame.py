"""What the script printed, taken apart into sections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.errors import Transient
from reconciler.model.printable import visible

_BEGIN = re.compile(rb"^reconciler-inventory 1\n", re.MULTILINE)
_HEAD = re.compile(rb"section ([a-z0-9-]+) ([0-9]{1,3}) ([0-9]{1,12}) ([0-9]{1,12})\n")
_END = b"end\n"
_LONGEST_MESSAGE = 200


class Unread(Exception):
    """A section could not be read; the text says why, in one line."""


@dataclass(frozen=True)
class Section:
    """What one command there left: its exit status and both streams."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it complained of, in one line."""
        lines = [line.strip() for line in text(self.stderr).splitlines() if line.strip()]
        said = visible(lines[0]) if lines else f"ended with {self.status}"
        return bounded(said, most=_LONGEST_MESSAGE)

    def checked(self) -> bytes:
        """Its stdout. Raises Unread if it failed."""
        if self.status != 0:
            raise Unread(self.message)
        return self.stdout


def sections(output: bytes) -> Mapping[str, Section]:
    """The sections by name.

    Raises:
        Transient: the output is not the script's, or was cut off.
    """
    begin = _BEGIN.search(output)
    if begin is None:
        raise Transient("the machine printed no inventory")
    found: dict[str, Section] = {}
    position = begin.end()
    while head := _HEAD.match(output, position):
        middle = head.end() + int(head[3])
        position = middle + int(head[4])
        found[head[1].decode()] = Section(int(head[2]), output[head.end() : middle], output[middle:position])
    if output[position : position + len(_END)] != _END:
        raise Transient("the inventory was cut off: the connection or the machine ended before it did")
    return found


def text(raw: bytes) -> str:
    """Bytes as text; a byte that is not UTF-8 is shown by its number, as in Python, since it has to fit into JSON."""
    return raw.decode("utf-8", "backslashreplace")


def bounded(value: str, *, most: int) -> str:
    """A text of at most so many characters; of one that is cut, the last is `…`."""
    return value if len(value) <= most else value[: most - 1] + "…"
