"""What the functions of a shell script come to where they are called.

They are read, never run: in place of `build web prod` stand the lines of `build() { … }`, with `web` and `prod` in
them. A function that nothing calls in its script stays as it is written: another may take it in, or `"$@"`
call it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from reconciler.model.errors import Place

Line = tuple[tuple[Place, int], str]
"""A line of a script, with what a backslash continues, behind where it is: a part of a file, and its number there."""

_BEGINS = re.compile(r"\s*(?:function\s+([\w:.-]+)\s*(?:\(\s*\))?|([\w:.-]+)\s*\(\s*\))\s*(?:(\{)(?=\s|$)|$)")
_OPENS = re.compile(r"\s*\{(?=\s|$)")
_BRACES = re.compile(
    r"""\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\$\{[^{}]*\}|(?<![^\s;(])[{](?=\s|$)|(?<![^\s;)])[}](?=[\s;)&|>]|$)"""
)
# A word of a line, or a mark between commands, or blanks: together they are the line.
_PIECE = re.compile(
    r"""(?P<word>(?:\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\$\((?:[^()]|\([^()]*\))*\)|\$\{[^{}]*\}|`[^`]*`|[^\s;&|()"'\\`]|[0-9]?[<>]+&[0-9-])+)"""
    r"|(?P<mark>[;&|()]+)|\s+|.",
    re.DOTALL,
)
_BEFORE_A_COMMAND = frozenset({"do", "then", "else", "elif", "if", "while", "until", "!", "{", "}", "time", "exec"})
_OF_A_FUNCTION = frozenset({"local", "readonly", "declare", "typeset", "export"})
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ALL = r"\$@|\$\*|\$\{[@*]\}"
_POSITIONAL = re.compile(
    rf'"(?:{_ALL})"|{_ALL}|"?\$\{{@:([1-9])\}}"?|\$([1-9])|\$\{{([1-9])(?::?([-?=+])([^{{}}]*))?\}}|'
    r"\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)(?::?[-?=][^{}]*)?\}"
)
_DEEPEST, _MOST_READ, _MOST_FUNCTIONS = 4, 200_000, 200
"""Calls in calls that are followed, characters that are read for that, and functions of a script told apart."""
_LONGEST = 16_384
"""Characters of a line that arguments make longer."""


@dataclass
class _Function:
    """A function as a script defines it."""

    first: int
    """The place of its first line among those of the script, and of what comes behind its last."""
    end: int
    body: list[Line]
    rest: Line
    """What stands behind its brace in the last line."""


def with_calls(lines: Iterable[Line], builds: Callable[[str], object]) -> list[Line]:
    """The lines of a script with what functions come to in place of their calls, and not where they are defined.

    Only those that may lead to a command that `builds` are looked at.
    """
    every = list(lines)
    if not any(_BEGINS.match(line) for _, line in every):
        return every
    return _Script(every, builds).read()


class _Script:
    """A script whose functions are called."""

    def __init__(self, lines: list[Line], builds: Callable[[str], object]) -> None:
        self._lines = lines
        functions = dict(_functions(lines))
        leads = {name for name, one in functions.items() if any(builds(line) for _, line in one.body)}
        callers = {name: set(_called((line for _, line in one.body), functions)) for name, one in functions.items()}
        before = 0
        while len(leads) != before:
            before = len(leads)
            leads |= {name for name, called in callers.items() if called & leads}
        self._functions = {name: one for name, one in functions.items() if name in leads}
        self._callers = {name: called & leads for name, called in callers.items() if name in leads}
        self._left = _MOST_READ

    def read(self) -> list[Line]:
        """Its lines, as they are run."""
        defined = {number: one for one in self._functions.values() for number in range(one.first, one.end)}
        outside = [line for number, (_, line) in enumerate(self._lines) if number not in defined]
        outside += [one.rest[1] for one in self._functions.values()]
        reached = self._reached(_called(outside, self._functions))
        for alone in (True, False):  # then what calls itself alone
            for name in self._functions:
                others = (called for caller, called in self._callers.items() if caller not in reached | {name})
                if name not in reached and (not alone or not any(name in called for called in others)):
                    reached |= self._reached(self._callers[name]) - {name}
        kept = {id(one) for name, one in self._functions.items() if name not in reached}
        found: list[Line] = []
        for number, line in enumerate(self._lines):
            one = defined.get(number)
            if one is None or id(one) in kept:
                found += self._of(line, _Given(), ())
            elif number == one.end - 1:
                found += self._of(one.rest, _Given(), ())
        return found

    def _reached(self, names: Iterable[str]) -> set[str]:
        left, reached = list(names), set[str]()
        while left:
            name = left.pop()
            if name not in reached:
                reached.add(name)
                left += self._callers[name]
        return reached

    def _of(self, line: Line, given: _Given, within: tuple[str, ...]) -> Iterator[Line]:
        """A line with the arguments of the function that it stands `within`, and with what it calls."""
        place, text = line
        if not within and not any(name in text for name in self._functions):
            yield line
            return
        said = ""
        pieces = list(_PIECE.finditer(text))
        begins, index = True, 0
        while index < len(pieces):
            word = pieces[index]["word"]
            index += 1
            if word is None:
                begins = begins or pieces[index - 1]["mark"] is not None
                said += pieces[index - 1][0]
                continue
            count = 0 if not begins else given.taken(word, pieces, index) if within else None
            if count:
                said, index = f"{said}:", index + count - 1
            elif (
                begins and word in self._functions and word not in within and len(within) < _DEEPEST and self._left > 0
            ):
                if said.strip():
                    yield place, said[:_LONGEST]
                arguments, index = _arguments(pieces, index)
                put = [given.put_into(one)[:_LONGEST] if within else one for one in arguments]
                inner = _Given([part for one in put for part in _split(one)])
                for part in self._functions[word].body:
                    self._left -= len(part[1]) + 20
                    yield from self._of(part, inner, (*within, word))
                said = ""
            else:
                said += given.put_into(word) if within else word
            begins = begins and (word in _BEFORE_A_COMMAND or _ASSIGNED.fullmatch(word) is not None)
        if said.strip():
            yield place, said[:_LONGEST]


@dataclass
class _Given:
    """What a function is given, while it is read: its arguments that are left, and what it called them."""

    arguments: list[str] = field(default_factory=list)
    """As they are written, with their quotes."""
    names: dict[str, str] = field(default_factory=dict)

    def taken(self, word: str, pieces: Sequence[re.Match[str]], index: int) -> int:
        """How many pieces from a word on only take arguments: `shift`, or `local name=$1`."""
        following = next((one["word"] for one in pieces[index : index + 2] if one["word"] is not None), "") or ""
        if word == "shift":
            number = int(following) if following.isascii() and following.isdigit() else 1
            self.arguments = self.arguments[min(number, 100) :]
            return 3 if following.isascii() and following.isdigit() else 1
        if word in _OF_A_FUNCTION:
            count = 1
            while index + count < len(pieces) and pieces[index + count]["mark"] is None:
                declared = pieces[index + count]["word"]
                if declared is not None and not self._named(declared):
                    return 0
                count += 1
            return count + 1 if index + count <= len(pieces) and count > 1 else 0
        return 1 if self._named(word) and _is_all(pieces, index) else 0

    def _named(self, word: str) -> bool:
        """Take in a word that gives a name to what is known, if it does."""
        assigned = _ASSIGNED.fullmatch(word)
        if assigned is None or "$(" in assigned[2] or "`" in assigned[2]:
            return False
        value = self.put_into(assigned[2])
        self.names[assigned[1]] = _plain(value)
        return True

    def put_into(self, word: str) -> str:
        """A word with the arguments in place of `$1`, `"$@"` and what they were called."""
        if "$" not in word or word.startswith("'"):
            return word
        left = _LONGEST

        def value(it: re.Match[str]) -> str:
            nonlocal left
            found = self._value(it) if left > 0 else "*"
            left -= len(found)
            return found

        return _POSITIONAL.sub(value, word)

    def _value(self, it: re.Match[str]) -> str:
        named = it[6] or it[7]
        if named:
            return self.names.get(named, it[0])
        number = it[2] or it[3]
        if number is None:
            return " ".join(self.arguments[int(it[1]) - 1 if it[1] else 0 :])
        index = int(number) - 1
        if any(_POSITIONAL.fullmatch(one) and ("@" in one or "*" in one) for one in self.arguments[: index + 1]):
            return "*"  # one of the caller's own, of which nobody knows how many there are
        if index < len(self.arguments):
            return _plain(self.arguments[index])
        return self.put_into(it[5]) if it[4] in ("-", "=") else ""


def _is_all(pieces: Sequence[re.Match[str]], index: int) -> bool:
    """Whether a command ends before a piece, but for blanks."""
    following = next((one for one in pieces[index : index + 2] if one[0].strip()), None)
    return following is None or following["mark"] is not None


def _arguments(pieces: Sequence[re.Match[str]], index: int) -> tuple[list[str], int]:
    """The words of a call from its first on, without redirections, and where it ends."""
    words: list[str] = []
    while index < len(pieces) and pieces[index]["mark"] is None:
        word = pieces[index]["word"]
        words += [word] if word is not None and not re.match(r"[0-9]?[<>]", word) else []
        index += 1
    return words, index


def _split(text: str) -> list[str]:
    """The words of what an argument came to, with their quotes: `"$@"` are many."""
    return [one["word"] for one in _PIECE.finditer(text) if one["word"] is not None]


def _plain(word: str) -> str:
    """A word without its quotes."""
    with suppress(ValueError):
        if len(words := shlex.split(word)) == 1:
            return words[0]
    return word.strip("\"'")


def _called(texts: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """The functions that are called in lines, by their names."""
    known = set(names)
    for text in texts:
        begins = True
        for piece in _PIECE.finditer(text) if any(name in text for name in known) else ():
            word = piece["word"]
            if word is None:
                begins = begins or piece["mark"] is not None
                continue
            if begins and word in known:
                yield word
            begins = begins and (word in _BEFORE_A_COMMAND or _ASSIGNED.fullmatch(word) is not None)


def _functions(lines: Sequence[Line]) -> Iterator[tuple[str, _Function]]:
    """The functions that a script defines, those within others not among them."""
    index = found = 0
    while index < len(lines) and found < _MOST_FUNCTIONS:
        begins = _BEGINS.match(lines[index][1])
        if begins is None:
            index += 1
            continue
        place, line = lines[index]
        at, start = index, begins.end()
        if begins[3] is None:  # its brace is in the next line
            at += 1
            opens = _OPENS.match(lines[at][1]) if at < len(lines) else None
            if opens is None:
                index += 1
                continue
            (place, line), start = lines[at], opens.end()
        body, depth = list[Line](), 1
        while True:
            closed = None
            for it in _BRACES.finditer(line, start):
                depth += {"{": 1, "}": -1}.get(it[0], 0)
                if depth == 0:
                    closed = it
                    break
            body.append((place, line[start : closed.start() if closed is not None else None]))
            if closed is not None:
                yield begins[1] or begins[2], _Function(index, at + 1, body, (place, line[closed.end() :]))
                found += 1
                break
            at, start = at + 1, 0
            if at == len(lines):
                return  # it has no end: what follows may be anything
            place, line = lines[at]
        index = at + 1
