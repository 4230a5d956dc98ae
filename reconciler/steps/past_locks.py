"""Read the past of an image's lockfile, under every name that it had."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches

from reconciler.git.past import Version, removed_in, resolve_commit, versions
from reconciler.git.repository import Repository
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Lockfile
from reconciler.model.tree import content_at
from reconciler.model.values import format_instant
from reconciler.plan.history import LockPast, LockVersion
from reconciler.state.lockfiles import FOLDER, parse, path_of

_TRAILERS = ("Image", "Build", "Key")
_SUFFIX = ".lock.json"


def past_of(repository: Repository, image: str, *, revision: str) -> LockPast:
    """Every version of an image's lockfile that leads to a revision.

    Raises:
        UserError: there is no such revision, or nothing of such an image can be read there.
    """
    if not re.fullmatch(IMAGE_NAME_PATTERN, image):
        raise UserError(f"{image!r} is no name for an image")
    commit = resolve_commit(repository.git, revision)
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
    return LockPast(tuple(found), unreadable=unreadable)


def starts_shallow(repository: Repository, version: Version) -> bool:
    """Whether this clone's history begins with a version's commit, so that an older one may have left the file so.

    Such a commit has no parents here; any other shows that the file was new.
    """
    return not version.parents and repository.shallow


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
    builds = {build.id for build in before.lock.builds}
    tree = repository.tree(parent)
    for path in removed_in(repository.git, first.commit, parent=parent, folder=FOLDER):
        name = path.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX)
        if path != path_of(name) or not re.fullmatch(IMAGE_NAME_PATTERN, name):
            continue
        try:
            lock = parse(content_at(tree, path) or b"", path)
        except UserError:
            continue
        if builds & {build.id for build in lock.builds}:
            return name
    return None


def _nothing(repository: Repository, image: str, *, revision: str, broken: dict[str, str]) -> UserError:
    if broken:
        commit, why = next(iter(broken.items()))
        return UserError(f"no lockfile of {image} can be read, the newest of {commit[:7]}: {why}")
    paths = repository.tree(revision).entries
    names = [
        path.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX)
        for path in paths
        if path.startswith(f"{FOLDER}/") and path.endswith(_SUFFIX)
    ]
    near = get_close_matches(image, names, n=1)
    mend = f"did you mean {near[0]}?" if near else f"recorded are: {', '.join(sorted(names)) or 'none'}"
    return UserError(f"nothing is recorded of an image {image!r}", mend=mend)
