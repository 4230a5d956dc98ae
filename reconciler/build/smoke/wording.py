"""What a person wants to read of a failed test, in one line. Imports nothing heavy: pytest's process does this."""

from __future__ import annotations

LONGEST = 300

_WHERE = ("+  where ", "and   where ")
_SAID_ALREADY = ("AssertionError: ", "Failed: ")
_SSH_FAILED = 255


def one_line(raised: BaseException, shown: str) -> str:
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
        return cut(first)
    found = [line.removeprefix(prefix) for line in lines for prefix in _WHERE if line.startswith(prefix)]
    return cut(", ".join([first, *(f"where {one}" for one in found)]))


def cut(text: str) -> str:
    """The text with at most `LONGEST` characters, its blanks in single spaces."""
    joined = " ".join(text.split())
    return joined if len(joined) <= LONGEST else f"{joined[: LONGEST - 1]}…"


def _without_ssh(raised: BaseException) -> str | None:
    """The line for testinfra's RuntimeError(result): `ssh` ended with 255, or by a signal that ended the command."""
    result = raised.args[0] if isinstance(raised, RuntimeError) and raised.args else None
    if getattr(result, "exit_status", None) != _SSH_FAILED:
        return None
    lines = [line.strip() for line in str(getattr(result, "stderr", "")).splitlines() if line.strip()]
    return cut(f"SSH: {lines[-1]}" if lines else "a command was ended by a signal")
