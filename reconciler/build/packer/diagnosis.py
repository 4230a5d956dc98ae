"""What a person needs of Packer's errors, in a line: the cause first, the ids of requests last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.build.packer.versions import (
    EMPTY_SUMMARIES,
    KNOWN,
    MISSING_PLUGINS,
    ORIGINAL,
    SEVERAL,
    SUGGESTION,
    UNKNOWN_COMPONENT,
)
from reconciler.model.errors import Place
from reconciler.model.text import and_more, cut, nearest, one_line

LONGEST = 400
"""Characters of a cause. AWS needs 250 to say who may not do what to which resource."""

_NEARLY = 0.8
"""How alike two names are, of 1, that one letter tells apart. `goss` and `docker` are not."""

_BULLET = re.compile(r"^[ \t]*\* (.*)", re.MULTILINE)
_PLACE = re.compile(r"\s*on (\S+) line ([0-9]{1,7})\b.*")
_SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)", re.DOTALL)

# The AWS SDK for Go, version 2 (amazon plugin 1.8.0 and later): what was asked, then the ids, then the cause.
_OPERATION = "operation error "
_SDK_2 = re.compile(
    rf"{_OPERATION}(?P<service>[\w ]{{1,40}}): (?P<operation>\w{{1,80}}), (?:(?!{_OPERATION}).)*?"
    r"https? response error StatusCode: (?P<status>[0-9]{1,4}), RequestID: (?P<request>[\w-]{0,80}), "
    r"(?:HostID: [^,]*, )?(?:api error )?"
)
# Version 1: the cause, then the ids on a line of their own.
_SDK_1 = re.compile(r"\s+status code: (?P<status>[0-9]{1,4}), request id: (?P<request>[\w-]{0,80})")
# A block of letters for `aws sts decode-authorization-message`; the log has it.
_ENCODED = re.compile(r"\.?\s*Encoded authorization failure message: [\w-]*")


@dataclass(frozen=True)
class Diagnostic:
    """One error as Packer tells it: what, the place in the template if it names one, and paragraphs that explain."""

    summary: str
    place: Place | None = None
    details: tuple[str, ...] = ()
    framed: bool = True
    """Whether it was worded as a diagnostic; else all of it is the detail."""

    @property
    def says(self) -> str:
        """The summary, and the first sentence that explains it. Of any length."""
        detail = next(iter(_causes(self.details)), "")
        if detail and not KNOWN.match(detail):
            return f"{self.summary}: {_first_sentence(detail)}"
        return self.summary


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    """Read one of Packer's error texts. What is not worded as diagnostics are is one that explains itself."""
    parts = re.split(r"^Error: ?", text, flags=re.MULTILINE)
    if len(parts) == 1:
        paragraphs = _paragraphs(text.partition(ORIGINAL)[2] or text)
        return (Diagnostic("", None, paragraphs, framed=False),) if paragraphs else ()
    return tuple(_diagnostic(part) for part in parts[1:])


def cause(texts: Iterable[str]) -> str:
    """The line that a person needs of the errors that Packer printed; empty where they are."""
    texts = tuple(texts)
    causes = [found for text in texts for one in diagnostics(text) for found in _all_of(one)]
    different = list(dict.fromkeys(found for found in map(_ids_last, causes) if found))
    if not different:
        lines = (line.removeprefix("Error:").strip() for text in texts for line in text.splitlines())
        return cut(next(filter(None, lines), ""), LONGEST)
    more = and_more(len(different) - 1, " (and {} more)")
    return cut(different[0], LONGEST - len(more)) + more


def place_of(texts: Iterable[str]) -> Place | None:
    """The first place in a template that Packer names; its path is as Packer sees it."""
    return next((one.place for text in texts for one in diagnostics(text) if one.place), None)


@dataclass(frozen=True)
class Unknown:
    """What Packer looked for among its plugins in vain.

    `components` are types in the template, such as `amazon-ebs`; `requirements` are of `required_plugins`, as
    `github.com/hashicorp/amazon >= 1.2.8`.
    """

    components: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.components or self.requirements)


