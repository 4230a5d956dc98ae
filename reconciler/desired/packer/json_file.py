"""JSON with positions, and which files are a template's or hold its variables."""

from __future__ import annotations

import json
import posixpath
import re
from bisect import bisect_right
from dataclasses import dataclass, field

from reconciler.desired.located import MAX_BYTES, Located, decode
from reconciler.model.errors import Place, UserError

# JSON with positions. The standard parser decides what is valid and words the errors; this adds where things stand.

MAX_DEPTH = 64
_BLANK = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SCALAR = re.compile(r"[^ \t\r\n,\]}]+")


def read_json(content: bytes, path: str) -> Located:
    """Read a JSON file; of equal keys the last counts, as in Packer.

    Raises:
        UserError: it is not text, not JSON (with line and column), or nested beyond reason.
    """
    text = decode(content, path)
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=float)
    except json.JSONDecodeError as error:
        place = Place(path, error.lineno, error.colno)
        # Some messages of Python's end in "at", for the place to follow.
        what = f"not valid JSON: {error.msg.removesuffix(' at')}"
        raise UserError(what, where=place, hint="fix the line, or the one before") from error
    except RecursionError as error:
        raise _too_deep(Place(path)) from error
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=Place(path), hint="write a number") from error
    return _Scanner(text, path).value()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _too_deep(place: Place) -> UserError:
    return UserError(f"more than {MAX_DEPTH} levels of nesting", where=place, hint="flatten the file")


@dataclass
class _Scanner:
    """Walks text that is known to be valid."""

    text: str
    path: str
    at: int = 0
    lines: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def value(self, *, depth: int = 0) -> Located:
        """The value that begins at or after the current position."""
        self._skip_blank()
        place = self._place()
        if depth > MAX_DEPTH:
            raise _too_deep(place)
        match self.text[self.at]:
            case "{":
                return Located(self._members(depth=depth + 1), place)
            case "[":
                return Located(self._items(depth=depth + 1), place)
            case '"':
                return Located(self._string(), place)
            case _:
                token = _SCALAR.match(self.text, self.at)
                word = token[0] if token else "null"
                self.at += len(word)
                return Located(_scalar(word), place, word)

    def _members(self, *, depth: int) -> dict[str, Located]:
        members: dict[str, Located] = {}
        while self._more("}"):
            place = self._place()
            key = self._string()
            self._skip_blank()
            self.at += 1  # the colon
            value = self.value(depth=depth)
            members[key] = Located(value.value, place, value.text)
        return members

    def _items(self, *, depth: int) -> list[Located]:
        items = []
        while self._more("]"):
            items.append(self.value(depth=depth))
        return items

    def _more(self, closer: str) -> bool:
        """Step over an opener, a comma or the closer; whether another member follows."""
        self._skip_blank()
        if self.text[self.at] in "[{," and self.text[self.at] != closer:
            self.at += 1
            self._skip_blank()
        if self.text[self.at] == closer:
            self.at += 1
            return False
        return True

    def _string(self) -> str:
        quoted = _STRING.match(self.text, self.at)
        literal = quoted[0] if quoted else '""'
        self.at += len(literal)
        if "\\" not in literal:
            return literal[1:-1]
        # Half of a pair stands for no character. Go, and so Packer, reads it like this.
        return _SURROGATE.sub("\ufffd", str(json.loads(literal)))

    def _skip_blank(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def _place(self) -> Place:
        line = bisect_right(self.lines, self.at)
        return Place(self.path, line, self.at - self.lines[line - 1] + 1)


def _scalar(word: str) -> int | float | bool | None:
    if word in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[word]
    return int(word) if word.lstrip("-").isdigit() and len(word) < 20 else float(word)


# Which files are a template's, or hold its variables: by their names, and of JSON by what is at its top.

FOLDER_SUFFIXES = (".pkr.hcl", ".pkr.json")
"""What Packer reads of a folder; not its subfolders."""
AUTO_VARIABLES = (".auto.pkrvars.hcl", ".auto.pkrvars.json")


def is_hcl2(path: str) -> bool:
    """Whether a template is HCL2, in either syntax, by its name."""
    return path.endswith(FOLDER_SUFFIXES)


def may_be_legacy(path: str) -> bool:
    """Whether a file may be a JSON template from before HCL2, by its name."""
    return path.endswith(".json") and not path.endswith((".pkr.json", ".pkrvars.json"))


def is_legacy(content: bytes, path: str) -> bool:
    """Whether a JSON file has `builders` at its top. False for anything that can't be read."""
    if len(content) > MAX_BYTES or b'"builders"' not in content.lower():
        return False
    try:
        root = read_json(content, path)
    except UserError:
        # It says that it is one; the reader of templates reports what is wrong with it.
        return True
    return isinstance(root.value, dict) and "builders" in map(str.lower, root.value)


def why_not_legacy(content: bytes) -> str:
    """Why a JSON file is no template, where `is_legacy` says so."""
    if len(content) > MAX_BYTES:
        return f"it has {len(content):,} bytes, and at most {MAX_BYTES:,} are read"
    return 'it has no "builders"' if content.strip() else "it is empty"


def folder_of(path: str) -> str:
    """The folder that a file is in; `.` for the repository's root."""
    return posixpath.dirname(path) or "."
