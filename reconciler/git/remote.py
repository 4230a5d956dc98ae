"""A remote: what it is called, what its branches are at, and moving one by compare-and-swap."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.git.answer import Answer, Reply, read_answer, rejected_refs
from reconciler.git.command import NETWORK_LIMIT_SECONDS, Finished, Git, failed
from reconciler.git.history import find_named, find_ref, is_ancestor, resolve
from reconciler.git.processes import of_remote
from reconciler.git.refusal import as_error
from reconciler.git.urls import without_userinfo
from reconciler.model.errors import ReconcilerError, UserError

PRIVATE_REFS = "refs/reconciler/remotes"
"""Fetched heads are kept here: the checkout's own refs/remotes stay as its owner last saw them."""
_FOR_HEAD = ("ls-remote", "--symref", "--")


@dataclass
class _Learnt:
    """What pushes have shown of a server."""

    atomic: bool = True
    """Whether it takes several refs together. CodeCommit and older Azure DevOps don't; no listing says so."""


def remotes(git: Git) -> tuple[str, ...]:
    """The names of the clone's remotes."""
    return tuple(git.once("remote").lines)


@dataclass(frozen=True)
class Remote:
    """A configured remote."""

    git: Git
    name: str
    _learnt: _Learnt = field(default_factory=_Learnt, repr=False, compare=False)

    @property
    def url(self) -> str:
        """Where it is, without credentials. For people: git itself is given the name."""
        found = self.git.once("remote", "get-url", "--", self.name)
        if found.status != 0:
            raise failed("remote", found)
        return without_userinfo(found.text)

    def remembered_branch(self) -> str | None:
        """The branch that the remote's HEAD named when it was cloned; None where the clone does not remember."""
        named = find_named(self.git, f"refs/remotes/{self.name}/HEAD", once=True)
        return named.removeprefix(f"refs/remotes/{self.name}/") if named is not None else None

    def default_branch(self) -> str:
        """The branch that the remote's HEAD names, as the clone remembers it, else as the remote says.

        Raises:
            UserError: the remote has no commit yet, or no HEAD.
            ReconcilerError: it could not be asked.
        """
        known = self.remembered_branch()
        if known is not None:
            return known
        asked = self._over_the_network(*_FOR_HEAD, self.name, "HEAD")
        if asked.status != 0:
            raise as_error(read_answer(asked), remote=self.name, branch="HEAD")
        if (named := _branch_of_head(asked)) is not None:
            return named
        if asked.text:
            raise UserError(
                f"{self.name} has no default branch", hint="name one as `git.branch` in desired/reconciler.yaml"
            )
        if branches := sorted(self.branches()):
            raise UserError(
                f"{self.name} has no default branch: its HEAD names one without a commit",
                hint=(
                    "set it where the repository is, such as in its settings",
                    f"or name one as `git.branch` in desired/reconciler.yaml, such as {branches[0]}",
                ),
            )
        raise UserError(f"{self.name} has no commit yet", hint=f"push the first: `git push {self.name} HEAD`")

    def told_branch(self, *, limit_seconds: float) -> str | None:
        """The branch that the remote's HEAD names; None where it names none, or does not answer in time. Asked once."""
        asked = self.git.once(*self._settings, *_FOR_HEAD, self.name, "HEAD", limit_seconds=limit_seconds)
        return _branch_of_head(asked) if asked.status == 0 else None

    def branches(self) -> frozenset[str]:
        """Every branch that the remote has now. Raises as `fetch` does."""
        asked = self._over_the_network("ls-remote", "--heads", "--", self.name)
        if asked.status != 0:
            raise as_error(read_answer(asked), remote=self.name, branch="HEAD")
        return frozenset(line.partition("\trefs/heads/")[2] for line in asked.lines)

    def tags(self, below: Iterable[str]) -> frozenset[str]:
        """The names of the fleet's tags that the remote has now below paths such as `image`. Raises as `fetch` does."""
        patterns = (f"refs/tags/{self.git.tag(path)}/*" for path in below)
        asked = self._over_the_network("ls-remote", "--tags", "--refs", "--", self.name, *patterns)
        if asked.status != 0:
            raise as_error(read_answer(asked), remote=self.name, branch="HEAD")
        own = f"\trefs/tags/{self.git.tag('')}"
        return frozenset(line.partition(own)[2] for line in asked.lines)

    def fetch(self, branch: str, *, limit_seconds: float = NETWORK_LIMIT_SECONDS) -> str:
        """Fetch one branch and return its head. A shallow clone stays shallow.

        Raises:
            UserError: there is no such repository or branch.
            Contention: another process of this clone fetched it just now.
            Locked: another process of this clone is fetching, or was killed while it did.
            Transient: the remote does not answer.
            Terminal: the credentials are refused.
        """
        ref = f"{PRIVATE_REFS}/{self.name}/{branch}"
        specification = f"+refs/heads/{branch}:{ref}"
        fetched = self._fetch(specification, limit_seconds=limit_seconds)
        reply = read_answer(fetched)
        if reply.answer is Answer.IN_THE_WAY and self._make_way(ref):
            reply = read_answer(self._fetch(specification, limit_seconds=limit_seconds))
        if reply.answer is not Answer.DONE:
            raise as_error(reply, remote=self.name, branch=branch)
        return resolve(self.git, ref)

    def complete(self, commit: str, *, limit_seconds: float) -> bool:
        """Fetch all of a commit's history, so that the clone is shallow no more; whether that was done in time."""
        return self._fetch(commit, "--unshallow", limit_seconds=limit_seconds).status == 0

    def known(self, branch: str) -> str | None:
        """The head of a branch as it was last fetched; None if it never was."""
        return find_ref(self.git, f"{PRIVATE_REFS}/{self.name}/{branch}")

    def forget(self, branch: str) -> None:
        """Forget what was fetched of a branch that the remote no longer has."""
        if self.known(branch) is not None:
            self.git.attempt("update-ref", "-d", f"{PRIVATE_REFS}/{self.name}/{branch}")

    def fetch_tag(self, name: str) -> bool:
        """Fetch one tag; whether there is one. A shallow clone gets the history below it that it lacks.

        Raises:
            Transient: the remote does not answer.
            Terminal: the credentials are refused.
        """
        ref = f"refs/tags/{self.git.tag(name)}"
        fetched = self._fetch(f"{ref}:{ref}")
        if fetched.status == 0:
            return True
        reply = read_answer(fetched)
        if reply.answer is Answer.NO_BRANCH:
            return False
        raise as_error(reply, remote=self.name, branch=ref)

    def publish(self, branch: Mapping[str, str], *, expected: Mapping[str, str], tags: Mapping[str, str]) -> Reply:
        """Move a branch (`ref -> object id`, or none) that is at `expected`, and make tags: all of it, or nothing.

        Where the server takes refs one by one only, the branch goes first. What then is not known to be there although
        the branch has moved, or may have, stands in `Reply.owed`: a later `publish` of the tags alone makes up for it.
        """
        wanted = {f"refs/tags/{name}": oid for name, oid in tags.items()}
        reply = Reply(Answer.NOT_ATOMIC)
        if self._learnt.atomic:
            reply = read_answer(self._push({**branch, **wanted}, expected=expected))
        if reply.answer is Answer.NOT_ATOMIC:
            self._learnt.atomic = False
            reply = self._push_one_by_one(branch, expected=expected, tags=tags)
        if reply.answer is Answer.LOST and not reply.moved:
            reply = self._unless_in_the_way(reply, (*branch, *wanted))
        elif reply.answer is Answer.IN_THE_WAY and reply.in_the_way is None:
            reply = self._unless_in_the_way(reply, reply.refs or (*branch, *wanted))
        there = tags.keys() - reply.owed.keys() if reply.answer is Answer.DONE or reply.owed else ()
        for name in sorted(there):
            # So that this clone knows them as well; one that it had before stays.
            self.git.attempt("update-ref", f"refs/tags/{name}", tags[name], "0" * len(tags[name]))
        return reply

    def _push_one_by_one(
        self, branch: Mapping[str, str], *, expected: Mapping[str, str], tags: Mapping[str, str]
    ) -> Reply:
        if branch:
            moved = read_answer(self._push(branch, expected=expected))
            if moved.answer is Answer.UNREACHABLE:
                return replace(moved, owed=tags)
            if moved.answer is not Answer.DONE or not tags:
                return moved
        pushed = self._push({f"refs/tags/{name}": oid for name, oid in tags.items()}, expected={}, atomic=False)
        made = read_answer(pushed)
        if made.answer is Answer.DONE or not branch:
            return made
        refused = rejected_refs(pushed)
        left = {name: oid for name, oid in tags.items() if not refused or f"refs/tags/{name}" in refused}
        return replace(made, owed=left)

    def _push(self, refs: Mapping[str, str], *, expected: Mapping[str, str], atomic: bool = True) -> Finished:
        leases = [f"--force-with-lease={ref}:{oid}" for ref, oid in expected.items()]
        # A lease is stricter than "no fast-forward": a branch that was reset to an older commit refuses us, too.
        # One ref is atomic anyway.
        together = ["--atomic"] if atomic and len(refs) > 1 else []
        specs = [f"{oid}:{ref}" for ref, oid in refs.items()]
        return self._over_the_network("push", "--porcelain", "--no-verify", *together, *leases, "--", self.name, *specs)

    def _unless_in_the_way(self, reply: Reply, refs: Iterable[str]) -> Reply:
        """The reply; or, where a ref of the remote has a name above or below a wanted one, that this is in the way.

        Hosts word it differently, or say no more than that the ref could not be updated, as of a lost race.
        """
        asked = self._over_the_network("ls-remote", "--heads", "--tags", "--refs", "--", self.name)
        there = [line.partition("\t")[2] for line in asked.lines] if asked.status == 0 else []
        for ref in refs:
            blocking = next((one for one in there if ref.startswith(f"{one}/") or one.startswith(f"{ref}/")), None)
            if blocking is not None:
                return replace(reply, answer=Answer.IN_THE_WAY, refs=(ref,), in_the_way=blocking)
        return reply

    def _make_way(self, ref: str) -> bool:
        """Forget fetched branches that are in the way of another, which they may be once they are gone there."""
        private = self.git.run("for-each-ref", "--format=%(refname)", PRIVATE_REFS).lines
        blocking = [one for one in private if ref.startswith(f"{one}/") or one.startswith(f"{ref}/")]
        for one in blocking:
            self.git.attempt("update-ref", "-d", one)
        return bool(blocking)

    def _fetch(self, refspec: str, *more: str, limit_seconds: float = NETWORK_LIMIT_SECONDS) -> Finished:
        # --refmap= keeps git from also moving refs/remotes: two fetches at once would collide there.
        # Not --quiet, which would also hide why a ref was refused.
        options = ("--no-tags", "--no-prune", "--no-write-fetch-head", "--refmap=")
        return self._over_the_network("fetch", *options, *more, "--", self.name, refspec, limit_seconds=limit_seconds)

    def _over_the_network(self, *arguments: str, limit_seconds: float = NETWORK_LIMIT_SECONDS) -> Finished:
        return self.git.attempt(*self._settings, *arguments, limit_seconds=limit_seconds)

    @property
    def _settings(self) -> tuple[str, ...]:
        return tuple(part for setting in of_remote(self.name) for part in ("-c", setting))


