"""Which files go through a filter (gitattributes(5), "filter"), and where that is written.

A filter is a program of whoever checks out: what is in their files is not what git keeps, and what people review.
Git itself is the judge of its patterns. Where an attribute was set it does not tell, so every line that sets a filter
is given one more attribute, with its own number, in a copy.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git
from reconciler.model.errors import Place
from reconciler.model.tree import REGULAR_MODES, Tree, inside, outside

_FILE = ".gitattributes"
_MARK = "reconciler-place"
_SETS_FILTER = re.compile(rb"[ \t][-!]?filter(?:=[^ \t\r\n]*)?[ \t\r]*(?=[ \t\r]|$)")
_NO_FILTER = frozenset({"unspecified", "set", "unset"})


@dataclass(frozen=True)
class Filter:
    """The filter that a file goes through, and the line that says so."""

    name: str
    place: Place


def filters(tree: Tree, paths: Iterable[str]) -> Mapping[str, Filter]:
    """The files among `paths` that a filter is set for by the .gitattributes of a tree, and by nobody's settings.

    Costs nothing where no .gitattributes lies above one of the paths, and one read where none of those sets a filter.
    """
    entries, below = tree.entries, tree.below
    regular = (path for path in dict.fromkeys(paths) if path in entries and entries[path].mode in REGULAR_MODES)
    # As git has them: a fleet that is below the root has the attributes of the folders above it as well.
    wanted = {named: path for path in regular if stays_below(named := inside(path, below))}
    folders = {folder for path in wanted for folder in _above(path)}
    there = [
        entry
        for folder in sorted(folders)
        if (entry := entries.get(outside(f"{folder}{_FILE}", below))) is not None and entry.mode in REGULAR_MODES
    ]
    contents = tree.read(entry.oid for entry in there) if there else {}
    if not any(b"filter" in contents[entry.oid] for entry in there):
        return {}
    places: list[Place] = []
    with tempfile.TemporaryDirectory(prefix="reconciler-attributes-") as folder:
        for entry in there:
            copy = Path(folder, inside(entry.path, below))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(_marked(contents[entry.oid], entry.path, places))
        asked = _asked(Path(folder), wanted)
        return {wanted[path]: Filter(name, places[int(number)]) for path, name, number in asked}


def stays_below(path: str) -> bool:
    """Whether a path leads to a file below the folder that it is seen from. A tree may hold any name, also `..`."""
    return not any(part in ("", ".", "..") or part.lower() == ".git" for part in path.split("/"))


def _above(path: str) -> Iterable[str]:
    """The folders that a path is in, each with its slash; that of the repository's root is empty."""
    parts = path.split("/")[:-1]
    return ("".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts) + 1))


def _marked(content: bytes, path: str, places: list[Place]) -> bytes:
    lines = content.split(b"\n")
    for number, line in enumerate(lines):
        if _SETS_FILTER.search(line) and not line.lstrip().startswith(b"#"):
            lines[number] = line.rstrip() + f" {_MARK}={len(places)}".encode()
            places.append(Place(path, number + 1))
    return b"\n".join(lines)


def _asked(folder: Path, paths: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """Path, filter and mark of each path that has a filter."""
    git = Git(folder, {"GIT_ATTR_NOSYSTEM": "1"})
    git.run("init", "--quiet", "--template=")
    answer = git.run(
        *("-c", f"core.attributesFile={os.devnull}", "check-attr", "-z", "--stdin", "filter", _MARK),
        stdin="".join(f"{path}\0" for path in paths).encode(),
    )
    values = os.fsdecode(answer.stdout).split("\0")
    for start in range(0, len(values) - 5, 6):
        path, _, name, _, _, number = values[start : start + 6]
        if name not in _NO_FILTER and number.isdecimal():
            yield path, name, number
