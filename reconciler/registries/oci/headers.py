"""Headers of HTTP that hold lists: where the next page is (RFC 8288), and how to sign in (RFC 9110, section 11)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_QUOTED = r'"(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\\?$)'
"""Text in quotes; one that nobody ends goes to the end, so that it is looked at once."""
_IS = r"[ \t]*+=[ \t]*+"
_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+(?:(?P<name>[^\s,;=\"<>]++)(?:{_IS}(?:{_QUOTED}|(?P<bare>[^\s,;\"]*+)))?)?", re.DOTALL
)
_TARGET = re.compile(r"<([^<>]*+)>")
_WORD = re.compile(rf"(?P<name>[^\s,=\"]++)(?:{_IS}(?:{_QUOTED}|(?P<bare>[^\s,\"]*+)))?", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """A way to sign in: its scheme in lower case, and what it says, by names in lower case."""

    scheme: str
    says: dict[str, str] = field(default_factory=dict)


def challenges(header: str) -> list[Challenge]:
    """The ways to sign in that a `WWW-Authenticate` has, in order; several such headers are one, with commas between.

    What is in no form of one is passed over. An address need not be in quotes, as it should.
    """
    found: list[Challenge] = []
    at, named = 0, False  # right after a scheme there may be a token instead of names
    while at < len(header):
        match = _WORD.match(header, at)
        if match is None:
            named = named and header[at] != ","
            at += 1
            continue
        at, value = match.end(), _value(match)
        if value is None or not found:
            found += [Challenge(match["name"].lower())] if value is None and not named else []
            named = True
        elif value.strip("="):
            # A name twice is in no challenge that is well formed: the first counts.
            found[-1].says.setdefault(match["name"].lower(), value)
            named = False
    return found


def next_page(header: str) -> str | None:
    """Where a `Link` says that the next page is; None where none of its links says so.

    Raises ValueError for a header in which there is no link at all.
    """
    links = list(_links(header))
    if header.strip() and not links:
        raise ValueError(header)
    return next((target for target, relations in links if "next" in relations), None)


def _links(header: str) -> Iterator[tuple[str, list[str]]]:
    """Each target with its relations, in lower case. Of several `rel` the first counts."""
    at = 0
    while (target := _TARGET.search(header, at)) is not None:
        at, relations = target.end(), None
        while (parameter := _PARAMETER.match(header, at)) is not None:
            at = parameter.end()
            if (parameter["name"] or "").lower() == "rel" and relations is None:
                # Quotes of the other sort are none in HTTP, and some take them for such.
                relations = (_value(parameter) or "").strip("'").lower().split()
        yield target[1], relations or []


def _value(match: re.Match[str]) -> str | None:
    if match["quoted"] is not None:
        return re.sub(r"\\(.)", r"\1", match["quoted"], flags=re.DOTALL)
    bare: str | None = match["bare"]
    return bare
