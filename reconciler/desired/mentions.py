"""Paths that a text may name: a command, a script, an argument such as `ANSIBLE_ROLES_PATH=../roles:/etc/roles`.

What a shell makes of its text is not known here. Every word that has the form of a path is told, and whoever asks
sees which of them are there: a word too many costs a rebuild that nobody needed, a word too few an image that is stale.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile

MAX_LENGTH = 256 * 1024
"""Longer text is not looked at: it is data, and no command."""

_HERE = re.compile(r"\$\((?:pwd|PWD)\)|`pwd`|\$PWD\b|\$\{PWD\}|%CD%")
# The innermost first, so that `$(cd "$(dirname "$0")" && pwd)` is one computed beginning in the end.
_COMPUTED = re.compile(r"\$\(([^()]*)\)|\$\{[^{}]*\}|`([^`]*)`|\$\w+|\$[@*#?!-]")
_MARK = "\0"
_QUOTED = re.compile(r"""'([^'\n]*[ \t][^'\n]*)'|"([^"\n]*[ \t][^"\n]*)\"""")
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
    for quoted in _QUOTED.findall(text):
        for part in re.split(r"[=:@]", "".join(quoted)):
            if "/" in part or not is_a_word(part):
                yield from _path(part)


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
