"""What a channel points to, and what one build is: what is in it, who tested it, what it stands on and what on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import get_args

from reconciler.desired.fleet import read_image
from reconciler.git.pull_requests import pull_requests
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.lookup import BuildAnswer, ChannelAnswer, Child, Holder
from reconciler.model.source import Channel
from reconciler.model.text import did_you_mean, first_few
from reconciler.model.tree import Tree
from reconciler.plan.difference import NotAmong, find
from reconciler.plan.history import LockPast, tell
from reconciler.state.lockfiles import declared_folders, images_with, read_lockfile, recorded_images, unrecorded
from reconciler.steps.ours import Preview, failed, find_preview
from reconciler.steps.questions.compare import name_now, past_of
from reconciler.steps.questions.lookup import Look, channels_of, departure, holders, id_in, search

_MOST_NAMED = 8
_OF_A_REGISTRY = re.compile(r"[0-9a-f]{8}", re.IGNORECASE)
"""What the ids of registries have and names of images hardly do: a word, a hyphen and hex digits; digests; UUIDs."""
_OF_A_BUILD = re.compile(r"[0-9]{1,8}|[0-9]{8}T[0-9]{0,6}(?:Z(?:-[0-9a-f]{0,7})?)?")
_OF_A_KEY = re.compile(r"(?:sha256:)?[0-9a-f]+…?")

# What a channel points to.


def pointed(
    repository: Repository, image: str, *, channel: Channel, location: str | None, revision: str
) -> ChannelAnswer:
    """What a channel of an image points to, in one location or in each.

    Raises:
        UserError: there is no such image, its channel points to nothing, or not there.
    """
    tree = repository.tree(revision)
    lock = read_lockfile(tree, image) or _under_former_name(tree, image)
    if lock is None:
        raise _no_such_image(repository, tree, image, revision=revision)
    build = lock.build(getattr(lock.channels, channel))
    if build is None:
        raise _points_nowhere(lock, image, channel)
    there = tuple(one for one in build.artifacts if location in (None, one.location))
    if not there:
        raise _not_there(build, image, channel, location or "")
    return ChannelAnswer(
        image=image, channel=channel, build=build.id, key=build.key, commit=build.commit, artifacts=there
    )


def _under_former_name(tree: Tree, image: str) -> Lockfile | None:
    """The lockfile of an image that was declared to have moved, and is recorded under its former name still."""
    try:
        declared = read_image(tree, image)
    except ReconcilerError:
        return None
    former = declared.declaration.moved_from if isinstance(declared, Image) else None
    return read_lockfile(tree, former) if former is not None else None


def _no_such_image(repository: Repository, tree: Tree, image: str, *, revision: str) -> UserError:
    called = image if image in declared_folders(tree) else name_now(repository, image, revision=revision)
    if called != image and called in recorded_images(tree):
        return UserError(f"{image} is called {called} now", hint=f"`reconciler artifact {called}`")
    return unrecorded(tree, image)


def _points_nowhere(lock: Lockfile, image: str, channel: Channel) -> UserError:
    what = f"{image} has no {channel} build"
    if channel == "stable" and lock.channels.candidate is not None:
        return UserError(
            f"{what}: its candidate {lock.channels.candidate} has not become stable",
            hint=f"`--channel candidate` names that one; `reconciler status {image}` says what it waits for",
        )
    newest = lock.builds[0] if lock.builds else None
    if newest is not None and newest.revoked is not None:
        return UserError(what, hint=f"{newest.id} is revoked: {newest.revoked.reason}")
    if lock.failure is not None:
        return UserError(what, hint=f"the last attempt failed: `reconciler status {image}`")
    return UserError(what, hint=f"`reconciler history {image}` shows what there was")


def _not_there(build: Build, image: str, channel: Channel, location: str) -> UserError:
    places = [one.location for one in build.artifacts]
    is_in = f"it is in {first_few(places, most=_MOST_NAMED)}" if places else "it is nowhere"
    meant = did_you_mean(location, places, otherwise="")
    return UserError(
        f"the {channel} build of {image}, {build.id}, is not in {location!r}",
        hint=f"{meant} {is_in}".lstrip(),
    )


# Words that a person names an image and its builds by.


def resolve_names(repository: Repository, words: Sequence[str], *, revision: str) -> tuple[str, tuple[str, ...]]:
    """An image and builds of it, from what was typed: any artifact's id stands for its build.

    The first word is an image; an artifact's id there is its image and its build. What is no such id stays as it is.

    Raises:
        UserError: an artifact is of another image than the first.
    """
    first, *rest = words
    tree = repository.tree(revision)
    image, builds = first, list[str]()
    if first not in recorded_images(tree) and (holder := _holder_of(repository, tree, first, revision=revision)):
        image, builds = holder.image, [holder.build]
    for word in rest:
        holder = _holder_of(repository, tree, word, revision=revision)
        if holder is not None and holder.image != image:
            raise UserError(
                f"{word} is of {holder.image}, and not of {image}", hint=f"`reconciler which {word}` says more"
            )
        builds.append(holder.build if holder is not None else word)
    return image, tuple(builds)


def _holder_of(repository: Repository, tree: Tree, word: str, *, revision: str) -> Holder | None:
    """The build that left an artifact; None for what is no artifact's id, as far as anybody knows."""
    if not _OF_A_REGISTRY.search(word) or _OF_A_BUILD.fullmatch(word):
        return None
    if _OF_A_KEY.fullmatch(word) and _is_a_key(tree, word):
        return None
    return next(iter(holders(repository, word, revision=revision)), None)


