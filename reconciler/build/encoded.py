r"""Finds secrets that were encoded before they were printed: in base64, in a URL, in JSON, or broken into lines.

There are more spellings than can be listed. In base64 a text looks otherwise at each of three alignments, so after
`user:` too; both alphabets are in use, with and without padding, in lines of any width. What a URL escapes depends on
who makes it. So it is the text that is decoded, once for each encoding, and the secret that is looked for in it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import AnyStr

Span = tuple[int, int]
Rest = tuple[int, int]
"""The rest of a secret that is to come: the secret's number, and from which character on."""
Rests = frozenset[Rest]

ALIGNED_BYTES = 5
"""A shorter secret has too few characters of its own at some alignment: it is found at the beginning of a text only."""
WRAPPED_BYTES = 8
"""A shorter secret is not looked for across the ends of lines, where any two words meet."""

PART = 8
"""Characters of a secret at the end of a line, or at its beginning, that make it a part of one."""

_MOST_RESTS = 64
"""From so many places at most may a secret that repeats itself go on."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_STANDARD_TEXT = str.maketrans("-_", "+/")
# The end of a line, as it stands and as Packer's machine-readable output and JSON write it, and the next one's indent.
_END = rb"(?:\r\n?|\n|(?:\\r)?\\n|\\r)[ \t]{0,64}"
_BROKEN = re.compile(_END)
_BROKEN_BASE64 = re.compile(rb"(" + _END + rb")|%2([BbFf])|%3[Dd]|\\(?=/)")
_ESCAPED_IN_URLS = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPED_IN_JSON = re.compile(
    rb"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\(?:u[0-9A-Fa-f]{4}|[\"\\/bfnrt])"
)


@dataclass(frozen=True)
class Core:
    """The part of a secret in base64 that does not depend on what is before it and behind it.

    `before` and `behind` say whether the next character on that side holds some bits of it, too.
    """

    text: bytes
    before: bool
    behind: bool


def cores(raw: bytes) -> Iterator[Core]:
    """How the bytes look in base64, at each alignment, in the standard alphabet."""
    for shift in range(3 if len(raw) >= ALIGNED_BYTES else 1):
        first, end = (8 * shift + 5) // 6, 8 * (shift + len(raw)) // 6
        text = b64encode(bytes(shift) + raw)[first:end]
        if text:
            yield Core(text, before=shift > 0, behind=8 * (shift + len(raw)) % 6 > 0)


@dataclass(frozen=True)
class Encoded:
    """Finds these secrets in whatever encoding."""

    raws: tuple[bytes, ...]
    cores: tuple[Core, ...]

    def spans(self, text: str) -> list[Span]:
        """Where an encoded secret stands in the text."""
        if not self.raws:
            return []
        raw, errors = _encoded(text)
        found = [*self._in_base64(raw), *self._as_text(raw)]
        if not found or raw.isascii():
            return found
        at, character, characters = 0, 0, {}
        for place in sorted({place for span in found for place in span}):
            character += len(raw[at:place].decode("utf-8", errors))
            at, characters[place] = place, character
        return [(characters[start], characters[end]) for start, end in found]

    def _in_base64(self, raw: bytes) -> Iterator[Span]:
        view = _View(raw.translate(_TO_STANDARD), _BROKEN_BASE64, _joined_base64)
        for core in self.cores:
            for place in _places(view.text, core.text):
                start, end = place, place + len(core.text)
                if core.before and start and view.text[start - 1] in _ALPHABET:
                    start -= 1
                if core.behind and view.text[end : end + 1] and view.text[end] in _ALPHABET:
                    end += 1
                end += len(view.text[end : end + 2]) - len(view.text[end : end + 2].lstrip(b"="))
                yield view.origin(start, end)

    def _as_text(self, raw: bytes) -> Iterator[Span]:
        if b"%" in raw:
            view = _View(raw, _ESCAPED_IN_URLS, lambda match: bytes([int(match[1], 16)]))
            yield from self._found(view, {form for one in self.raws for form in (one, one.replace(b" ", b"+"))})
        if b"\\" in raw:
            yield from self._found(_View(raw, _ESCAPED_IN_JSON, _of_json), self.raws)
        if b"\n" in raw or b"\r" in raw or b"\\n" in raw:
            long = (re.sub(rb"[\r\n]", b"", one) for one in self.raws)
            yield from self._found(
                _View(raw, _BROKEN, lambda _: b""), {one for one in long if len(one) >= WRAPPED_BYTES}
            )

    def _found(self, view: _View, needles: Iterable[bytes]) -> Iterator[Span]:
        return (view.origin(start, start + len(one)) for one in needles for start in _places(view.text, one))


def encoded(secrets: Iterable[str], *, spelled: Iterable[str]) -> Encoded:
    """Look for these secrets, and in base64 also for their spellings: a manifest holds JSON, and JSON the secret."""
    in_base64 = {core for one in spelled for core in cores(_encoded(one)[0])}
    return Encoded(
        tuple(sorted({_encoded(one)[0] for one in secrets})), tuple(sorted(in_base64, key=lambda one: one.text))
    )


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap as one."""
    together: list[Span] = []
    for start, end in sorted(spans):
        if together and start < together[-1][1]:
            together[-1] = (together[-1][0], max(end, together[-1][1]))
        else:
            together.append((start, end))
    return together


