"""Compares what is inside two builds, from what is committed: also builds that no lockfile has any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from reconciler.git.repository import Repository
from reconciler.model.difference import Comparison
from reconciler.model.errors import Place, UserError
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build, Channels, Lockfile
from reconciler.model.tree import Tree
from reconciler.plan.compared_builds import NotAmong, pair
from reconciler.plan.difference import difference
from reconciler.plan.history import LockPast
from reconciler.state.lockfiles import FOLDER, read_lockfile
from reconciler.state.sbom import read_sbom
from reconciler.steps.past_locks import past_of


@dataclass(frozen=True)
class _Builds:
    """Builds of one image, what was recorded last first, and the commit at which the files of each are."""

    builds: tuple[Build, ...]
    channels: Channels
    commits: Mapping[str, str]


def compare(repository: Repository, image: str, asked: Sequence[str]) -> Comparison:
    """The difference between two builds of an image; `asked` as `reconciler.plan.compared_builds.pair` takes it.

    Raises:
        UserError: there is no such image or build, or what is inside one of them was not recorded.
    """
    head = repository.head
    tree = cache(repository.tree)
    known = _recorded(read_lockfile(tree(head), image), head)
    try:
        old, new = pair(image, known.builds, channels=known.channels, asked=asked)
    except NotAmong:
        # Only now: to read a thousand versions of a lockfile takes a second.
        past = past_of(repository, image, revision=head)
        known = _ever(past, known.channels)
        old, new = _pair_of_all(image, known, asked, complete=past.complete)
    was, now = (_inside(tree, image, build, commit=known.commits[build.id]) for build in (old, new))
    return Comparison(image=image, old=old.id, new=new.id, difference=difference(was, now))


def _recorded(lock: Lockfile | None, commit: str) -> _Builds:
    if lock is None:
        return _Builds((), Channels(), {})
    return _Builds(lock.builds, lock.channels, dict.fromkeys((build.id for build in lock.builds), commit))


def _ever(past: LockPast, channels: Channels) -> _Builds:
    """Every build that was ever recorded, each as it was last."""
    builds: dict[str, Build] = {}
    commits: dict[str, str] = {}
    for version in reversed(past.versions):
        for build in reversed(version.lock.builds):
            builds[build.id] = build  # one that is known keeps its place
            commits[build.id] = version.commit
    return _Builds(tuple(reversed(builds.values())), channels, commits)


def _pair_of_all(image: str, known: _Builds, asked: Sequence[str], *, complete: bool) -> tuple[Build, Build]:
    try:
        return pair(image, known.builds, channels=known.channels, asked=asked)
    except NotAmong as error:
        if complete:
            raise
        mend = ("older builds may be in the part of the history that this clone lacks: `git fetch --unshallow`",)
        raise UserError(error.what, mend=(*error.mend, *mend)) from error


def _inside(tree: Callable[[str], Tree], image: str, build: Build, *, commit: str) -> Inventory:
    if build.inventory is None:
        raise UserError(
            f"what is inside {build.id} of {image} was not recorded: {_why_not(build)}",
            mend="name two builds that were booted: `reconciler history` shows all",
        )
    path = f"{FOLDER}/{build.inventory.sbom}"
    files = tree(commit)
    entry = files.entries.get(path)
    if entry is None:
        raise UserError(
            f"the SBOM of {build.id} is missing in {commit[:7]}",
            where=Place(path),
            mend=f"`git log -- {path}` shows who took it away",
        )
    found = read_sbom(files.read([entry.oid])[entry.oid], path=path)
    if found.digest != build.inventory.digest:
        raise UserError(
            "this SBOM is not the one that was recorded: its digest differs from the lockfile's",
            where=Place(path),
            mend=f"`git log -- {path}` shows who changed it",
        )
    return found


def _why_not(build: Build) -> str:
    if build.smoke_test is None:
        return "it was never booted, or by a reconciler that took no inventory"
    return build.smoke_test.why or f"its smoke test {build.smoke_test.status}, and nothing could be read"
