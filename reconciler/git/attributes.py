"""Which files go through a filter (gitattributes(5), "filter"), and where that is written.

A filter is a program of whoever checks out: what is in their files is not what git keeps, and what people review.
Git itself is the judge of its patterns. Where an attribute was set it does not tell, so every line that sets a filter
is given one more attribute, with the line's own number, in a copy.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git
from reconciler.model.errors import Place
from reconciler.model.tree import REGULAR_MODES, Tree, TreeEntry, inside

_FILE = ".gitattributes"
_SETS_FILTER = re.compile(rb"[ \t\r][-!]?filter(?:=[^ \t\r\n]*)?[ \t\r]*(?=[ \t\r]|$)")
_NO_FILTER = frozenset({"unspecified", "set", "unset"})


@dataclass(frozen=True)
class Filter:
    """The filter that a file goes through, and the line that says so."""

    name: str
    place: Place


def filters(tree: Tree, paths: Iterable[str]) -> Mapping[str, Filter]:
    """The files among `paths` that a filter is set for by the .gitattributes of a tree, and by nobody's settings.

    The paths are not looked at where no .gitattributes sets a filter: then it costs one read, or none. A fleet that is
    below the root has the attributes of the folders above it as well, as git has them.
    """
    entries, below = tree.entries, tree.below
    there = [
        entry
        for path, entry in entries.items()
        if path.endswith(_FILE) and path.rpartition("/")[2] == _FILE and _is_plain(entry, below)
    ]
    contents = tree.read(entry.oid for entry in there) if there else {}
    there = [entry for entry in there if b"filter" in contents[entry.oid]]
    if not there:
        return {}
    regular = (path for path in dict.fromkeys(paths) if path in entries and _is_plain(entries[path], below))
    wanted = {inside(path, below): path for path in regular}
    # Nobody can set it: it is another one each time.
    mark, places = f"reconciler-{secrets.token_hex(8)}", list[Place]()
    with tempfile.TemporaryDirectory(prefix="reconciler-attributes-") as folder:
        for entry in there:
            copy = Path(folder, inside(entry.path, below))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(_marked(contents[entry.oid], entry.path, mark=mark, places=places))
        return {
            wanted[path]: Filter(name, places[int(number)] if number.isdecimal() else Place(_FILE))
            for path, name, number in _asked(Path(folder), wanted, mark=mark)
        }


def _is_plain(entry: TreeEntry, below: str) -> bool:
    return entry.mode in REGULAR_MODES and stays_below(inside(entry.path, below))


def stays_below(path: str) -> bool:
    """Whether a path leads to a file below the folder that it is seen from. A tree may hold any name, also `..`."""
    return not any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/"))


def _marked(content: bytes, path: str, *, mark: str, places: list[Place]) -> bytes:
    """A .gitattributes whose lines that set a filter set the mark as well: to the number of their place."""
    lines = content.split(b"\n")
    for number, line in enumerate(lines):
        if _SETS_FILTER.search(line) and not line.lstrip().startswith(b"#"):
            lines[number] = line.rstrip() + f" {mark}={len(places)}".encode()
            places.append(Place(path, number + 1))
    return b"\n".join(lines)


def _asked(folder: Path, paths: Iterable[str], *, mark: str) -> Iterable[tuple[str, str, str]]:
    """Path, filter and mark of each path that has a filter."""
    git = Git(folder, {"GIT_ATTR_NOSYSTEM": "1"})
    git.run("init", "--quiet", "--template=")
    answer = git.run(
        *("-c", f"core.attributesFile={os.devnull}", "check-attr", "-z", "--stdin", "filter", mark),
        stdin="".join(f"{path}\0" for path in paths).encode(),
    )
    values = os.fsdecode(answer.stdout).split("\0")
    for start in range(0, len(values) - 5, 6):
        path, _, name, _, _, number = values[start : start + 6]
        if name not in _NO_FILTER:
            yield path, name, number
