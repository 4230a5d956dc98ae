"""Paths of a repository: what is at a path, where a written path leads, which paths a text may name."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile

from reconciler.desired.linear import LONGEST, Pattern
from reconciler.model.tree import TreeEntry

# Paths of a repository: what is at a path, what is under it, and where a written path leads.
#
# All begin at the fleet's folder, which is the repository's root unless a fleet lives below it: then `../x` is what
# lies beside it.

ROOT = "."
_SUBMODULE = "160000"
_DESIRED, _STATE, _LOCKFILE = "desired", "state", ".lock.json"
_MOST_GLOBS = 6
LONGEST_PATH = 4096
"""Characters of a path, as Linux has it: what is longer is none, and is looked for nowhere."""
_REPEATED = re.compile(r"(?:\*\*/){2,}")
_BEGINS = re.compile(r"[*?\[{\\]")
# What shells, Go and its doublestar read each in their own way: an escape, `[^a]`, braces within braces.
_STRANGE = re.compile(r"\\|\[\^|\{[^{}]*\{")
_GLOB = re.compile(r"\*\*/?|[*?]|\[!?[^\]]{1,256}\]|\{[^{}]*\}")


class Paths:
    """The paths of one revision, in order. Folders are known by what is in them.

    `below` is the fleet's folder as seen from the repository's root; empty where they are the same.
    """

    def __init__(self, entries: Mapping[str, TreeEntry], *, below: str = "") -> None:
        self.entries = entries
        self.below = below
        self._sorted = sorted(entries)

    @property
    def top(self) -> str:
        """The repository's root as seen from the fleet's folder."""
        return posixpath.relpath(ROOT, self.below or ROOT)

    def resolve(self, written: str, folder: str) -> str | None:
        """Where a path leads that was written in a folder, as `resolve` below."""
        return resolve(written, folder, below=self.below)

    def under(self, folder: str) -> list[str]:
        """Every file at any depth below a folder; none if there is no such folder."""
        if (up := _steps_up(folder)) is not None:
            if not self.below:
                return list(self._sorted)
            return [path for path in self._sorted if _leading(path) <= up]
        first = bisect_left(self._sorted, f"{folder}/")
        # 0 is the character after the slash, so this is the first path after all that begin with `folder/`.
        return self._sorted[first : bisect_left(self._sorted, f"{folder}0", lo=first)]

    def at(self, path: str) -> list[str]:
        """The file of this path, or all files of this folder; none if nothing is there.

        For what is in a submodule, that submodule: it is all that git shows of it.
        """
        if path in self.entries:
            return [path]
        module = self.submodule_of(path)
        return self.under(path) or ([module] if module is not None else [])

    def matching(self, pattern: str) -> list[str]:
        """The files that a pattern matches, as shells read it, and all files of folders that it matches.

        Of one that is stranger than people write them, all that it could match.
        """
        pattern = _REPEATED.sub("**/", pattern)
        inside = self.under(_BEGINS.split(pattern, maxsplit=1)[0].rpartition("/")[0] or ROOT)
        if len(pattern) > LONGEST or len(_GLOB.findall(pattern)) > _MOST_GLOBS or _STRANGE.search(pattern):
            return inside
        try:
            matches = Pattern(_as_expression(pattern)).matches
        except ValueError:  # as `[z-a]`, which a shell takes for itself
            return inside
        return [path for path in inside if matches(path)]

    def submodule_of(self, path: str) -> str | None:
        """The submodule that a path is, or is in; None for everything else."""
        if not self._submodules or len(path) > LONGEST_PATH:
            return None
        modules = (one for one in (path, *_above(path)) if one in self._submodules)
        return next(modules, None)

    def directly_in(self, folder: str) -> list[str]:
        """The files of a folder without those of its subfolders."""
        start = 0 if folder == ROOT else len(folder) + 1
        return [path for path in self.under(folder) if "/" not in path[start:]]

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The folders, each with its slash, in which this fleet and others of the repository record their builds.

        Another one is beside a `desired/` that has a folder for an image whose lockfile is in it. It is in no
        `desired/` itself: an image may be called `state`, and what is in an image's folder feeds that.
        """
        found = {f"{_STATE}/"}
        for path in self.entries:
            if not path.endswith(_LOCKFILE):
                continue
            folder, name = posixpath.split(path)
            fleet, called = posixpath.split(folder)
            image = posixpath.join(fleet, _DESIRED, name.removesuffix(_LOCKFILE))
            if called == _STATE and _DESIRED not in fleet.split("/") and self.under(image):
                found.add(f"{folder}/")
        return tuple(sorted(found))

    @cached_property
    def alike(self) -> frozenset[str]:
        """The paths that several files are shown by, of which one is among the entries."""
        return frozenset(path for path, entry in self.entries.items() if entry.is_alike)

    @cached_property
    def names(self) -> frozenset[str]:
        """What any file or folder is called."""
        return frozenset(name for path in self.entries for name in path.split("/"))

    @cached_property
    def _submodules(self) -> frozenset[str]:
        return frozenset(path for path, entry in self.entries.items() if entry.mode == _SUBMODULE)


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, nearest first."""
    while path := posixpath.dirname(path):
        yield path


def contains(folder: str, path: str) -> bool:
    """Whether a path is a folder, or is in it at any depth."""
    up = _steps_up(folder)
    return _leading(path) <= up if up is not None else path == folder or path.startswith(f"{folder}/")


def resolve(written: str, folder: str, *, below: str = "") -> str | None:
    """Where a path leads that was written in a folder: `/` begins at the fleet's. None if it leaves the repository."""
    joined = written.lstrip("/") if written.startswith("/") else posixpath.join(folder, written)
    return canonical(posixpath.normpath(joined), below=below)


