"""Who could log in, and who becomes somebody else by running a file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.build.inventory.frame import Section, Unread, bounded, text
from reconciler.model.inventory import User

_LONGEST_NAME = 256
_LONGEST_PATH = 4096
"""PATH_MAX of Linux."""

# Shells that end at once. A shell that /etc/shells does not list is a login shell all the same: SSH runs it.
_NO_SHELLS = frozenset({"nologin", "false", "true", "sync", "shutdown", "halt", "null"})
# A file that went away while it was looked at was none of the image's.
_GONE = re.compile(r"(?:find: .*: No such file or directory\n)+")


def users(sections: Mapping[str, Section]) -> tuple[User, ...]:
    """The accounts of /etc/passwd that have a login shell. Raises Unread if it can't be read."""
    lines = text(sections["users"].checked()).split("\n")
    return tuple(sorted({user for line in lines if (user := _user(line)) is not None}))


def suid(sections: Mapping[str, Section]) -> tuple[str, ...]:
    """Paths of set-user-ID files on the root filesystem. Raises Unread if some could not be looked for."""
    section = sections["suid"]
    if section.status != 0 and not _GONE.fullmatch(text(section.stderr)):
        raise Unread(section.message)
    paths = (text(path) for path in section.stdout.split(b"\0") if path)
    return tuple(sorted({bounded(path, most=_LONGEST_PATH) for path in paths}))


def _user(line: str) -> User | None:
    """A line as passwd(5) has it; None for one that nobody logs in by: malformed, a comment, of NIS, without shell."""
    fields = line.split(":")
    if len(fields) != 7 or not fields[0] or fields[0][0] in "+-#" or not fields[2].isdecimal():
        return None
    name, uid, shell = fields[0], int(fields[2][:10]), fields[6] or "/bin/sh"
    if shell.rpartition("/")[2] in _NO_SHELLS:
        return None
    return User(bounded(name, most=_LONGEST_NAME), uid, bounded(shell, most=_LONGEST_PATH))
