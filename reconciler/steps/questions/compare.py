"""Compare what is inside two builds, from the past of an image's lockfile under every name that it had."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache

from reconciler.git.past import Version, added_in, removed_in, resolve_commit, versions
from reconciler.git.repository import Repository
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.difference import Comparison
from reconciler.model.errors import Place, UserError
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build, Channels, Failure, Lockfile
from reconciler.model.text import visible
from reconciler.model.tree import Tree, content_at
from reconciler.model.values import format_instant
from reconciler.plan.difference import NotAmong, difference, find, pair
from reconciler.plan.history import LockPast, LockVersion, Unreadable
from reconciler.state.lockfiles import FOLDER, parse, path_of, read_lockfile, unrecorded
from reconciler.state.sbom import read_sbom
from reconciler.steps.ours import Preview, failed, find_preview, preview_sbom
from reconciler.words.messages import sbom_tag_name

# Read the past of an image's lockfile, under every name that it had.

_TRAILERS = ("Image", "Build", "Key", "Reason")
_SUFFIX = ".lock.json"


class NothingReadable(UserError):
    """An image is recorded, and no version of its lockfile can be read."""


def past_of(
    repository: Repository, image: str, *, revision: str, begun: Future[tuple[Version, ...]] | None = None
) -> LockPast:
    """Every version of an image's lockfile that leads to a revision; `begun` are those under its name of today.

    Raises:
        NothingReadable: no version of its lockfile can be read.
        UserError: there is no such revision, or nothing is recorded of such an image there.
    """
    if not re.fullmatch(IMAGE_NAME_PATTERN, image):
        raise UserError(f"{image!r} is no name for an image")
    commit = head = resolve_commit(repository.git, revision)
    found: list[LockVersion] = []
    unreadable: dict[str, str] = {}
    oldest: Version | None = None
    name: str | None = image
    while name is not None:
        read = begun.result() if begun is not None else versions(repository.git, path_of(name), revision=commit)
        begun = None
        for version in read:
            try:
                found.append(_parsed(version, name))
            except UserError as error:
                unreadable[version.commit] = error.what
        oldest = read[-1] if read else oldest
        name = _former_name(repository, read[-1], before=found[-1]) if read and found else None
        commit = oldest.parents[0] if oldest is not None and oldest.parents else commit
    if oldest is None or not found:
        raise _nothing(repository, image, revision=revision, broken=unreadable)
    if starts_shallow(repository, oldest) and found[-1].commit == oldest.commit:
        found[-1] = replace(found[-1], cut_off=True)
    now_unreadable = _unreadable(repository, image, commit=head)
    return LockPast(tuple(found), unreadable=unreadable, now_unreadable=now_unreadable)


def name_now(repository: Repository, image: str, *, revision: str) -> str:
    """What an image that had this name is called at a revision: as it was, or as it was renamed to since."""
    names = [image]
    if not re.fullmatch(IMAGE_NAME_PATTERN, image):
        return image
    # Whoever writes two branches and merges them can rename in a circle.
    while (renamed := _renamed_to(repository, names[-1], revision=revision)) is not None and renamed not in names:
        names.append(renamed)
    return names[-1]


def _renamed_to(repository: Repository, image: str, *, revision: str) -> str | None:
    newest = next(iter(versions(repository.git, path_of(image), revision=revision)), None)
    if newest is None or newest.content is not None or not newest.parents:
        return None
    parent = newest.parents[0]
    try:
        lock = read_lockfile(repository.tree(parent), image)
    except UserError:
        return None
    added = added_in(repository.git, newest.commit, parent=parent, folder=FOLDER)
    return next(_sharing(lock, repository.tree(newest.commit), added), None) if lock is not None else None


def starts_shallow(repository: Repository, version: Version) -> bool:
    """Whether this clone's history begins with a version's commit, so that an older one may have left the file so.

    Such a commit has no parents here; any other shows that the file was new.
    """
    return not version.parents and repository.shallow


def _unreadable(repository: Repository, image: str, *, commit: str) -> Unreadable | None:
    """Why the lockfile at a commit can't be read as `plan` reads it, and who left it so; None where it can."""
    try:
        read_lockfile(repository.tree(commit), image)
    except UserError as error:
        newest = versions(repository.git, path_of(image), revision=commit)[0]
        return Unreadable(newest.commit, newest.author, f"{error.where}: {error.what}")
    return None


def _parsed(version: Version, name: str) -> LockVersion:
    lock = parse(version.content, version.path) if version.content is not None else Lockfile(image=name)
    trailers = {trailer: version.trailers(f"Reconciler-{trailer}") for trailer in _TRAILERS}
    return LockVersion(
        version.commit, format_instant(version.at), version.author, version.subject, trailers, lock
    )  # fmt: skip


