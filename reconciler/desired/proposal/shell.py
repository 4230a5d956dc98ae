"""Where a shell is after the commands of a line: `cd`, `pushd` and `popd`, followed through subshells."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, replace

Shells = tuple["Shell", ...]
"""A shell and the subshells that are open in it, the innermost last."""

_DEEPEST = 32  # subshells in subshells, and folders to go back to, that are followed
_LONGEST = 4096  # characters of a path
_MARKS = "();|&"
_MOVES = frozenset({"cd", "chdir", "pushd", "popd"})
_BEFORE_A_COMMAND = frozenset({"do", "then", "else", "elif", "if", "while", "until", "!", "{", "time", "-c"})
_WORDS = re.compile(rf"[{re.escape(_MARKS)}]+|[^\s{re.escape(_MARKS)}]+")


@dataclass(frozen=True)
class Shell:
    """Where a shell is, as it is written from where it began, which is empty; and the folders it may go back to."""

    folder: str = ""
    before: str = ""
    pushed: tuple[str, ...] = ()
    opened: str = ""
    """What began it: `(`, or the `{` of a function, whose body runs elsewhere and later; empty for a script."""

    def moved(self, command: str, to: str) -> Shell:
        """Where it is after one of the commands that change the folder."""
        if command == "popd":
            folder = self.pushed[-1] if self.pushed else self.folder
            return replace(self, folder=folder, before=self.folder, pushed=self.pushed[:-1])
        pushed = (*self.pushed, self.folder)[-_DEEPEST:] if command == "pushd" else self.pushed
        return replace(self, folder=self._reached(to), before=self.folder, pushed=pushed)

    def _reached(self, to: str) -> str:
        if to == "-":
            return self.before
        if not to or to.startswith("~"):
            return "*"  # home
        if to.startswith(("/", "*")) or not self.folder:
            return to
        joined = posixpath.join(self.folder, to)
        return posixpath.normpath(joined) if len(joined) <= _LONGEST else "*"


def followed(text: str, shells: Shells, *, begins: bool) -> Shells:
    """The shells after a part of a line; it `begins` with a command, or in the midst of one."""
    words = _words(text)
    for index, word in enumerate(words):
        if word.strip(_MARKS) == "":
            shells = _through(word, shells)
            begins = True
        elif word in "{}":
            shells = _in_function(word, shells, after=words[index - 1] if index else "")
            begins = True
        else:
            command = word.lstrip("@+-") if index == 0 else word
            if begins and command in _MOVES:
                after = words[index + 1 : index + 4]  # there may be flags of its own: `cd -P -- x`
                to = next((one for one in after if one == "-" or not one.startswith("-")), "")
                to = "" if to.strip(_MARKS) == "" else to
                shells = (*shells[:-1], shells[-1].moved(command, to))
            begins = word in _BEFORE_A_COMMAND
    return shells


def _through(marks: str, shells: Shells) -> Shells:
    for mark in marks:
        if mark == "(" and len(shells) < _DEEPEST:
            shells = (*shells, replace(shells[-1], opened="("))
        elif mark == ")" and shells[-1].opened == "(":
            shells = shells[:-1]
    return shells


def _in_function(brace: str, shells: Shells, *, after: str) -> Shells:
    if brace == "{":
        opens = after.startswith("()") and len(shells) < _DEEPEST
        return (*shells, replace(shells[-1], opened="{")) if opens else shells
    return shells[:-1] if shells[-1].opened == "{" else shells


def _words(text: str) -> list[str]:
    """The words of a line without their quotes, and runs of marks such as `);`, up to a comment."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_MARKS)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:  # a quote that goes on in another line, or around a command
        words = _WORDS.findall(text.replace('"', " ").replace("'", " "))
    end = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
    return words[:end]
