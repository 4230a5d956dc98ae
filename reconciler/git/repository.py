"""The repository that the controller works in, and one to rehearse in."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reconciler.git.command import Finished, Git, failed
from reconciler.git.destination import Target, current_branch, find_destination, look_at
from reconciler.git.export import Export, export, installed
from reconciler.git.history import (
    changed_by_merge,
    find_commit,
    find_ref,
    is_ancestor,
    is_shallow,
    merge_base,
    merge_bases,
    newest,
    resolve,
)
from reconciler.git.objects import Author, commit_tree
from reconciler.git.proposal import Confirms, proposal
from reconciler.git.recorder import Recorder
from reconciler.git.remote import Remote, remotes
from reconciler.git.store import GitTree, read_tree
from reconciler.git.tags import AnnotatedTag, TagObject, read_tag, tags_below
from reconciler.git.urls import fleet_name, repository_name
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.text import visible
from reconciler.model.values import is_commit_id

_DESIRED = "desired"


@dataclass(frozen=True)
class Repository:
    """A checkout. What changes (head, branch) is read when it is asked for; what is configured (remotes), once.

    `root` is the fleet's folder in it: the one that holds `desired/`.
    """

    root: Path
    git: Git

    @classmethod
    def open(cls, directory: Path, *, unborn: bool = False) -> Repository:
        """Find the repository that a folder is in, and the fleet: the nearest folder above with a `desired/` in it.

        Without one it is the repository's root. `unborn` is for callers that read the checkout alone: a repository
        without a first commit will do.

        Raises:
            UserError: it is in none, the repository is bare, has no commit or belongs to somebody else, or git is not
                installed.
        """
        if not directory.is_dir():
            raise UserError(f"there is no folder {directory}")
        git = Git(directory)
        asked = ("--absolute-git-dir", "--show-toplevel", "--show-prefix")
        found = git.attempt("rev-parse", *asked)
        if found.status != 0:
            raise _unusable(directory, found)
        told = found.text.split("\n")
        if len(told) != len(asked):  # a folder's name has a line's end in it
            told = [git.run("rev-parse", one).text for one in asked]
        of, top, prefix = told
        if directory.resolve().is_relative_to(Path(of).resolve()):
            raise _brought_by_a_commit(directory)
        below = _fleet_folder(Path(top), prefix)
        repository = cls(Path(top, below), Git(Path(top), below=below, folder=Path(of)))
        if not unborn and find_commit(repository.git, "HEAD") is None:
            raise UserError(f"{top} has no commit yet", hint='make the first: `git commit --allow-empty -m "Begin"`')
        return repository

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return resolve(self.git, "HEAD")

    @property
    def branch(self) -> str | None:
        """The branch that is checked out, or None where HEAD is detached."""
        return current_branch(self.git)

    @property
    def shallow(self) -> bool:
        """Whether the clone's history is cut off."""
        return is_shallow(self.git)

    def remote(self, name: str = "origin") -> Remote | None:
        """The remote of that name, or None."""
        return Remote(self.git, name) if name in remotes(self.git) else None

    def name(self, remote: str = "origin") -> str:
        """`owner/name` of the remote, as this clone spells it; without a remote, the folder's name."""
        return repository_name(self._url(remote)) or self.git.directory.name

    def fleet_names(self, remote: str = "origin") -> tuple[str, str]:
        """The fleet's name as this clone spells its remote, and that which is the same for everyone who clones it.

        A fleet below the root has its folder in its name: two in one repository are two. Without a remote, both are
        named after the repository's folder.
        """
        url, folder = self._url(remote), self.git.directory.name
        names = repository_name(url) or folder, fleet_name(url) or folder
        spelt, shared = (posixpath.join(name, self.git.below).rstrip("/") for name in names)
        return spelt, shared

    def fleet_name(self, remote: str = "origin") -> str:
        """The name of the fleet, the same for everyone who clones it."""
        return self.fleet_names(remote)[1]

    def _url(self, remote: str) -> str:
        found = self.remote(remote)
        return found.url if found is not None else ""

    def resolve(self, revision: str) -> str:
        """The id of a commit or tree. Raises UserError if this clone has none such."""
        return resolve(self.git, revision)

    def has(self, commit: str) -> bool:
        """Whether this clone has a commit of this id: what else names one may name another tomorrow."""
        return is_commit_id(commit) and find_commit(self.git, commit) is not None

    def tree(self, revision: str = "HEAD") -> GitTree:
        """The files of a revision. Raises UserError if this clone has none such."""
        return read_tree(self.git, resolve(self.git, revision))

    def worktree_tree(self) -> GitTree:
        """The files as they lie in the checkout, committed or not; ignored ones aside."""
        return read_tree(self.git, _write_worktree(self.git))

    def dirty(self, paths: Iterable[str] = ()) -> tuple[str, ...]:
        """Files that differ from HEAD or are not tracked, at or below `paths` (absent: everywhere)."""
        return _dirty_paths(self.git, paths)

    def export(self, commit: str, directory: Path, *, used: Collection[str] = ()) -> Export:
        """Write a commit's files to a folder, exactly as committed. Raises as `reconciler.git.export.export` does.

        The folder is as the repository, also where the fleet is below its root. `used` are the paths, as seen from the
        fleet's folder, whose content in Git LFS is needed.
        """
        # One that counts from the root, as whoever writes all of it does.
        git = replace(self.git, below="") if self.git.below else self.git
        return export(git, commit, directory, used=[self.git.inside(path) for path in used])

    @property
    def has_lfs(self) -> bool:
        """Whether git-lfs is installed."""
        return installed(self.git)

    def merge_base(self, one: str, other: str) -> str | None:
        """The commit where two histories parted; None where this clone knows of none."""
        return merge_base(self.git, one, other)

    def merge_bases(self, one: str, other: str) -> tuple[str, ...]:
        """Every commit where two histories parted; none where this clone knows of none."""
        return merge_bases(self.git, one, other)

    def changed_by_merge(self, onto: str, other: str, *, folder: str) -> tuple[str, ...] | None:
        """The files in a folder that a merge leaves otherwise than `onto` has them; None where git can't tell."""
        return changed_by_merge(self.git, onto, other, folder=folder)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` contains `older` (or is it), as far as this clone's history goes."""
        return is_ancestor(self.git, older, newer)

    def newest(self, commits: Sequence[str]) -> str:
        """The one of these commits that was made on top of the others."""
        return newest(self.git, commits)

    def annotated_tag(self, name: str, *, remote: str = "origin") -> TagObject | None:
        """An annotated tag, fetched if this clone does not have it; None where there is no such tag.

        Whoever may push tags may have written it: what is believed of it, `reconciler.plan.trust` decides.

        Raises:
            Transient: the remote does not answer.
            Terminal: the credentials are refused.
        """
        there = read_tag(self.git, name)
        found = self.remote(remote) if there is None else None
        if found is not None and not found.fetch_tag(name):
            return None
        return there if there is not None else read_tag(self.git, name)

    def tagged_commit(self, name: str) -> str:
        """The commit that a tag of this clone stands on. Raises UserError if there is no such tag."""
        return resolve(self.git, f"refs/tags/{self.git.tag(name)}")

    def check_recording(self, settings: GitSettings, *, now: datetime) -> None:
        """Make a commit that nobody will see: as the author in the settings, signed where they ask for it.

        Raises:
            UserError: git takes no commit of that author, or it can't be signed.
            ReconcilerError: nothing can be written to this clone.
        """
        author = Author(settings.author, now, sign=settings.sign)
        tree = resolve(self.git, "HEAD^{tree}")
        commit_tree(self.git, tree, parent=self.head, message="Can a commit be made?", author=author)

    def tags(self, *prefixes: str) -> tuple[AnnotatedTag, ...]:
        """The annotated tags of this clone below paths such as `image/web`; by name."""
        return tags_below(self.git, *prefixes)

    def beside_upstream(self) -> tuple[int, int]:
        """How many commits the checkout is ahead of and behind its upstream, as last fetched; none without one."""
        counted = self.git.attempt("rev-list", "--left-right", "--count", "HEAD...@{upstream}")
        if counted.status != 0:
            return 0, 0
        ahead, behind = counted.text.split()
        return int(ahead), int(behind)

    def on_another_branch(self, settings: GitSettings) -> str | None:
        """The branch that state is recorded to, where another one is checked out; None where this one is.

        Nobody is asked: where the clone does not remember the remote's default branch, this one counts as it.
        """
        remote = self.remote(settings.remote)
        recorded = settings.branch or (remote.remembered_branch() if remote is not None else None)
        return recorded if recorded is not None and self.branch not in (None, recorded) else None

    def remembered(self, remote: str, branch: str | None = None) -> tuple[str, str] | None:
        """A remote's branch (its default one if absent) and its head, as this clone knows them; None if it does not.

        Nobody is asked. Of what we fetched and what a person did, the newer counts.
        """
        found = self.remote(remote)
        name = branch or (found.remembered_branch() if found is not None else None)
        if found is None or name is None:
            return None
        heads = (found.known(name), find_ref(self.git, f"refs/remotes/{remote}/{name}"))
        known = [one for one in heads if one is not None]
        return (name, self.newest(known)) if known else None

    def target(self, settings: GitSettings) -> Target:
        """The branch that state is recorded to, fetched, and how the checkout stands to it.

        Raises:
            UserError: there is no such remote or branch, or it has no commit.
            Transient: the remote does not answer.
            Terminal: the credentials are refused.
        """
        return look_at(self.git, find_destination(self.git, settings))

    def recorder(
        self,
        settings: GitSettings,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        random: Callable[[], float],
        confirms: Confirms | None = None,
    ) -> Recorder:
        """Whoever records to that branch. `sleep` takes seconds, `random` returns 0 to 1. Raises as `target` does.

        `confirms` says what stays of an earlier proposal that nobody signed (`git.push: pull-request`).
        """
        destination = find_destination(self.git, settings)
        if settings.push == "pull-request":
            destination = proposal(self.git, destination, settings, confirms=confirms)
        return Recorder(
            self.git, destination, author=settings.author, sign=settings.sign, now=now, sleep=sleep, random=random
        )


def _dirty_paths(git: Git, paths: Iterable[str]) -> tuple[str, ...]:
    """Files that differ from HEAD or are not tracked, at or below `paths` (absent: everywhere); ignored ones aside."""
    at = map(git.inside, paths)
    status = git.run("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *at)
    # `XY path`: two letters and a blank (git-status(1), "Porcelain Format Version 1").
    return tuple(git.outside(os.fsdecode(entry[3:])) for entry in status.stdout.split(b"\0") if entry)


def _write_worktree(git: Git) -> str:
    """Store the work tree as a git tree, honouring .gitignore, and return the tree's id."""
    index = Path(git.run("rev-parse", "--git-path", "index").text)
    # Started from a copy of the checkout's index: what a sparse checkout leaves out is then not taken for deleted,
    # and files that did not change are not hashed again.
    with git.with_own_index(git.directory / index) as own:
        own.run("add", "--all")
        return own.run("write-tree").text


def _fleet_folder(top: Path, prefix: str) -> str:
    """The nearest folder with a `desired/` in it, from one below the repository's root upwards; empty for the root.

    Not one within a `desired/`: an image may have any name, and may be a whole repository.
    """
    parts = prefix.rstrip("/").split("/")
    parts = parts[: parts.index(_DESIRED)] if _DESIRED in parts else parts
    for depth in range(len(parts), 0, -1):
        folder = "/".join(parts[:depth])
        if folder and (top / folder / _DESIRED).is_dir():
            return folder
    return ""


def _unusable(directory: Path, found: Finished) -> ReconcilerError:
    # The line may hold any path, quotes too; git closes it with one of its own.
    owner = re.search(r"(?:dubious ownership|unsafe repository)[^']*'(?P<path>.+)'", found.stderr)
    if owner:
        return UserError(
            f"{visible(owner['path'])} belongs to somebody else, and git refuses to work in it",
            hint=f"if you trust it: `git config --global --add safe.directory {shlex.quote(owner['path'])}`",
        )
    if "not a git repository" in found.stderr:
        return UserError(f"{directory} is not in a git repository", hint="`git init`, or name another folder with -C")
    if "must be run in a work tree" in found.stderr:
        if directory.absolute().parts.count(".git"):
            return UserError(
                f"{directory.absolute()} is inside a repository's own folder",
                hint="work in the checkout, or name it with -C",
            )
        return UserError(
            f"{directory} is a bare repository: it has no checkout to work in", hint="`git clone` it, and work there"
        )
    return failed("rev-parse", found)


def _brought_by_a_commit(directory: Path) -> UserError:
    """The error for a folder of a checkout that is a git repository itself, without a `.git`.

    Git takes it for the one that is meant, and its settings, which name programs, are whoever's committed them
    (git-config(1), "safe.bareRepository", which git has since 2.38).
    """
    return UserError(
        f"{directory} lies in what git takes for a repository of its own: HEAD, objects/ and refs/ are files there",
        hint=("run no git there, as that obeys the `config` beside them", "take them out of the checkout from above"),
    )


# A repository to play in: a bare origin and a clone of it, with the declared images of another one.

_CARRIED = ("desired", "state")


def clone_with_origin(source: Path, folder: Path, *, name: str) -> Path:
    """Make `folder/origin.git` and a clone `folder/name` of it that hold desired/ and state/ of a repository's HEAD.

    Returns the clone. Raises what `export` raises.
    """
    origin, clone, exported = folder / "origin.git", folder / name, folder / "export"
    # Without a person's template: its hooks would be run by whoever plays in it.
    Git(folder).run("init", "--quiet", "--template=", "--bare", "--initial-branch=main", str(origin))
    Git(folder).run("init", "--quiet", "--template=", "--initial-branch=main", str(clone))
    export(Git(source), "HEAD", exported)
    fleet = exported / Git(source).run("rev-parse", "--show-prefix").text
    for part in _CARRIED:
        if (fleet / part).is_dir():
            shutil.copytree(fleet / part, clone / part, symlinks=True)
    shutil.rmtree(exported)
    git = Git(clone)
    git.run("config", "user.name", "A platform engineer")
    git.run("config", "user.email", "platform@example.org")
    git.run("remote", "add", "origin", str(origin))
    git.run("add", "--all", "--force")  # whatever a person ignores everywhere
    git.run("commit", "--quiet", "--message", "Declare base and web")
    git.run("push", "--quiet", "--set-upstream", "origin", "main")
    git.run("remote", "set-head", "origin", "main")
    return clone
