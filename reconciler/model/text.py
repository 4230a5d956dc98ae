"""Text of others, made safe to show: on one line, short, with nothing in it that steers a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from urllib.parse import urlsplit

# Text that steers nothing: whoever names a file or prints in a build would else write what they like.
#
# On a terminal that is an escape sequence; at a git host a reference, which closes an issue or calls a team.

# What hosts look for: `#1`, `GH-1`, `!1` of GitLab, and `#close`, which Jira acts upon beside the key of an issue;
# `@team`, not within a word, as an e-mail address is no mention; and an address, which may be one of an issue. Of
# whatever scheme: GitLab makes a link of any.
_REFERENCE = re.compile(
    r"(?P<sign>#(?=[A-Za-z0-9])|(?<![A-Za-z0-9_])!(?=[0-9]))|(?P<issue>\bGH-)(?=[0-9])"
    r"|(?<![A-Za-z0-9_])(?P<mention>@)(?=[A-Za-z0-9])"
    r"|(?P<address>://|\bwww\.)(?=[^\s])",
    re.IGNORECASE,
)
# What agents of CIs take for a command wherever it stands in a line: `##vso[` of Azure Pipelines, `##teamcity[`.
_COMMAND = re.compile(r"##(?=([A-Za-z]{0,20}\[))")
_IN_JSON = re.compile(r"#(?=[0-9])|(?<![A-Za-z0-9_])@(?=[A-Za-z0-9])")
_ADDRESS = re.compile(r"https?://[^\s@#]{1,2000}")


def visible(text: str) -> str:
    """One line of a text, with every character that is not printable written as its escape, also a line's end."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def visible_lines(text: str) -> str:
    """The same of a text of several lines, whose ends stay."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    """The same JSON, to be shown on a terminal or by a CI: what steers one is in its strings as JSON's escapes."""
    text = _COMMAND.sub(r"#\\u0023", text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def no_command(text: str, before: str = "") -> str:
    """The text with a blank in what a CI's agent takes for a command, also in one that began in the text `before`."""
    whole = before + text
    places = (max(match.start() + 1, len(before)) for match in _COMMAND.finditer(whole) if match.end(1) > len(before))
    parts, at = [], len(before)
    for place in places:
        parts.append(whole[at:place])
        at = place
    return " ".join([*parts, whole[at:]])


def inert(text: str) -> str:
    """The text with a blank in every reference, mention and address, which no host takes for one then."""
    return _REFERENCE.sub(r"\g<0> ", text)


def inert_address(text: str) -> str:
    """The text as it is where it is an address and nothing else, which somebody gave to be followed; else inert."""
    return text if _ADDRESS.fullmatch(text) else inert(text)


def inert_json(text: str) -> str:
    """The same JSON, with the signs of references and mentions written as escapes. They stand in strings alone."""
    return _IN_JSON.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


# Numbers, lists and times in sentences.


IN_BRACKETS = " (+{} more)"
"""For `and_more`, where what is listed holds an "and"."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """How many there are of what: `1 image`, `3 images`; `plural` where it is more than an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or plural_of(noun)}"


def plural_of(noun: str) -> str:
    """More than one of it: `folders`, `repositories`."""
    return f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"


def joined(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence lists them: `a, b and c`."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def also_as(formats: Iterable[str]) -> str:
    """What an artifact is kept in beside itself, to stand behind its id: ` (and as raw and vmdk)`; else empty."""
    kept = joined(list(formats))
    return f" (and as {kept})" if kept else ""


def first_few(names: Sequence[str], *, most: int, more: str = " and {} more") -> str:
    """Names in a line, and of many the first and how many are left out: `a, b and 3 more`."""
    return ", ".join(names[:most]) + and_more(len(names) - most, more)


def and_more(left_out: int, more: str = " and {} more") -> str:
    """How many of a list are left out, to stand behind those that are named; empty where none is."""
    return more.format(left_out) if left_out > 0 else ""


# Names that are nearly right.

_LONGEST_NAME = 256
_NEAR = 0.6


def nearest(name: str, known: Iterable[str], *, cutoff: float = _NEAR) -> str | None:
    """The known name that was probably meant, or None: of a name that nobody mistypes, too.

    Of those that are as near, one of the same letters: difflib finds us-west-1 as near to us-esat-1 as us-east-1, and
    two swapped letters are the commoner slip. `cutoff` is how alike they have to be, from 0 to 1.
    """
    if len(name) > _LONGEST_NAME:
        return None
    near = get_close_matches(name, sorted(one for one in known if len(one) <= _LONGEST_NAME), n=3, cutoff=cutoff)
    return min(near, key=lambda one: sorted(one) != sorted(name), default=None)


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str, cutoff: float = _NEAR) -> str:
    """The hint for a name that nothing has: the nearest one, or what else helps where none is near."""
    near = nearest(name, known, cutoff=cutoff)
    return f'did you mean "{near}"?' if near is not None else otherwise


def duration(seconds: int) -> str:
    """Seconds for people: `38 s`, `6 min`, `1 h 20 min`; what took none, as it was counted, took `less than 1 s`."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def age_text(age_seconds: int) -> str:
    """Seconds as an age: `5 min`, `7 h`, `12 d`."""
    if age_seconds < 5400:
        return f"{max(age_seconds, 0) // 60} min"
    if age_seconds < 2 * 86400:
        return f"{age_seconds // 3600} h"
    return f"{age_seconds // 86400} d"


def clock_time(seconds: float) -> str:
    """A duration as a clock shows it: `1:12`, `1:02:05`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


# How foreign text and addresses are shown: on one line, short, with nothing in them that should not be seen.

_LONGEST = 200


def decoded(written: bytes) -> str:
    """Bytes as text that fits into JSON and onto a terminal: what is not UTF-8 is shown as its escape."""
    return written.decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """The text with every run of blanks and line ends as one space."""
    return " ".join(text.split())


def cut(text: str, most: int) -> str:
    """The text of at most so many characters; of one that is cut, the last is `…`."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def first_line(text: str) -> str:
    """The text on one printable line of at most 200 characters. It comes from outside and goes to a terminal."""
    return cut(one_line("".join(c if c.isprintable() else " " for c in text)), _LONGEST)


def shorten(text: str, *, limit: int = 60) -> str:
    """Text for a message: one line, printable, at most `limit` characters."""
    return cut("".join(character if character.isprintable() else "\ufffd" for character in text), limit)


def shown_url(url: str) -> str:
    """The address without login, query and fragment, which may hold secrets; empty for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return first_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}") if parts.netloc else ""