def _branch_of_head(asked: Finished) -> str | None:
    """The branch that HEAD names in an answer of `ls-remote --symref`."""
    named = (line for line in asked.lines if line.startswith("ref: refs/heads/") and line.endswith("\tHEAD"))
    return next((line.removeprefix("ref: refs/heads/").removesuffix("\tHEAD") for line in named), None)


@dataclass(frozen=True)
class RemoteBranch:
    """A branch of a remote, to record on; a `Destination`."""

    git: Git
    remote: Remote
    branch: str
    pushed: bool = True

    def head(self) -> str:
        """Fetch the branch and return its head. Raises as `Remote.fetch` does."""
        return self.remote.fetch(self.branch)

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        """Push, expecting the branch at `onto`."""
        branch = f"refs/heads/{self.branch}"
        moved = {branch: commit} if commit != onto else {}
        return self.remote.publish(moved, expected=dict.fromkeys(moved, onto), tags=tags)

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        """Fast-forward the checkout, if it is on this branch and has nothing of its own."""
        checkout = _checked_out(self.git)
        if checkout.branch != self.branch:
            return None
        # Mostly it is where the branch was.
        if checkout.head not in (None, onto) and not is_ancestor(self.git, checkout.head, commit):
            return "it has commits that are not pushed"
        if checkout.changed:
            return "it has local changes"
        merged = self.git.attempt("merge", "--ff-only", "--quiet", "--no-verify-signatures", commit)
        return None if merged.status == 0 else failed("merge", merged).what

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""
        return as_error(reply, remote=self.remote.name, branch=self.branch)


@dataclass(frozen=True)
class _Checkout:
    """What is checked out: None for the branch where HEAD is detached, and for the commit where there is none yet.

    `changed` says whether a tracked file or the index differs from it.
    """

    branch: str | None
    head: str | None
    changed: bool


def _checked_out(git: Git) -> _Checkout:
    """The checkout as it is now (git-status(1), "Porcelain Format Version 2")."""
    options = ("--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames", "--untracked-files=no")
    lines = [os.fsdecode(line) for line in git.run("status", *options).stdout.split(b"\0") if line]
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    branch, head = said["branch.head"], said["branch.oid"]
    return _Checkout(
        branch=None if branch == "(detached)" else branch,
        head=None if head == "(initial)" else head,
        changed=any(not line.startswith("# ") for line in lines),
    )