def _former_name(repository: Repository, first: Version, *, before: LockVersion) -> str | None:
    """What the image was called before its first lockfile.

    It is the name of a lockfile that the same commit took away, and some build of which is in the new one. Git's own
    guess (`--follow`) goes by how alike two files are, and lockfiles of different images are alike.
    """
    if not first.parents or first.content is None or before.commit != first.commit:
        return None
    parent = first.parents[0]
    removed = removed_in(repository.git, first.commit, parent=parent, folder=FOLDER)
    return next(_sharing(before.lock, repository.tree(parent), removed), None)


def _sharing(lock: Lockfile, tree: Tree, paths: Iterable[str]) -> Iterator[str]:
    """The images among whose lockfiles is some build of this one."""
    builds = {build.id for build in lock.builds}
    for path in paths:
        name = path.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX)
        if path != path_of(name) or not re.fullmatch(IMAGE_NAME_PATTERN, name):
            continue
        try:
            other = parse(content_at(tree, path) or b"", path)
        except UserError:
            continue
        if builds & {build.id for build in other.builds}:
            yield name


def _nothing(repository: Repository, image: str, *, revision: str, broken: dict[str, str]) -> UserError:
    if broken:
        commit, why = next(iter(broken.items()))
        return NothingReadable(f"no lockfile of {image} can be read, the newest of {commit[:7]}: {why}")
    return unrecorded(repository.tree(revision), image)


# Compares what is inside two builds, from what is committed: also builds that no lockfile has any more.


@dataclass(frozen=True)
class _Builds:
    """Builds of one image, what was recorded last first, and the commit at which the files of each are."""

    builds: tuple[Build, ...]
    channels: Channels
    commits: Mapping[str, str]
    failure: Failure | None = None


def compare(repository: Repository, image: str, asked: Sequence[str]) -> Comparison:
    """The difference between two builds of an image; `asked` as `reconciler.plan.difference.pair` takes it.

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
        inside(tree, image, build, commit=known.commits[build.id])
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
                    f"{one} of {image} failed, and what is inside was not recorded: {why}", hint=error.hint
                ) from error
        if complete:
            raise
        hint = ("older builds may be in the part of the history that this clone lacks: `git fetch --unshallow`",)
        raise UserError(error.what, hint=(*error.hint, *hint)) from error


def _pair_with_preview(
    image: str, known: _Builds, asked: Sequence[str], *, previews: Mapping[str, Preview]
) -> tuple[Build, Build]:
    """One preview: what its merge would change, so against the candidate. Two builds: those."""
    if len(asked) == 1 and known.channels.candidate is None:
        raise UserError(
            f"{asked[0]} is {previews[asked[0]].whose}, and {image} has no candidate to compare it with",
            hint="name two builds to compare them",
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
            hint="`git fetch --tags`; or its branch was merged, and this clone is older: `git pull`",
        )
    found = read_sbom(content, path=name)
    if found.digest != build.inventory.digest:
        raise UserError(
            f"the SBOM that the tag {name} stands on is not the one that was recorded", hint="build the preview anew"
        )
    return found


def _only_failed(image: str, failure: Failure) -> UserError:
    became = "was built and rejected" if failure.artifacts or failure.smoke_test is not None else "failed"
    return UserError(
        f"{image} has no build to compare: {failure.build} {became}: {visible(failure.what)}",
        hint=f"`reconciler history {image}` shows all",
    )


def inside(tree: Callable[[str], Tree], image: str, build: Build, *, commit: str) -> Inventory:
    """What is inside a build, by the SBOM that stands at a commit.

    Raises:
        UserError: it was not recorded, or is not there as it was recorded.
    """
    if build.inventory is None:
        raise _not_recorded(image, build)
    path = f"{FOLDER}/{build.inventory.sbom}"
    files = tree(commit)
    entry = files.entries.get(path)
    if entry is None:
        raise UserError(
            f"the SBOM of {build.id} is missing in {commit[:7]}",
            where=Place(path),
            hint=f"`git log -- {path}` shows who took it away",
        )
    found = read_sbom(files.read([entry.oid])[entry.oid], path=path)
    if found.digest != build.inventory.digest:
        raise UserError(
            "this SBOM is not the one that was recorded: its digest differs from the lockfile's",
            where=Place(path),
            hint=f"`git log -- {path}` shows who changed it",
        )
    return found


def _not_recorded(image: str, build: Build) -> UserError:
    return UserError(
        f"what is inside {build.id} of {image} was not recorded: {_why_not(build)}",
        hint=f"name two builds that were booted: `reconciler history {image}` shows all",
    )


def _why_not(build: Build) -> str:
    if build.smoke_test is None:
        return "it was never booted, or by a reconciler that took no inventory"
    return build.smoke_test.why or f"its smoke test {build.smoke_test.status}, and nothing could be read"