def _is_a_key(tree: Tree, word: str) -> bool:
    """Whether it begins the key of a build that is recorded today, which needs no search of history."""
    digits = word.removesuffix("…").removeprefix("sha256:")
    return bool(images_with(tree, f'"key": "sha256:{digits}')) and not images_with(tree, f'"{word}"')


# One build.


def show(repository: Repository, words: Sequence[str], *, revision: str) -> BuildAnswer:
    """One build, by its id or key or the beginning of one, alone or behind its image; or by an artifact's id.

    An image alone stands for its stable build, else its candidate.

    Raises:
        UserError: there is no such build, or it may be several.
    """
    tree = repository.tree(revision)
    recorded = recorded_images(tree)
    image, builds = words[0], tuple(words[1:])
    if image not in recorded and (builds or not _is_an_id(image)):
        image = name_now(repository, image, revision=revision)
    if not builds and image not in recorded:
        _refuse_removed(repository, image, revision=revision)
        return _by_itself(repository, id_in(image), revision=revision)
    image, builds = resolve_names(repository, (image, *builds), revision=revision)
    past = past_of(repository, image, revision=revision)
    channels = past.versions[0].lock.channels
    asked = builds[0] if builds else "stable" if channels.stable is not None else "candidate"
    every = {build.id: build for version in reversed(past.versions) for build in version.lock.recorded}
    try:
        build = find(image, tuple(reversed(every.values())), channels=channels, asked=asked)
    except NotAmong as error:
        preview = find_preview(repository, image, asked)
        if preview is not None:
            return _of_preview(image, preview)
        raise _unknown(repository, image, asked, error) from error
    return _answer(repository, past, build.id, revision=revision)


def _refuse_removed(repository: Repository, image: str, *, revision: str) -> None:
    """Raise UserError where a name is that of an image that is recorded no more: none of its builds counts today."""
    try:
        past = None if _is_an_id(image) else past_of(repository, image, revision=revision)
    except UserError:
        return
    if past is not None:
        raise UserError(
            f"{image} is recorded no more", hint=f"`reconciler history {image}` shows the builds that it had"
        )


def _is_an_id(word: str) -> bool:
    """Whether it may be of a build or of an artifact, so that all of git's history is worth a search."""
    return any(like.fullmatch(word) for like in (_OF_A_BUILD, _OF_A_KEY)) or _OF_A_REGISTRY.search(word) is not None


def _unknown(repository: Repository, image: str, asked: str, error: NotAmong) -> UserError:
    why = failed(repository, image, asked)
    if why is not None:
        return _only_failed(image, asked, why)
    meant = did_you_mean(asked, get_args(Channel), otherwise="")
    return UserError(error.what, hint=meant) if meant else error


def _only_failed(image: str, asked: str, why: str) -> UserError:
    return UserError(
        f"{asked} of {image} failed, and was never recorded: {why}", hint=f"`reconciler history {image}` shows all"
    )