class _View:
    """A text with parts of it decoded, that knows where each of its bytes comes from."""

    def __init__(self, raw: bytes, pattern: re.Pattern[bytes], decode: Callable[[re.Match[bytes]], bytes]) -> None:
        self._raw, self._pattern, self._decode = raw, pattern, decode
        self.text = pattern.sub(decode, raw)
        self._regions: list[tuple[int, int, bool]] | None = None

    def origin(self, start: int, end: int) -> Span:
        """Where a span of the view stands in the text."""
        return self._at(start)[0], self._at(end - 1)[1]

    def _at(self, index: int) -> Span:
        # Asked for only where something was found, which is seldom.
        if self._regions is None:
            self._regions = list(self._all_regions())
        view, origin, literal = self._regions[bisect_right(self._regions, index, key=lambda one: one[0]) - 1]
        if literal:
            return origin + index - view, origin + index - view + 1
        match = self._pattern.match(self._raw, origin)
        return origin, match.end() if match else origin + 1

    def _all_regions(self) -> Iterator[tuple[int, int, bool]]:
        """Where each part begins here and there, and whether it is as it was."""
        view = origin = 0
        for match in self._pattern.finditer(self._raw):
            yield view, origin, True
            view += match.start() - origin
            yield view, match.start(), False
            view, origin = view + len(self._decode(match)), match.end()
        yield view, origin, True


def _joined_base64(match: re.Match[bytes]) -> bytes:
    if match[2]:
        return b"+" if match[2] in b"Bb" else b"/"
    return b"=" if match[0].startswith(b"%") else b""


def _of_json(match: re.Match[bytes]) -> bytes:
    text: str = json.loads(f'"{match[0].decode()}"')
    return text.encode("utf-8", "surrogatepass")


def _places(text: AnyStr, needle: AnyStr, start: int = 0) -> Iterator[int]:
    at = text.find(needle, start)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def _encoded(text: str) -> tuple[bytes, str]:
    """The text's bytes, and how to read them again: a name or a variable need not be Unicode."""
    try:
        return text.encode("utf-8", "surrogateescape"), "surrogateescape"
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass"), "surrogatepass"


@dataclass(frozen=True)
class Broken:
    """Finds secrets that come line by line, in base64 or as they are: each line is seen by itself, and told at once."""

    wholes: tuple[str, ...]
    parts: frozenset[str]
    """All that a line may begin or end with where it holds a part of one."""

    def spans(self, line: str, expected: Rests) -> tuple[list[Span], Rests]:
        """Where parts of a secret stand that are in other lines as well, and with what the next line may go on."""
        folded = line.translate(_TO_STANDARD_TEXT)
        start = len(folded) - len(folded.lstrip(" \t"))
        whole_text = folded[start:].rstrip()
        found: list[Span] = []
        rests: set[Rest] = set()
        for skipped, text in _unparted(whole_text):
            if expected or text[:PART] in self.parts or text[-PART:] in self.parts:
                self._look(start + skipped, text, expected, found, rests)
        return found, frozenset(rests)

    def _look(self, start: int, text: str, expected: Rests, found: list[Span], rests: set[Rest]) -> None:
        """Add where parts stand in a text that begins at `start`, and with what the next line may go on."""
        end = start + len(text)
        for number, at in expected if text else ():
            whole = self.wholes[number]
            if whole.startswith(text, at):
                found.append((start, end))
                rests.add((number, at + len(text)))
            elif len(whole) - at < len(text) and text.startswith(whole[at:]):
                found.append((start, start + len(whole) - at))
        for number, whole in enumerate(self.wholes) if len(text) >= PART else ():
            # One that repeats itself may go on from more than one place.
            if inside := list(islice(_places(whole, text), _MOST_RESTS)):
                found.append((start, end))
                rests.update((number, at + len(text)) for at in inside)
                continue
            if cut := _behind(text, whole):
                found.append((start, start + cut))
            for cut in islice(_before(text, whole), _MOST_RESTS):
                found.append((end - cut, end))
                rests.add((number, cut))
        rests -= {(number, len(self.wholes[number])) for number, _ in rests}


def _unparted(text: str) -> Iterator[tuple[int, str]]:
    r"""A line's text, and without what is left there of a `\n` or `\r` that the end of a line parted.

    Each with how many characters it leaves out at its beginning.
    """
    begins, ends = text[:1] in {"n", "r"}, text.endswith("\\")
    yield 0, text
    if ends:
        yield 0, text[:-1]
    if begins:
        yield 1, text[1:]
    if begins and ends:
        yield 1, text[1:-1]


def _before(text: str, whole: str) -> Iterator[int]:
    """How many characters at the end of the text may be the beginning of a secret, if enough to know."""
    for at in _places(text, whole[:PART], max(0, len(text) - len(whole))):
        if whole.startswith(text[at:]):
            yield len(text) - at


def _behind(text: str, whole: str) -> int:
    """How many characters at the beginning of the text are the end of a secret; 0 if too few to know."""
    at = text.rfind(whole[-PART:], 0, len(whole))
    while at >= 0:
        if whole.endswith(text[: at + PART]):
            return at + PART
        at = text.rfind(whole[-PART:], 0, at + PART - 1)
    return 0


def broken(encoded: Encoded) -> Broken:
    """Look for parts of these secrets, of those that are long enough to come in two lines."""
    raws = (re.sub(rb"[\r\n]", b"", raw).translate(_TO_STANDARD) for raw in encoded.raws)
    texts = {text.decode("utf-8", "replace") for text in (*raws, *(core.text for core in encoded.cores))}
    # A `\n` or `\r` in it is read back from Packer's output as the end of a line.
    texts |= {re.sub(r"\\[nr]", "", text) for text in texts}
    wholes = tuple(sorted(text for text in texts if len(text) > PART))
    parts = frozenset(text[at : at + PART] for text in wholes for at in range(len(text) - PART + 1))
    return Broken(wholes, parts)
