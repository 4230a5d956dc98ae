"""Commits and tags made by plumbing, from what a caller asks to be recorded: no checkout is touched."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reconciler.git.answer import Answer, read_answer
from reconciler.git.command import Finished, Git, failed
from reconciler.git.processes import read_line
from reconciler.git.refusal import as_error
from reconciler.git.store import FILE, FOLDER, SUBMODULE, Entry, Object, find_id, read, read_folder
from reconciler.model.errors import Terminal, UserError

# What a caller asks to be recorded, and what came of it.


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
    owed_tags: tuple[str, ...] = ()
    """Requested tags that could not be made, though the commit is there; `why_owed` says why: the remote takes refs
    one by one, or another tag keeps them out."""
    why_owed: str = ""
    left_behind: str | None = None
    """Why the checkout, though on this branch, was not brought along; None if it was or is elsewhere."""


# Commit messages that do what they say and no more.

# CircleCI ("Skip jobs"), GitHub Actions ("Skipping workflow runs"), GitLab ("Skip a pipeline") and Azure Pipelines
# ("Skipping CI for individual pushes") read these anywhere in a message, GitLab with `_` as well, Woodpecker with any
# number of blanks. Others have their own name in the place of `ci`. Azure reads ***NO_CI***, too.
_BRACKETED = re.compile(
    r"\[([ _-]{0,3}(?:(?:skip|no)[ _-]{0,3}[a-z]{1,20}|[a-z]{1,20}[ _-]{0,3}skip)[ _-]{0,3})\]", re.IGNORECASE
)
_STARRED = re.compile(r"\*\*\*(NO_CI)\*\*\*", re.IGNORECASE)
_TRAILER = re.compile(r"^(skip-checks):", re.IGNORECASE | re.MULTILINE)


def scrub(message: str) -> str:
    """The message with every CI switch in it made harmless: `[skip ci]` becomes `(skip ci)`.

    A state commit quotes what people wrote. A quoted switch at the head of the branch would silence CI, on CircleCI's
    older project types the scheduled pipelines too, and nothing would show it.
    """
    message = message.replace("\0", "\\0")  # git takes none
    message = _BRACKETED.sub(r"(\1)", message)
    message = _STARRED.sub(r"\1", message)
    return _TRAILER.sub(r"(\1)", message)


# Commits and tags made by plumbing: no checkout is needed and none is touched.

_KINDS = {FOLDER: "tree", SUBMODULE: "commit"}


@dataclass(frozen=True)
class Author:
    """Whose commits and tags these are: `Name <address>`, when, and whether they are signed."""

    identity: str
    moment: datetime
    sign: bool

    @property
    def _named(self) -> tuple[str, str]:
        name, _, address = self.identity.rpartition(" <")
        return name, address.removesuffix(">")

    @property
    def _seconds(self) -> int:
        return int(self.moment.timestamp())

    @property
    def environment(self) -> Mapping[str, str]:
        """As git reads it. Everything is given, so that no machine's name or clock gets into a commit."""
        name, address = self._named
        who = {"NAME": name, "EMAIL": address, "DATE": f"@{self._seconds} +0000"}
        return {f"GIT_{role}_{fact}": value for role in ("AUTHOR", "COMMITTER") for fact, value in who.items()}

    @property
    def line(self) -> str:
        """As it stands in a tag object."""
        return f"{self.identity} {self._seconds} +0000"


def write_commit(git: Git, parent: str, *, changes: Iterable[Change], message: str, author: Author) -> str:
    """Write a commit with these changes on top of `parent` and return its id: `parent` itself if nothing changes.

    Raises:
        UserError: it can't be signed.
    """
    contents = {git.inside(change.path): change.content for change in changes}
    written = {path: content for path, content in contents.items() if content is not None}
    blobs = dict(zip(written, _write_blobs(git, list(written.values())), strict=True))
    edits = {tuple(os.fsencode(path).split(b"/")): blobs.get(path) for path in contents}
    (before,) = read(git, [f"{parent}^{{tree}}"]).values()
    tree = _write_folder(git, before, edits) or _write_entries(git, ())
    if tree == before.oid:
        return parent
    return commit_tree(git, tree, parent=parent, message=message, author=author)


def commit_tree(git: Git, tree: str, *, parent: str, message: str, author: Author) -> str:
    """Write a commit of a tree on top of `parent` and return its id. Raises UserError if it can't be signed."""
    signing = ("-S",) if author.sign else ("--no-gpg-sign",)
    made = git.attempt(
        *("commit-tree", tree, "-p", parent, *signing, "-F", "-"),
        stdin=f"{scrub(message).strip()}\n".encode(),
        environment=author.environment,
    )
    return _signed("commit-tree", made, author)


