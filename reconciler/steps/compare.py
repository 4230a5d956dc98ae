"""Compares what is inside two builds, from what is committed: also builds that no lockfile has any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from reconciler.git.repository import Repository
from reconciler.model.difference import Comparison
from reconciler.model.errors import Place, UserError
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build, Channels, Failure, Lockfile
from reconciler.model.printable import visible
from reconciler.model.tree import Tree
from reconciler.plan.difference.builds import NotAmong, find, pair
from reconciler.plan.difference.inventories import difference
from reconciler.plan.history import LockPast
from reconciler.plan.messages import sbom_tag_name
from reconciler.state.lockfiles import FOLDER, read_lockfile
from reconciler.state.sbom import read_sbom
from reconciler.steps.past_locks import past_of
from reconciler.steps.proof.previewed import Preview, failed, find_preview, preview_sbom


@dataclass(frozen=True)
class _Builds:
    """Builds of one image, what was recorded last first, and the commit at which the files of each are."""

    builds: tuple[Build, ...]
    channels: Channels
    commits: Mapping[str, str]
    failure: Failure | None = None


def compare(repository: Repository, image: str, asked: Sequence[str]) -> Comparison:
    """The difference between two builds of an image; `asked` as `reconciler.plan.difference.builds.pair` takes it.

    Raises:
        UserError: there is no such image or build, or what is inside one of them was not recorded.
    """
    head = repository.head
    tree = cache(repository.tree)
    known = _recorded(read_lockfile(tree(head), image), head)
    previews: dict[str, Preview] = {}
    try:
        old, new = pair(image, known.builds, channels=known.channels, asked=asked)
    except NotAmong as error:
        if known.failure is not None and not known.builds:
            raise _only_failed(image, known.failure) from error
        previews = {one: found for one in asked if (found := find_preview(repository, image, one)) is not None}
        # Only now: to read a thousand versions of a lockfile takes a second.
        try:
            past = past_of(repository, image, revision=head)
        except UserError:
            if not previews:
                raise
            past = None
        known = _ever(past, known) if past is not None else known
        complete = past is None or past.complete
        old, new = _pair_of_all(image, known, asked, previews=previews, complete=complete, repository=repository)
    was, now = (
        _inside(tree, image, build, commit=known.commits[build.id])
        if build.id in known.commits
        else _inside_preview(repository, image, build)
        for build in (old, new)
    )
    return Comparison(image=image, old=old.id, new=new.id, difference=difference(was, now))


def _recorded(lock: Lockfile | None, commit: str) -> _Builds:
    if lock is None:
        return _Builds((), Channels(), {})
    return _Builds(lock.builds, lock.channels, dict.fromkeys((build.id for build in lock.builds), commit), lock.failure)


def _ever(past: LockPast, now: _Builds) -> _Builds:
    """Every build that was ever recorded, each as it was last."""
    builds: dict[str, Build] = {}
    commits: dict[str, str] = {}
    for version in reversed(past.versions):
        for build in reversed(version.lock.builds):
            builds[build.id] = build  # one that is known keeps its place
            commits[build.id] = version.commit
    return _Builds(tuple(reversed(builds.values())), now.channels, commits, now.failure)


def _pair_of_all(
    image: str,
    known: _Builds,
    asked: Sequence[str],
    *,
    previews: Mapping[str, Preview],
    complete: bool,
    repository: Repository,
) -> tuple[Build, Build]:
    try:
        return pair(image, known.builds, channels=known.channels, asked=asked)
    except NotAmong as error:
        if previews:
            return _pair_with_preview(image, known, asked, previews=previews)
        for one in asked:
            why = failed(repository, image, one)
            if why is not None:
                raise UserError(
                    f"{one} of {image} failed, and what is inside was not recorded: {why}", mend=error.mend
                ) from error
        if complete:
            raise
        mend = ("older builds may be in the part of the history that this clone lacks: `git fetch --unshallow`",)
        raise UserError(error.what, mend=(*error.mend, *mend)) from error


def _pair_with_preview(
    image: str, known: _Builds, asked: Sequence[str], *, previews: Mapping[str, Preview]
) -> tuple[Build, Build]:
    """One preview: what its merge would change, so against the candidate. Two builds: those."""
    if len(asked) == 1 and known.channels.candidate is None:
        raise UserError(
            f"{asked[0]} is {previews[asked[0]].whose}, and {image} has no candidate to compare it with",
            mend="name two builds to compare them",
        )
    named = asked if len(asked) > 1 else ("candidate", asked[0])
    old, new = (
        previews[one].build if one in previews else find(image, known.builds, channels=known.channels, asked=one)
        for one in named
    )
    return old, new


def _inside_preview(repository: Repository, image: str, build: Build) -> Inventory:
    if build.inventory is None:
        raise _not_recorded(image, build)
    name = sbom_tag_name(image, build.id)
    content = preview_sbom(repository, image, build)
    if content is None:
        raise UserError(
            f"the SBOM of the preview {build.id} is not to be had: there is no tag {name}",
            mend="`git fetch --tags`; or its branch was merged, and this clone is older: `git pull`",
        )
    found = read_sbom(content, path=name)
    if found.digest != build.inventory.digest:
        raise UserError(
            f"the SBOM that the tag {name} stands on is not the one that was recorded", mend="build the preview anew"
        )
    return found


def _only_failed(image: str, failure: Failure) -> UserError:
    became = "was built and rejected" if failure.artifacts or failure.smoke_test is not None else "failed"
    return UserError(
        f"{image} has no build to compare: {failure.build} {became}: {visible(failure.what)}",
        mend=f"`reconciler history {image}` shows all",
    )


def _inside(tree: Callable[[str], Tree], image: str, build: Build, *, commit: str) -> Inventory:
    if build.inventory is None:
        raise _not_recorded(image, build)
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


def _not_recorded(image: str, build: Build) -> UserError:
    return UserError(
        f"what is inside {build.id} of {image} was not recorded: {_why_not(build)}",
        mend=f"name two builds that were booted: `reconciler history {image}` shows all",
    )


def _why_not(build: Build) -> str:
    if build.smoke_test is None:
        return "it was never booted, or by a reconciler that took no inventory"
    return build.smoke_test.why or f"its smoke test {build.smoke_test.status}, and nothing could be read"
