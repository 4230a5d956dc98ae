"""YAML with positions, from the parser's events.

The nodes are built here from events and not by PyYAML's composer, because that one recurses: 100,000 opening brackets
end CPython with a segmentation fault (libyaml 0.2.5, PyYAML 6.0.3). From events, depth and size are checked as they
grow, duplicate keys are seen, and it is a fifth faster.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from reconciler.desired.located import Located, decode
from reconciler.model.errors import Place, UserError
from reconciler.model.text import shorten

MAX_DEPTH = 32
MAX_NODES = 10_000
"""Both are counted after aliases are expanded, so that a few nested aliases can't grow into gigabytes, nor a stack."""

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
# Only what an integer prints as again: 012345678901 is an account id, 0x1f and 1_000 are text.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Document:
    """What one file says. With problems, `root` holds what could be read nevertheless."""

    root: Located
    problems: tuple[UserError, ...] = ()


def read_yaml(content: bytes, path: str) -> Document:
    """Read a file that holds one mapping. An empty file is an empty mapping. Raises nothing: see `problems`."""
    nothing = Located({}, Place(path))
    try:
        text = decode(content, path)
        reading = _Reading(path)
        root = reading.document(yaml.parse(text, Loader=_LOADER))
    except UserError as error:
        return Document(nothing, (error,))
    except yaml.MarkedYAMLError as error:
        return Document(nothing, (_syntax_error(error, text, path),))
    except yaml.reader.ReaderError as error:
        return Document(nothing, (_unreadable_character(error, text, path),))
    if root is None or root.value is None:
        return Document(nothing, tuple(reading.problems))
    if not isinstance(root.value, dict):
        problem = UserError(
            f"the file is {root.kind()}; it has to be a mapping", where=root.place, hint="write `key: value` lines"
        )
        return Document(nothing, (*reading.problems, problem))
    return Document(root, tuple(reading.problems))


@dataclass
class _Reading:
    """One pass over the events of a file."""

    path: str
    problems: list[UserError] = field(default_factory=list)
    anchors: dict[str, tuple[Located, int, int]] = field(default_factory=dict)
    """Each value that has a name, how many values it holds, and how many levels of them."""
    nodes: int = 0
    deepest: int = 0
    """The deepest level of the value that is read, its aliases counting as what they stand for."""

    def document(self, events: Iterator[Any]) -> Located | None:
        """The only document, or None in an empty file."""
        root = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise UserError(
                        "a second document begins here; the file has to hold one",
                        where=self._place(event),
                        hint="remove the line `---`, or put the second document into a folder of its own",
                    )
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, depth=0)
        return root

    def _node(self, event: Any, events: Iterator[Any], *, depth: int) -> Located:
        place = self._place(event)
        self._count(1, place)
        self._descend(depth, place)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place, depth=depth)
        if event.tag is not None and not event.tag.startswith("tag:yaml.org,2002:"):
            self.problems.append(
                UserError(f"the tag {shorten(event.tag)} is not read here", where=place, hint="write the plain value")
            )
        nodes, deepest = self.nodes, self.deepest
        self.deepest = depth
        node = self._new(event, events, place=place, depth=depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.nodes - nodes, self.deepest - depth)
        self.deepest = max(deepest, self.deepest)
        return node

    def _descend(self, depth: int, place: Place) -> None:
        if depth > MAX_DEPTH:
            raise UserError(f"more than {MAX_DEPTH} levels of nesting", where=place, hint="flatten the value")
        self.deepest = max(self.deepest, depth)

    def _new(self, event: Any, events: Iterator[Any], *, place: Place, depth: int) -> Located:
        if isinstance(event, yaml.ScalarEvent):
            if event.implicit[0] and event.tag is None:
                return Located(_resolve(event.value), place, event.value)
            return Located(event.value, place)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            for item in events:
                if isinstance(item, yaml.SequenceEndEvent):
                    break
                items.append(self._node(item, events, depth=depth + 1))
            return Located(items, place)
        return Located(self._members(events, depth=depth + 1), place)

    def _members(self, events: Iterator[Any], *, depth: int) -> dict[str, Located]:
        members: dict[str, Located] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, events, depth=depth)
            value = self._node(next(events), events, depth=depth)
            name = key.text if key.text is not None else key.value
            if not isinstance(name, str) or key.value is None:
                self.problems.append(
                    UserError(
                        f"a key has to be text, found {key.kind()}", where=key.place, hint="write the key as text"
                    )
                )
            elif name == "<<":
                self.problems.append(
                    UserError(
                        "merge keys (<<) are not read",
                        where=key.place,
                        hint="put what images share under `defaults` in desired/reconciler.yaml",
                    )
                )
            elif name in members:
                first = members[name].place.line
                self.problems.append(
                    UserError(
                        f'the key "{shorten(name)}" is here a second time; the first is on line {first}',
                        where=key.place,
                        hint="keep one of them",
                    )
                )
            else:
                members[sys.intern(name)] = Located(value.value, key.place, value.text)
        return members

    def _alias(self, event: Any, place: Place, *, depth: int) -> Located:
        if event.anchor not in self.anchors:
            raise UserError(
                f"the alias *{shorten(event.anchor)} names nothing above it, or the value that it stands in",
                where=place,
                hint="write the value out",
            )
        node, size, levels = self.anchors[event.anchor]
        self._count(size, place)
        self._descend(depth + levels, place)
        return node

    def _count(self, more: int, place: Place) -> None:
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise UserError(
                f"more than {MAX_NODES:,} values, counting each alias as what it stands for",
                where=place,
                hint="write less, or without aliases",
            )

    def _place(self, event: Any) -> Place:
        return Place(self.path, event.start_mark.line + 1, event.start_mark.column + 1)


def _resolve(text: str) -> str | int | bool | None:
    """Resolve an unquoted scalar as YAML 1.2 does, so that `on`, `no` and dates stay text; and no floats."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return int(text) if _INTEGER.fullmatch(text) else text


def _syntax_error(error: yaml.MarkedYAMLError, text: str, path: str) -> UserError:
    mark = error.problem_mark or error.context_mark
    place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if mark and line[mark.column : mark.column + 1] == "\t":
        return UserError("a tab where YAML wants spaces", where=place, hint="indent with spaces")
    words = error.problem or "it can't be read"
    hint = []
    if error.context and error.context_mark:
        hint.append(f"{error.context} that began on line {error.context_mark.line + 1}")
    if "mapping values are not allowed" in words or "cannot start any token" in words:
        hint.append("quote the value if it is meant as text")
    return UserError(f"not valid YAML: {words}", where=place, hint=hint or "check the quotes and the indentation")


def _unreadable_character(error: yaml.reader.ReaderError, text: str, path: str) -> UserError:
    # The C parser counts bytes here, the Python one characters: look for the character itself.
    code = error.character if isinstance(error.character, int) else ord(error.character)
    offset = max(text.find(chr(code)), 0)
    before = text[:offset]
    place = Place(path, before.count("\n") + 1, offset - before.rfind("\n"))
    return UserError(
        f"the character U+{code:04X} is not allowed in YAML", where=place, hint="remove it, or write it as an escape"
    )