def write_tag(git: Git, request: TagRequest, *, author: Author) -> str:
    """Write an annotated tag object and return its id. No ref of this clone points to it yet.

    The same request by the same author is the same object, so that pushing it again after a lost answer is a success.
    A tag of that name that this clone has already is that tag: it is returned as it is.

    Raises:
        UserError: it can't be signed.
        Terminal: its target is not a commit in this clone.
    """
    name = git.tag(request.name)
    known = find_id(git, f"refs/tags/{name}")
    if known is not None:
        return known
    message = f"{request.message.strip()}\n"
    target, kind = request.target, "commit"
    if request.content is not None:
        (target,), kind = _write_blobs(git, [request.content]), "blob"
    if not author.sign:
        head = f"object {target}\ntype {kind}\ntag {name}\ntagger {author.line}\n\n"
        return git.run("mktag", stdin=(head + message).encode()).text
    # Only `git tag` signs, and it makes the ref as well: taken away again, since the push may yet fail.
    made = git.attempt(
        *("tag", "--sign", "--cleanup=verbatim", "-F", "-", "--", name, target),
        stdin=message.encode(),
        environment=author.environment,
    )
    _signed("tag", made, author)
    ref = f"refs/tags/{name}"
    oid = read(git, [ref])[ref].oid
    git.run("update-ref", "-d", ref, oid)
    return oid


def _write_blobs(git: Git, contents: Sequence[bytes]) -> list[str]:
    """Write blobs and return their ids."""
    with tempfile.TemporaryDirectory(prefix="reconciler-blobs-") as folder:
        files = [Path(folder, str(number)) for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        process = git.batch("hash-object", "-w", "--no-filters", "--stdin-paths")
        return [oid.decode() for oid in process.ask([os.fsencode(file) + b"\n" for file in files], read_line)]


def _write_folder(git: Git, folder: Object | None, edits: Mapping[tuple[bytes, ...], str | None]) -> str | None:
    """Write a tree that is another (None: an empty one) but for files below it, and return its id; None if it is empty.

    `edits` are by path from there: the blob of a file, or None where there is to be none.
    """
    entries = {entry.name: entry for entry in read_folder(folder)} if folder is not None else {}
    below: dict[bytes, dict[tuple[bytes, ...], str | None]] = {}
    for (name, *rest), oid in edits.items():
        if rest:
            below.setdefault(name, {})[tuple(rest)] = oid
        elif oid is not None:
            entries[name] = Entry(name, FILE, oid)
        elif name in entries and entries[name].mode != FOLDER:
            del entries[name]
    for name, inner in below.items():
        entry = entries.get(name)
        before = read(git, [entry.oid])[entry.oid] if entry is not None and entry.mode == FOLDER else None
        if before is None and not any(inner.values()):
            continue  # there is nothing to take away
        oid = _write_folder(git, before, inner)
        if oid is None:
            del entries[name]
        else:
            entries[name] = Entry(name, FOLDER, oid)
    return _write_entries(git, entries.values()) if entries else None


def _write_entries(git: Git, entries: Iterable[Entry]) -> str:
    """Write a tree and return its id."""
    lines = (f"{one.mode} {_KINDS.get(one.mode, 'blob')} {one.oid}\t".encode() + one.name + b"\0" for one in entries)
    # --missing: a partial clone need not fetch what we don't change.
    process = git.batch("mktree", "-z", "--missing", "--batch")
    (oid,) = process.ask([b"".join(lines) + b"\0"], read_line)
    return oid.decode()


def _signed(verb: str, made: Finished, author: Author) -> str:
    if made.status == 0:
        return made.text
    cause = failed(verb, made)
    # git's ident.c; nothing else that we give it can be wrong with an identity.
    if "disallowed characters" in made.stderr or "empty ident name" in made.stderr:
        raise UserError(
            f"git takes no commit by {author.identity} ({cause.what})",
            hint='name somebody as `git.author` in desired/reconciler.yaml: "Name <address>"',
        )
    reply = read_answer(made)
    if reply.answer is Answer.IN_THE_WAY:  # `git tag` makes the ref here as well
        raise as_error(reply, remote="this clone", branch="")
    if author.sign and type(cause) is Terminal and not cause.hint:
        hint = (
            "check `git config user.signingkey` and `gpg.format`, or set `git.sign: false` in desired/reconciler.yaml"
        )
        raise UserError(f"a commit or tag could not be signed ({cause.what})", hint=hint)
    raise cause


def commit_as_person(root: Path, path: str, message: str) -> bool:
    """Commit one file on the branch that is checked out, with this person's own hooks, name and signature.

    Returns whether there was anything to commit: not where the file is as HEAD has it. Git talks to the person's
    terminal: a key may ask for its passphrase. Raises Terminal where git, or a hook, refuses.

    Args:
        root: The fleet's folder.
        path: The file, as seen from there.
        message: The commit's message.
    """
    failed_to_commit = Terminal(
        f"git did not commit {path}: what it says stands above", hint="the file is changed: `git diff HEAD`"
    )

    def git(*command: str) -> bool:
        return subprocess.run(["git", *command], cwd=root, check=False).returncode == 0

    if not git("add", "--", path):
        raise failed_to_commit
    if git("diff", "--cached", "--quiet", "--", path):
        return False
    if not git("commit", "--quiet", "--message", message, "--", path):
        raise failed_to_commit
    return True