def canonical(path: str, *, below: str) -> str | None:
    """A normalized path in the one form that it has: `../infra/x`, seen from `infra`, is `x`.

    None if it leaves the repository.
    """
    if not _leading(path):
        return path
    from_root = posixpath.normpath(posixpath.join(below, path))
    return None if _leading(from_root) else posixpath.relpath(from_root, below or ROOT)


def relative(path: str, folder: str) -> str:
    """A path as seen from a folder."""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else posixpath.relpath(path, folder)


def _steps_up(folder: str) -> int | None:
    """How far up a folder is that holds the fleet's, or is it; None for any other."""
    if folder == ROOT:
        return 0
    return folder.count("/") + 1 if set(folder.split("/")) == {".."} else None


def _leading(path: str) -> int:
    """How often a normalized path goes up."""
    up = 0
    while path.startswith("../", 3 * up) or path[3 * up :] == "..":
        up += 1
    return up


def _as_expression(pattern: str) -> str:
    """A shell's pattern as a regular expression that also matches what is below."""
    parts, end = [], 0
    for match in _GLOB.finditer(pattern):
        parts += [re.escape(pattern[end : match.start()]), _meaning(match[0])]
        end = match.end()
    return "".join([*parts, re.escape(pattern[end:]), r"(?:/[\s\S]*)?"])


def _meaning(glob: str) -> str:
    match glob[0]:
        case "*" if glob == "**/":
            return "(?:.*/)?"
        case "*":
            return ".*" if glob == "**" else "[^/]*"
        case "?":
            return "[^/]"
        case "[":
            # A hyphen makes a range in both.
            members = re.escape(glob[1:-1].removeprefix("!")).replace(r"\-", "-")
            return f"[{'^' if glob[1] == '!' else ''}{members}]"
        case _:
            return f"(?:{'|'.join(map(re.escape, glob[1:-1].split(',')))})"


# Paths that a text may name: a command, a script, an argument such as `ANSIBLE_ROLES_PATH=../roles:/etc/roles`.
#
# What a shell makes of its text is not known here. Every word that has the form of a path is told, and whoever asks
# sees which of them are there: a word too many costs a rebuild that nobody needed, a word too few an image that is
# stale.

MAX_LENGTH = 256 * 1024
"""Longer text is not looked at: it is data, and no command."""

_HERE = re.compile(r"\$\((?:pwd|PWD)\)|`pwd`|\$PWD\b|\$\{PWD\}|%CD%")
# The innermost first, so that `$(cd "$(dirname "$0")" && pwd)` is one computed beginning in the end.
_COMPUTED = re.compile(r"\$\(([^()]*)\)|\$\{[^{}]*\}|`([^`]*)`|\$\w+|\$[@*#?!-]")
_MARK = "\0"
_BETWEEN = re.compile(r"[\s'\"`;|&()<>,]+")
_ENTERED = re.compile(
    r"(?:^|[\s;&|(])(?:cd|pushd|-C|--directory|--chdir|--prefix|--project-directory)"
    r"[\s=]+['\"]?([^\s'\";&|()]+)"
)
# Where a command has the name of a folder although it is a word as any other: behind these options, in variables that
# say so by their names, and among the arguments of programs that read whole folders.
_OPTION = re.compile(
    r"(?:^|[\s=])(?:-i|-M|--inventory(?:-file)?|--module-path|--roles-path|--collections-path)[\s=]+['\"]?([^\s'\";&|()]+)"
)
_VARIABLE = re.compile(
    r"(?:^|[\s;&|('\"])[A-Z_]*(?:PATHS?|DIRS?|DIRECTORY|FOLDER|ROOT|SRC|INVENTORY|LIBRARY|PLUGINS|MODULE_UTILS)"
    r"=['\"]?([^\s'\";&|()]+)",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"[;\n|&()`]+")
