"""Commits and tags made by plumbing: no checkout is needed and none is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.git.answer import Answer, read_answer
from reconciler.git.command import Finished, Git, failed
from reconciler.git.message import scrub
from reconciler.git.refusal import as_error
from reconciler.git.request import Change, TagRequest
from reconciler.model.errors import Terminal, UserError


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
    blobs = {change.path: _write_blob(git, change.content) for change in changes}
    # The null id is as long as the others: 40 digits, or 64 in a SHA-256 repository.
    gone = "0" * len(parent)
    edits = "".join(f"100644 {oid}\t{path}\0" if oid else f"0 {gone}\t{path}\0" for path, oid in blobs.items())
    with git.with_own_index() as own:
        own.run("read-tree", parent)
        own.run("update-index", "-z", "--index-info", stdin=edits.encode())
        # --missing-ok: a partial clone need not fetch what we don't change.
        tree = own.run("write-tree", "--missing-ok").text
    if tree == git.run("rev-parse", f"{parent}^{{tree}}").text:
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
    known = git.attempt("rev-parse", "--verify", "--quiet", f"refs/tags/{request.name}")
    if known.status == 0:
        return known.text
    message = f"{request.message.strip()}\n"
    blob = _write_blob(git, request.content)
    target, kind = (request.target, "commit") if blob is None else (blob, "blob")
    if not author.sign:
        head = f"object {target}\ntype {kind}\ntag {request.name}\ntagger {author.line}\n\n"
        return git.run("mktag", stdin=(head + message).encode()).text
    # Only `git tag` signs, and it makes the ref as well: taken away again, since the push may yet fail.
    made = git.attempt(
        *("tag", "--sign", "--cleanup=verbatim", "-F", "-", "--", request.name, target),
        stdin=message.encode(),
        environment=author.environment,
    )
    _signed("tag", made, author)
    oid = git.run("rev-parse", f"refs/tags/{request.name}").text
    git.run("update-ref", "-d", f"refs/tags/{request.name}", oid)
    return oid


def _write_blob(git: Git, content: bytes | None) -> str | None:
    return None if content is None else git.run("hash-object", "-w", "--stdin", stdin=content).text


def _signed(verb: str, made: Finished, author: Author) -> str:
    if made.status == 0:
        return made.text
    cause = failed(verb, made)
    # git's ident.c; nothing else that we give it can be wrong with an identity.
    if "disallowed characters" in made.stderr or "empty ident name" in made.stderr:
        raise UserError(
            f"git takes no commit by {author.identity} ({cause.what})",
            mend='name somebody as `git.author` in desired/reconciler.yaml: "Name <address>"',
        )
    reply = read_answer(made)
    if reply.answer is Answer.IN_THE_WAY:  # `git tag` makes the ref here as well
        raise as_error(reply, remote="this clone", branch="")
    if author.sign and type(cause) is Terminal and not cause.mend:
        mend = (
            "check `git config user.signingkey` and `gpg.format`, or set `git.sign: false` in desired/reconciler.yaml"
        )
        raise UserError(f"a commit or tag could not be signed ({cause.what})", mend=mend)
    raise cause
