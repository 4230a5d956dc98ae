"""Read the past of an image's lockfile, under every name that it had."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches

from reconciler.git.past import Version, added_in, removed_in, resolve_commit, versions
from reconciler.git.repository import Repository
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Lockfile
from reconciler.model.tree import Tree, content_at
from reconciler.model.values import format_instant
from reconciler.plan.history import LockPast, LockVersion, Unreadable
from reconciler.state.lockfiles import FOLDER, parse, path_of, read_lockfile

_TRAILERS = ("Image", "Build", "Key")
_SUFFIX = ".lock.json"


class NothingReadable(UserError):
    """An image is recorded, and no version of its lockfile can be read."""


def past_of(repository: Repository, image: str, *, revision: str) -> LockPast:
    """Every version of an image's lockfile that leads to a revision.

    Raises:
        NothingReadable: no version of its lockfile can be read.
        UserError: there is no such revision, or nothing is recorded of such an image there.
    """
    if not re.fullmatch(IMAGE_NAME_PATTERN, image):
        raise UserError(f"{image!r} is no name for an image")
    commit = resolve_commit(repository.git, revision)
    now_unreadable = _unreadable(repository, image, commit=commit)
    found: list[LockVersion] = []
    unreadable: dict[str, str] = {}
    oldest: Version | None = None
    name: str | None = image
    while name is not None:
        read = versions(repository.git, path_of(name), revision=commit)
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
    return LockPast(tuple(found), unreadable=unreadable, now_unreadable=now_unreadable)


def name_now(repository: Repository, image: str, *, revision: str) -> str:
    """What an image that had this name is called at a revision: as it was, or as it was renamed to since."""
    names = [image]
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
    paths = repository.tree(revision).entries
    names = [
        path.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX)
        for path in paths
        if path.startswith(f"{FOLDER}/") and path.endswith(_SUFFIX)
    ]
    near = get_close_matches(image, names, n=1)
    mend = f"did you mean {near[0]}?" if near else f"recorded are: {', '.join(sorted(names)) or 'none'}"
    return UserError(f"nothing is recorded of an image {image!r}", mend=mend)