_BEFORE_A_PROGRAM = re.compile(r"(?:\w+=\S*|sudo|env|exec|time|nice|do|then|else|if|while|!|-\S*)", re.ASCII)
_READS_FOLDERS = frozenset(
    (
        "7z", "cp", "diff", "du", "find", "for", "genisoimage", "grep", "install", "ln", "ls", "mkisofs", "mv", "rsync",
        "scp", "tar", "xorriso", "zip",
    )
)  # fmt: skip
_READS_THE_LAST = {"docker": "build", "podman": "build", "buildah": "bud"}
MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""What make reads without being told."""
_MAKES = frozenset({"make", "gmake"})
_LONGEST_PATH = 1024
_NESTED = 8


@dataclass(frozen=True)
class Mention:
    """A path as it stands in a text."""

    path: str
    anywhere: bool = False
    """Whether its beginning is computed (`$ROOT/files/x`), so that it may begin at any folder."""


def is_a_word(path: str) -> bool:
    """Whether a path could as well be an ordinary word: it has neither a slash nor an extension."""
    return "/" not in path and re.search(r"[^.]\.\w", path) is None


def mentioned(text: str) -> Iterator[Mention]:
    """Every word of a text that may be a path, in order; options, addresses and computed parts are left out.

    Of `files/$NAME.conf` the folder is told: any file in it may be meant.
    """
    if len(text) > MAX_LENGTH:
        return
    text = _HERE.sub(".", text.replace(_MARK, " "))
    for _ in range(_NESTED):
        within = [one for match in _COMPUTED.finditer(text) for one in match.groups() if one]
        for one in within:
            yield from _in_words(one)
        text, count = _COMPUTED.subn(_MARK, text)
        if not count:
            break
    yield from _in_words(text)
    if any(program in _MAKES for program, _ in _commands(text)):
        yield from map(Mention, MAKEFILES)


def folders_entered(text: str) -> Iterator[str]:
    """The folders into which a command changes before it goes on: those of `cd`, `pushd`, `make -C`."""
    if len(text) <= MAX_LENGTH:
        for folder in _ENTERED.findall(_HERE.sub(".", text)):
            if "$" not in folder and "`" not in folder:
                yield folder


def folders_taken(text: str) -> Iterator[str]:
    """The words that name a folder where they are: an inventory, a path of roles, what is copied or packed.

    Elsewhere a mere word is none: `echo web` means no folder `web`.
    """
    if len(text) > MAX_LENGTH:
        return
    found = [*_OPTION.findall(text), *_VARIABLE.findall(text)]
    for program, words in _commands(text):
        if program in _READS_FOLDERS:
            found += words
        elif _READS_THE_LAST.get(program) in words:
            found += words[-1:]
    for word in found:
        for part in re.split("[:,]", word):
            if part.strip(".") and not part.startswith(("-", "~")) and "$" not in part and is_a_word(part):
                yield part


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The programs that a text calls, as far as they are named, with their arguments."""
    for command in _COMMAND.split(text):
        words = command.replace("'", " ").replace('"', " ").split()
        called = list(dropwhile(_BEFORE_A_PROGRAM.fullmatch, words))
        if called:
            yield posixpath.basename(called[0]), called[1:]


def _in_words(text: str) -> Iterator[Mention]:
    for word in _BETWEEN.split(text):
        if "://" not in word:
            for part in re.split(r"[=:@]", word):
                yield from _path(part)
    # In quotes a path may have blanks in it.
    for quoted in _quoted(text):
        for part in re.split(r"[=:@]", quoted):
            if "/" in part or not is_a_word(part):
                yield from _path(part)


def _quoted(text: str) -> Iterator[str]:
    """What stands between two quotes of a line, if there is a blank in it; which of them begin is not known."""
    for line in text.split("\n"):
        for quote in "'\"":
            yield from (one for one in line.split(quote)[1:-1] if " " in one or "\t" in one)


def _path(part: str) -> Iterator[Mention]:
    if not part or len(part) > _LONGEST_PATH or part.startswith(("-", "~")):
        return
    if _MARK not in part:
        yield Mention(part)
        return
    start, _, rest = part.partition(_MARK)
    if not start and rest and _MARK not in rest:
        if rest.strip("/."):
            yield Mention(rest.lstrip("/"), anywhere=True)
    elif "/" in start and posixpath.dirname(start).strip("/."):
        yield Mention(f"{posixpath.dirname(start)}/")
    elif not start:
        # "$ROOT/files/$NAME": the folder below the computed beginning.
        folder = posixpath.dirname(rest.partition(_MARK)[0]).strip("/")
        if folder.strip("/."):
            yield Mention(f"{folder}/", anywhere=True)
