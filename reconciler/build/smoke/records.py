"""What pytest tells us while it runs: one JSON object a line, in the words that a person reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from reconciler.model.text import cut, one_line

# What pytest tells us while it runs: one JSON object a line, written by `plugin` over there and read here.
#
# JUnit XML would come only at the end of a run, and not at all of one that hangs or crashes. Imports nothing heavy:
# pytest's process starts with it.

PLUGIN = "reconciler.build.smoke.plugin"
"""What writes the records: imported by pytest's process alone, as it brings pytest."""

LIMIT = "--reconciler-limit"
"""The plugin's option for the seconds after which the run ends itself: whoever started it may have been killed."""

FINDING = "reconciler-finding"
"""The property of a test (pytest's `record_property`) that holds a `Found`."""

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Began:
    """A test begins. `test` is pytest's node id without the host: `test_web.py::test_nginx_serves`."""

    test: str


@dataclass(frozen=True)
class Ended:
    """A test ended, after so many seconds. `what` is one line; `details` is as pytest prints it."""

    test: str
    outcome: Outcome
    seconds: float
    what: str = ""
    details: str = ""


@dataclass(frozen=True)
class Found:
    """A test found something that breaks nothing. `keys` are fingerprints. `test` is filled in by the plugin."""

    code: str
    text: str
    hint: str
    keys: list[str] = field(default_factory=list)
    test: str = ""


@dataclass(frozen=True)
class Broken:
    """A file that holds tests and could not be read. `line` is 0 where it is not known."""

    path: str
    line: int
    what: str
    details: str = ""


@dataclass(frozen=True)
class Finished:
    """The run came to its end. `exit_code` is pytest's, which a process that a test ended does not have."""

    exit_code: int


Record = Began | Found | Ended | Broken | Finished
_KINDS: dict[str, type[Record]] = {
    "began": Began, "found": Found, "ended": Ended, "broken": Broken, "finished": Finished,
}  # fmt: skip


def line(record: Record) -> str:
    """One record as a line, with its end. Lone surrogates, as in names of odd files, are escaped by JSON."""
    return json.dumps({"record": type(record).__name__.lower(), **asdict(record)}) + "\n"


def read(text: str) -> Record | None:
    """The record on a line; None for a line that is none: a suite may write to the same place."""
    try:
        fields = json.loads(text)
        return _KINDS[fields.pop("record")](**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


# What a person wants to read of a failed test, in one line. Imports nothing heavy: pytest's process does this.

LONGEST = 300

_WHERE = ("+  where ", "and   where ")
_SAID_ALREADY = ("AssertionError: ", "Failed: ")
_SSH_FAILED = 255


def said_by(raised: BaseException, shown: str) -> str:
    """The line for an exception. `shown` is its type and message as pytest has it, several lines often.

    The author's own message if there is one; else the expression, with the values that pytest found behind it, as
    `assert False` says nothing: `assert False, where False = <service nginx>.is_running`.
    """
    if (lost := _without_ssh(raised)) is not None:
        return lost
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    if not lines:
        return type(raised).__name__
    first = lines[0]
    for prefix in _SAID_ALREADY:
        first = first.removeprefix(prefix)
    if not first.startswith("assert "):
        return brief(first)
    found = [line.removeprefix(prefix) for line in lines for prefix in _WHERE if line.startswith(prefix)]
    return brief(", ".join([first, *(f"where {one}" for one in found)]))


def brief(text: str) -> str:
    """The text with at most `LONGEST` characters, its blanks in single spaces."""
    return cut(one_line(text), LONGEST)


def _without_ssh(raised: BaseException) -> str | None:
    """The line for testinfra's RuntimeError(result): `ssh` ended with 255, or by a signal that ended the command."""
    result = raised.args[0] if isinstance(raised, RuntimeError) and raised.args else None
    if getattr(result, "exit_status", None) != _SSH_FAILED:
        return None
    lines = [line.strip() for line in str(getattr(result, "stderr", "")).splitlines() if line.strip()]
    return brief(f"SSH: {lines[-1]}" if lines else "a command was ended by a signal")
