"""What a caller asks to be recorded, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A file as it should be: its path from the root and its content; None deletes it."""

    path: str
    content: bytes | None


@dataclass(frozen=True)
class TagRequest:
    """An annotated tag to put on a commit that this clone has. Where the name is taken, the tag there stays.

    With `content` it is put on a file of that content instead, and `target` says nothing: what has to be kept and
    fetched like a tag, and belongs in no commit yet.
    """

    name: str
    target: str
    message: str
    content: bytes | None = None


@dataclass(frozen=True)
class Commit:
    """Changes on top of the branch's head, and tags. Without changes, only the tags are pushed."""

    changes: tuple[Change, ...]
    message: str
    tags: tuple[TagRequest, ...] = ()


@dataclass(frozen=True)
class Recorded:
    """How a recording ended well.

    `commit` is the head of `branch` that holds the changes. `changed` is False where that was so before: then nothing
    was committed. `pushed` is False without a remote.
    """

    commit: str
    branch: str
    pushed: bool
    changed: bool
    tries: int
    kept_tags: tuple[str, ...] = ()
    """Requested tags whose name was taken; they were left as they are."""
    owed_tags: tuple[str, ...] = ()
    """Requested tags that could not be made, though the commit is there; `why_owed` says why: the remote takes refs
    one by one, or another tag keeps them out."""
    why_owed: str = ""
    left_behind: str | None = None
    """Why the checkout, though on this branch, was not brought along; None if it was or is elsewhere."""
