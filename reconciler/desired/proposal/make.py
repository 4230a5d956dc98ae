"""What make is told when it is called, the rules that it reaches then, and what its `define`s come to.

They are read, never run. `$(call build,web,prod)` is the lines of `build` with `web` and `prod` in them; a `define`
that nothing calls runs nothing.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Lines = Iterable[tuple[int, str]]
"""Lines of a Makefile, with what a backslash continues, each with its number."""

CALL = re.compile(r"(?<![\w./$-])(?:g?make|\$[({]MAKE[)}])(?=\s|$)")
_GIVEN = re.compile(r"([A-Za-z_]\w*):{0,3}=(.*)", re.DOTALL)
_ENVIRONMENT = re.compile(r"((?:(?<!\S)[A-Za-z_]\w*=[^\s\"'();&|`]*\s+)+)$")
_WITH_VALUE = frozenset({"-C", "-f", "-I", "-o", "-W", "-j", "-l"})
_RULE = re.compile(r"([^\s#:=][^:=#]*?)\s*&?::?(?!=)([^=;#]*)(?:[;#].*)?$")
_FOR_TARGETS = re.compile(r"([^\s#:=][^:=#]*?)\s*:\s*(?:export\s+|override\s+)*([A-Za-z_]\w*)\s*[:?+]?=(.*)$")
_UNKNOWN = re.compile(r"\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\$\{[^{}]*\}|\$.|%")
_DEFINE = re.compile(r"\s*(?:override\s+)?define\s+([\w.-]+)")
_WITH_ARGUMENTS = re.compile(r"([\w.-]+)\s*:{0,3}=(.*(?<!\$)\$[({]?1\b.*)$")
_CALLED = re.compile(r"\$[({]call\s+([\w.-]+)\s*((?:,(?:[^(){}]|[({][^(){}]*[)}])*)?)[)}]|\$[({]([\w.-]+)[)}]")
_ARGUMENT = re.compile(r"\$(?:\(([0-9])\)|\{([0-9])\}|([0-9]))")
_DEEPEST, _MOST_LINES, _MOST_RULES, _MOST_COMPARED = 3, 1_000, 500, 200_000
"""Of what calls stand for, calls in calls among it; the targets that are told apart; and those compared with goals."""


@dataclass(frozen=True)
class Call:
    """What make is told: `ENV=staging make build SIZE=m`."""

    goals: tuple[str, ...]
    """None for whichever comes first."""
    values: Mapping[str, str] = field(default_factory=dict)
    """They go before what a Makefile sets."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """It goes before what a Makefile sets by `?=`."""

    def about(self, text: str) -> Call:
        """The same of what a Makefile names."""
        return Call(
            self.goals,
            {name: value for name, value in self.values.items() if name in text},
            {name: value for name, value in self.environment.items() if name in text},
        )


def call(before: str, arguments: str, environment: Mapping[str, str]) -> Call:
    """A call of make as a line has it, by what stands before its name and behind it."""
    given = _ENVIRONMENT.search(before)
    own = dict(one.split("=", 1) for one in given[1].split()) if given is not None else {}
    try:
        lexer = shlex.shlex(arguments, posix=True, punctuation_chars="();|&<>")
        lexer.whitespace_split, lexer.commenters = True, ""
        words = list(lexer)
    except ValueError:
        words = arguments.replace('"', " ").replace("'", " ").split()
    goals: list[str] = []
    values: dict[str, str] = {}
    skip = False
    for word in words:
        if word.strip("();|&<>") == "":
            break
        assigned = _GIVEN.fullmatch(word)
        if skip or word.startswith("-"):
            skip = not skip and word in _WITH_VALUE
        elif assigned:
            values[assigned[1]] = assigned[2]
        else:
            goals.append(word)
    return Call(tuple(goals), values, {**environment, **own})


def for_targets(line: str) -> Call | None:
    """A variable of a Makefile that has a value for some targets, and for what they need: `prod: ENV = production`."""
    found = _FOR_TARGETS.match(line)
    return Call(tuple(found[1].split()), {found[2]: found[3].strip()}) if found else None


def targets(line: str) -> tuple[str, ...] | None:
    """The targets of a rule that begins in a line, with `*` for what is unknown of them; None for another line."""
    found = _RULE.match(line)
    return tuple(_UNKNOWN.sub("*", found[1]).split()) if found else None


class Rules:
    """What each target needs, in all Makefiles of a repository: one may include another."""

    def __init__(self, makefiles: Iterable[Lines]) -> None:
        self._needs: defaultdict[str, set[str]] = defaultdict(set)
        self._left = _MOST_COMPARED
        for _, line in (one for lines in makefiles for one in lines):
            found = _RULE.match(line)
            for target in targets(line) or ():
                if found and len(self._needs) < _MOST_RULES and not target.startswith("."):
                    self._needs[target].update(_UNKNOWN.sub("*", found[2]).split())

    def reached(self, goals: Iterable[str]) -> frozenset[str]:
        """The targets that are made where goals are."""
        left, met, seen = list(goals), set[str](), set[str]()
        patterns = [one for one in self._needs if "*" in one]
        while left and len(seen) < _MOST_RULES:
            goal = left.pop()
            if goal in seen:
                continue
            seen.add(goal)
            among = list(self._needs) if "*" in goal else patterns
            self._left -= len(among)
            among = among if self._left > 0 else []
            fits = {one for one in among if _fits(goal, one) or _fits(one, goal)} | (self._needs.keys() & {goal})
            fits -= met
            met |= fits
            left += [need for one in fits for need in self._needs[one]]
        return frozenset(met)


def _fits(name: str, pattern: str) -> bool:
    return "*" in pattern and pattern.count("*") <= _DEEPEST and fnmatch.fnmatchcase(name, pattern)


class Definitions:
    """What is defined in all Makefiles of a repository, to be called."""

    def __init__(self, makefiles: Iterable[Lines]) -> None:
        self._bodies: dict[str, list[str]] = {}
        for lines in makefiles:
            for name, line in _defined(lines):
                if name and line is not None:
                    self._bodies.setdefault(name, []).append(line)

    def expanded(self, lines: Lines) -> Iterator[tuple[int, str]]:
        """The lines with what they call in place of each call, and without what they only define."""
        numbered = list(lines)
        for (number, line), (name, _) in zip(numbered, _defined(numbered), strict=True):
            if not name:
                yield from ((number, one) for one in self._of_call(line, deep=0))

    def _of_call(self, line: str, *, deep: int) -> list[str]:
        called = [it for it in _CALLED.finditer(line) if (it[1] or it[3]) in self._bodies]
        found = [line]
        for it in called if deep < _DEEPEST else ():
            given = ["", *(one.strip() for one in (it[2] or "")[1:].split(","))]
            for body in self._bodies[it[1] or it[3]]:
                said = _ARGUMENT.sub(lambda one, given=given: _argument(given, one), body)  # type: ignore[misc]
                said = said.replace("$$", "$") if "eval" in line else said
                recipe = line.startswith("\t") and not said.startswith("\t")
                found += self._of_call(f"\t{said}" if recipe else said, deep=deep + 1)
                if len(found) > _MOST_LINES:
                    return found[:_MOST_LINES]
        return found


def _argument(given: list[str], it: re.Match[str]) -> str:
    number = int(it[1] or it[2] or it[3])
    return given[number] if 0 < number < len(given) else ""


def _defined(lines: Lines) -> Iterator[tuple[str, str | None]]:
    """For each line the name of what it defines, or helps to, and what it says of it; an empty name for others."""
    name = ""
    for _, line in lines:
        begins, alone = _DEFINE.match(line), _WITH_ARGUMENTS.match(line)
        if name:
            yield name, None if line.strip() == "endef" else line
            name = "" if line.strip() == "endef" else name
        elif begins:
            name = begins[1]
            yield name, None
        elif alone:
            yield alone[1], alone[2]
        else:
            yield "", None
