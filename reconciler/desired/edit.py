"""A line of a declaration written by a verb: everything else in the file stays as a person wrote it."""

from __future__ import annotations

from reconciler.desired.yaml_file import read_yaml
from reconciler.model.errors import UserError


def with_key(content: bytes, key: str, row: str, *, path: str) -> bytes:
    """A YAML file with a key at its top set to what a row says; where it is set already, that is replaced.

    Comments, order and line ends of all else stay.

    Args:
        content: The file.
        key: The key.
        row: The whole line, without its end: `hold: {…}`.
        path: The file's name, for errors.

    Raises UserError for a file that is no YAML, or whose mapping is written in braces.
    """
    document = read_yaml(content, path)
    if document.problems:
        raise document.problems[0]
    members = document.root.value
    if not isinstance(members, dict):
        raise TypeError("a document is a mapping")
    starts = sorted(member.place.line for member in members.values())
    braces = not members and document.root.place.line > 0
    if braces or any(member.place.column != 1 for member in members.values()) or len(set(starts)) < len(starts):
        raise UserError(
            f"{path} is not written a key a line, and is left as it is", hint=f"write it there yourself: `{row}`"
        )
    end = "\r\n" if b"\r\n" in content else "\n"
    lines = content.decode().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if key not in members:
        return "".join([*lines[: _last(lines)], row + end, *lines[_last(lines) :]]).encode()
    first = members[key].place.line - 1
    after = next((line - 1 for line in starts if line - 1 > first), _last(lines))
    while after > first + 1 and _is_between(lines[after - 1]):
        after -= 1
    return "".join([*lines[:first], row + end, *lines[after:]]).encode()


def _is_between(line: str) -> bool:
    """Whether a line stands between two keys, and belongs to the next: blank, or a comment of its own."""
    return not line.strip() or line.startswith("#")


def _last(lines: list[str]) -> int:
    """Where the mapping ends: before the mark of the document's end, if there is one."""
    return next((number for number, line in enumerate(lines) if line.rstrip() == "..."), len(lines))