def _by_itself(repository: Repository, asked: str, *, revision: str) -> BuildAnswer:
    """A build of any image."""
    text = asked.removesuffix("…")
    places = (
        search(repository, text, _meant(asked), revision=revision, ever=_is_an_id(asked))
        if text.isprintable() and text
        else ()
    )
    found = {(one.image, one.hit): None for one in places}
    if len(found) > 1:
        shown = first_few([f"{image} {build}" for image, build in found], most=_MOST_NAMED)
        raise UserError(f"{asked!r} may be {len(found)} builds", hint=f"which one? {shown}")
    if found:
        past = places[0].past or past_of(repository, places[0].image, revision=revision)
        return _answer(repository, past, places[0].hit, revision=revision)
    tagged = {tag.name.split("/")[1] for tag in repository.tags("image") if _begins(tag.name.rpartition("/")[2], text)}
    previews = [(image, one) for image in sorted(tagged) if (one := find_preview(repository, image, text)) is not None]
    if not previews and _OF_A_REGISTRY.search(asked):
        left = (one for one in holders(repository, asked, revision=revision) if one.standing == "preview")
        previews = [(one.image, there) for one in left if (there := find_preview(repository, one.image, one.build))]
    if len(previews) == 1:
        return _of_preview(*previews[0])
    failures = [(image, why) for image in sorted(tagged) if (why := failed(repository, image, text)) is not None]
    if failures:
        raise _only_failed(failures[0][0], asked, failures[0][1])
    raise _nothing(repository.tree(revision), asked, shallow=repository.shallow)


def _meant(asked: str) -> Look[str]:
    """The ids of the builds of a lockfile that are meant: by id, by key, or by an artifact's id."""

    def look(lock: Lockfile) -> list[tuple[str, str]]:
        by_artifact = [
            one.id
            for one in lock.recorded
            if any(asked in (of.id, *of.parts) or of.format_of(asked) is not None for of in one.artifacts)
        ]
        by_name = [one.id for one in lock.recorded if _is_meant(lock, one, asked)]
        return [(one, one) for one in dict.fromkeys([*by_artifact, *by_name])]

    return look


def _is_meant(lock: Lockfile, build: Build, asked: str) -> bool:
    if asked in ("candidate", "stable"):
        return False
    try:
        find(lock.image, (build,), channels=lock.channels, asked=asked)
    except NotAmong:
        return False
    return True


def _begins(build_id: str, text: str) -> bool:
    return build_id.startswith(text) or build_id.partition("-")[2].startswith(text)


def _nothing(tree: Tree, asked: str, *, shallow: bool) -> UserError:
    otherwise = "`reconciler status` shows what is recorded, `history IMAGE` what was"
    if shallow:
        otherwise = "this clone's history is cut off: `git fetch --unshallow` brings the rest"
    hint = did_you_mean(asked, {*recorded_images(tree), *declared_folders(tree)}, otherwise=otherwise)
    return UserError(f"no build, artifact or image {asked!r} is or was recorded", hint=hint)


def _answer(repository: Repository, past: LockPast, build_id: str, *, revision: str) -> BuildAnswer:
    versions = past.versions
    held = ((at, [one for one in version.lock.recorded if one.id == build_id]) for at, version in enumerate(versions))
    at, build = next((at, builds[0]) for at, builds in held if builds)
    story = tell(past, pull_request=pull_requests(repository.git, revision).of)
    told = next(one for one in story.builds if one.id == build_id)
    return BuildAnswer(
        image=past.names[0], names=past.names, channels=channels_of(versions[0].lock, build_id), kept=at == 0,
        build=build, pull_request=told.pull_request, recorded_in=told.recorded_in, candidate=told.candidate,
        stable=told.stable, dropped_in=versions[at - 1].commit if at else None, removed=past.removed(build_id),
        leaving=departure(repository.tree(revision), versions[0].lock, build_id) if at == 0 else None,
        children=tuple(_children(repository.tree(revision), build_id)),
    )  # fmt: skip


def _children(tree: Tree, build_id: str) -> Iterator[Child]:
    """What lockfiles hold today that was built on a build."""
    for image in images_with(tree, build_id):
        try:
            lock = read_lockfile(tree, image)
        except UserError:
            continue  # `validate` says what is wrong with it
        for one in lock.recorded if lock is not None else ():
            if lock is not None and one.source is not None and one.source.build == build_id:
                yield Child(image=image, build=one.id, channels=channels_of(lock, one.id), phase=one.phase)


def _of_preview(image: str, preview: Preview) -> BuildAnswer:
    return BuildAnswer(
        image=image, names=(image,), channels=(), kept=False, build=preview.build, preview=True,
        branch=next(iter(preview.branches), None),
    )  # fmt: skip