def unknown(texts: Iterable[str]) -> Unknown:
    """What no plugin was found for. Names that are nearly right are left out: the template is wrong there."""
    found = [one for text in texts for one in diagnostics(text)]
    components = (
        match[1] or match[2]
        for one in found
        for match in filter(None, map(UNKNOWN_COMPONENT.search, (one.summary, *one.details)))
        if not _is_a_slip(match[1] or match[2], one.details)
    )
    requirements = (
        bullet
        for one in found
        if any(map(MISSING_PLUGINS.match, one.details))
        for detail in one.details
        for bullet in _bullets(detail)
    )
    return Unknown(tuple(dict.fromkeys(components)), tuple(dict.fromkeys(requirements)))


def _is_a_slip(component: str, details: Iterable[str]) -> bool:
    """Whether a name is nearly that of a component that is there, as Packer says or as its list of them shows."""
    known = [name for match in map(KNOWN.match, details) if match for name in match[1].split()]
    return any(map(SUGGESTION.match, details)) or nearest(component, known, cutoff=_NEARLY) is not None


def _diagnostic(text: str) -> Diagnostic:
    summary, _, rest = text.partition("\n")
    place = None
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if match := _PLACE.fullmatch(line):
            place = Place(match[1], int(match[2]))
            # What is quoted of the template follows without a blank line between.
            end = next((at for at, one in enumerate(lines[number:], start=number) if not one.strip()), len(lines))
            del lines[number:end]
            break
    return Diagnostic(summary.strip(), place, _paragraphs("\n".join(lines)))


def _paragraphs(text: str) -> tuple[str, ...]:
    """What blank lines separate. Packer breaks lines at 78 columns, but for lists."""
    blocks = (block.strip("\n") for block in re.split(r"\n\s*\n", text))
    return tuple(block if _BULLET.search(block) else one_line(block) for block in blocks if block.strip())


def _all_of(one: Diagnostic) -> Iterator[str]:
    """Every cause that a diagnostic holds: the bullets below a summary that says nothing, else the one."""
    if EMPTY_SUMMARIES.fullmatch(one.summary):
        causes = _causes(one.details)
        yield from map(_first_sentence, causes) if one.framed and len(causes) == 1 else causes or (one.summary,)
    else:
        yield one.says


def _causes(details: Sequence[str]) -> list[str]:
    """The bullets of a list, or the first paragraph."""
    bullets = [bullet for detail in details for bullet in _bullets(detail)]
    if bullets and any(SEVERAL.search(detail) or _BULLET.match(detail) for detail in details):
        return bullets
    return [detail for detail in details if not SEVERAL.fullmatch(detail)][:1]


def _bullets(text: str) -> Iterator[str]:
    """The points of a list, each with the lines that belong to it. A list may stand in a list."""
    point: list[str] = []
    for line in text.split("\n"):
        if match := _BULLET.match(line):
            yield from _told(point)
            point = [match[1]]
        elif point and line.strip():
            point.append(line)
    yield from _told(point)


def _told(point: Sequence[str]) -> Iterator[str]:
    text = one_line(" ".join(point))
    if text and not SEVERAL.fullmatch(text):
        yield text


def _first_sentence(text: str) -> str:
    match = _SENTENCE.match(text)
    return (match[1] if match else text).rstrip(".")


def _ids_last(text: str) -> str:
    """AWS's error with its cause first. The ids come last, and only where there is room for them."""
    text = _ENCODED.sub("", text)
    if match := _SDK_2.search(text):
        # One operation may have failed for another: credentials, before the call that needs them.
        said = text[: text.index(_OPERATION)] + text[match.end() :]
        ids = [f"{match['service']} {match['operation']}"]
    elif match := _SDK_1.search(text):
        said, ids = text[: match.start()] + text[match.end() :], []
    else:
        return one_line(text)
    if match["request"]:  # else nobody answered
        ids += [f"status {match['status']}", f"request id {match['request']}"]
    said = one_line(said)
    last = f" ({', '.join(ids)})" if ids else ""
    return said + last if len(said) + len(last) <= LONGEST else said
