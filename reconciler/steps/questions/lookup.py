"""Find what was recorded once by something of it, such as the build that left an artifact, in a clone alone.

Lockfiles are looked at first. What has left them is in git's history: a commit's message and an annotated tag say in
which lockfile to look, and only that lockfile, as it once was, makes it an answer. Where neither says so, every version
of every lockfile is searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from reconciler.desired.fleet import read_image
from reconciler.git.past import Mention, mentions, mentions_by_message
from reconciler.git.pull_requests import pull_requests
from reconciler.git.repository import Repository
from reconciler.git.tags import tag_message, tags_with
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Failure, Lockfile
from reconciler.model.lookup import Departure, Holder, Whereabouts
from reconciler.model.plan import finished_at
from reconciler.model.source import Channel
from reconciler.model.text import did_you_mean, first_few
from reconciler.model.tree import Tree
from reconciler.model.values import BUILD_ID_PATTERN, format_instant
from reconciler.plan.history import LockPast
from reconciler.plan.leaving import stays_until
from reconciler.state.lockfiles import FOLDER, images_with, parse, read_lockfile, recorded_images
from reconciler.steps.ours import find_preview
from reconciler.steps.questions.compare import name_now, past_of
from reconciler.steps.questions.names import pointed_by, published_near
from reconciler.words.messages import record_in

_MOST_NAMED = 8
_ALIKE = 0.85
"""How alike two ids of artifacts have to be: they begin alike, and much of the rest is hex digits."""
_MOST_FOLLOWED = 50
"""Tags: each may cost a walk through history."""
_TAG = re.compile(r"image/(?P<image>[^/]+)/(?P<build>[^/]+)")
T = TypeVar("T")

# Where something stands that is looked for: in lockfiles, else in what lockfiles were.


@dataclass(frozen=True)
class Where(Generic[T]):
    """A lockfile in which something was found: as it is, else as it was last when it held that."""

    image: str
    """What the image is called now."""
    lock: Lockfile
    hit: T
    past: LockPast | None = None
    """None where the lockfile holds it today."""
    dropped_in: str | None = None


Look = Callable[[Lockfile], Sequence[tuple[str, T]]]
"""What a lockfile holds of what is looked for; each with what tells it from others."""


def search(
    repository: Repository, text: str, look: Look[T], *, revision: str, ever: bool = True
) -> tuple[Where[T], ...]:
    """Every place in which something is found that has a text: lockfiles of today, else what they were.

    Without `ever` those of today alone. Raises UserError where one of them has the text and can't be read.
    """
    tree = repository.tree(revision)
    found: list[Where[T]] = []
    broken: UserError | None = None
    for image in images_with(tree, text):
        try:
            lock = read_lockfile(tree, image)
        except UserError as error:
            broken = error
            continue
        found += [Where(image, lock, hit) for _, hit in look(lock)] if lock is not None else []
    if found:
        return tuple(found)
    if broken is not None:
        raise broken
    if not ever:
        return ()
    for clue in (_told_by_messages, _told_by_tags, _told_by_files):
        for image in clue(repository, text, look, revision):
            found += _in_past(repository, image, look, revision=revision)
        if found:
            break
    return tuple(found)


def _told_by_messages(repository: Repository, text: str, look: Look[T], revision: str) -> Iterable[str]:
    said = mentions_by_message(repository.git, text, folder=FOLDER, revision=revision)
    return _holding(repository, said, look, revision=revision)


def _told_by_files(repository: Repository, text: str, look: Look[T], revision: str) -> Iterable[str]:
    return _holding(
        repository, mentions(repository.git, text, folder=FOLDER, revision=revision), look, revision=revision
    )


def _tags_with(repository: Repository, text: str) -> tuple[str, ...]:
    """The tags whose message holds a text. Whoever may push tags makes as many as he likes: so many are followed."""
    return tags_with(repository.git, text, "image")[:_MOST_FOLLOWED]


def _told_by_tags(repository: Repository, text: str, look: Look[T], revision: str) -> Iterable[str]:
    del look
    names = (match["image"] for tag in _tags_with(repository, text) if (match := _TAG.fullmatch(tag)))
    return _names_now(repository, names, revision=revision)


def _holding(
    repository: Repository, found: Iterable[Mention], look: Look[T], *, revision: str
) -> Iterable[str]:  # fmt: skip
    """The images in whose lockfile, as a commit left it, it is found; that of a child names its parent's artifacts."""
    names: dict[str, None] = {}
    for one in found:
        try:
            lock = parse(one.content, one.path)
        except UserError:
            continue
        if look(lock):
            names[lock.image] = None
    return _names_now(repository, names, revision=revision)


def _names_now(repository: Repository, names: Iterable[str], *, revision: str) -> tuple[str, ...]:
    recorded = set(recorded_images(repository.tree(revision)))
    return tuple(
        dict.fromkeys(name if name in recorded else name_now(repository, name, revision=revision) for name in names)
    )


def _in_past(repository: Repository, image: str, look: Look[T], *, revision: str) -> Iterator[Where[T]]:
    try:
        past = past_of(repository, image, revision=revision)
    except UserError:
        return
    seen: set[str] = set()
    after: str | None = None
    for version in past.versions:
        for name, hit in look(version.lock):
            if name not in seen:
                seen.add(name)
                yield Where(past.names[0], version.lock, hit, past=past, dropped_in=after)
        after = version.commit


# Which build left an artifact.


@dataclass(frozen=True)
class _Left:
    """A build or an attempt, and those of its artifacts that have an id."""

    by: Build | Failure
    artifacts: tuple[Artifact, ...]
    as_part: bool
    as_format: str | None = None


def _left(artifact_id: str) -> Look[_Left]:
    def look(lock: Lockfile) -> list[tuple[str, _Left]]:
        found = [(build.id, _of(build, build.artifacts, artifact_id)) for build in lock.recorded]
        if lock.failure is not None:
            left = lock.failure.made.artifacts if lock.failure.made is not None else ()
            found.append((lock.failure.build, _of(lock.failure, (*lock.failure.artifacts, *left), artifact_id)))
        return [(name, one) for name, one in found if one.artifacts]

    return look


def _of(by: Build | Failure, artifacts: Iterable[Artifact], artifact_id: str) -> _Left:
    every = tuple(dict.fromkeys(artifacts))
    whole = tuple(one for one in every if one.id == artifact_id)
    if whole:
        return _Left(by, whole, as_part=False)
    converted = tuple(one for one in every if one.format_of(artifact_id) is not None)
    if converted:
        return _Left(by, converted, as_part=False, as_format=converted[0].format_of(artifact_id))
    return _Left(by, tuple(one for one in every if artifact_id in one.parts), as_part=True)


def which(repository: Repository, asked: str, *, revision: str) -> Whereabouts:
    """Every build that left an artifact of this id, or one that has a part of this id, what counts most first.

    `asked` may be an id with its location before it, as `adopt` takes it; or a name under which a channel is published.

    Raises:
        UserError: no lockfile has or had it, nor does a tag name it.
    """
    at = pointed_by(repository.tree(revision), asked)
    if at is not None:
        left = Where(at.image, at.lock, _Left(at.build, at.artifacts, as_part=False))
        holder = _holder(repository, left, revision=revision)
        return Whereabouts(id=asked, published=at.channel, found=(holder,), is_name=True)
    artifact_id, found = _found(repository, asked, revision=revision)
    if not found:
        raise _nobodys(repository, asked, revision=revision)
    return Whereabouts(id=artifact_id, found=found)


_AFTER_PLACE = re.compile(r".+[@/:](sha256:[0-9a-f]{64}(?:\.[0-9]+)?)")


def id_in(asked: str) -> str:
    """The id of an artifact in what a person typed, which may be a digest with its location before it."""
    digest = _AFTER_PLACE.fullmatch(asked)
    return digest[1] if digest is not None else asked


def holders(repository: Repository, asked: str, *, revision: str) -> tuple[Holder, ...]:
    """The same, and nothing where nobody knows of such an artifact."""
    return _found(repository, asked, revision=revision)[1]


def _found(repository: Repository, asked: str, *, revision: str) -> tuple[str, tuple[Holder, ...]]:
    """An artifact's id, and who has it. What is behind a location's colon is an id where the whole is none."""
    for artifact_id in dict.fromkeys((id_in(asked), asked.rpartition(":")[2])):
        found = _holders(repository, artifact_id, revision=revision)
        if found:
            return artifact_id, found
    return id_in(asked), ()


def _holders(repository: Repository, artifact_id: str, *, revision: str) -> tuple[Holder, ...]:
    if not artifact_id or not artifact_id.isprintable():
        return ()
    recorded = search(repository, artifact_id, _left(artifact_id), revision=revision)
    found = [_holder(repository, one, revision=revision) for one in recorded]
    found = found or [*_only_tagged(repository, artifact_id)]
    return tuple(
        sorted(found, key=lambda one: (one.standing == "recorded", bool(one.channels), one.build), reverse=True)
    )


def _weight(one: Holder) -> tuple[bool, bool, str]:
    return bool(one.channels), one.standing == "recorded", one.build


def _holder(repository: Repository, where: Where[_Left], *, revision: str) -> Holder:
    by, lock, kept = where.hit.by, where.lock, where.past is None
    facts = {
        "artifacts": where.hit.artifacts,
        "as_part": where.hit.as_part,
        "as_format": where.hit.as_format,
        "dropped_in": where.dropped_in,
        "removed": where.past.removed(by.id) if where.past is not None and isinstance(by, Build) else None,
    }
    if isinstance(by, Failure):
        return Holder(
            image=where.image, build=by.build, standing="failed", kept=kept, key=by.key, finished=by.at, why=by.what,
            smoke_test=by.smoke_test.status if by.smoke_test is not None else None, **facts,
        )  # fmt: skip
    gone = not kept or by.phase == "superseded"
    left = departure(repository.tree(revision), lock, by.id) if kept else None
    return _of_build(
        where.image, by, leaving=left, standing="superseded" if gone else "recorded", kept=kept, phase=by.phase,
        channels=channels_of(lock, by.id) if kept else (), why=by.revoked.reason if by.revoked is not None else None,
        pull_request=pull_requests(repository.git, revision).of(by.commit), **facts,
    )  # fmt: skip


def _of_build(image: str, build: Build, **more: object) -> Holder:
    finished = finished_at(build)
    return Holder.model_validate({
        "image": image, "build": build.id, "commit": build.commit, "key": build.key,
        "finished": format_instant(finished) if finished is not None else None,
        "source": str(build.source) if build.source is not None else None,
        "smoke_test": build.smoke_test.status if build.smoke_test is not None else None,
        "verdict": build.verdict.status if build.verdict is not None else None, **more,
    })  # fmt: skip


def departure(tree: Tree, lock: Lockfile, build_id: str) -> Departure | None:
    """How far a build has gone that goes away, by the waits that a revision declares; None where it does not go."""
    entry = lock.left(build_id)
    if entry is None:
        return None
    try:
        image = read_image(tree, lock.image)
    except ReconcilerError:
        image = None
    until = stays_until(entry, image.declaration.retain) if isinstance(image, Image) else None
    return Departure(
        deprecated=entry.deprecated, disabled=entry.disabled,
        undo=format_instant(until) if until is not None else None,
    )  # fmt: skip


def channels_of(lock: Lockfile, build_id: str) -> tuple[Channel, ...]:
    """The channels that point to a build."""
    names: tuple[Channel, ...] = ("candidate", "stable")
    return tuple(name for name in names if getattr(lock.channels, name) == build_id)


def _only_tagged(repository: Repository, artifact_id: str) -> Iterator[Holder]:
    """What annotated tags alone say of an artifact: what no branch holds, and what a refresh or an attempt left."""
    for name in _tags_with(repository, artifact_id):
        match = _TAG.fullmatch(name)
        message = tag_message(repository.git, name)
        if match is not None and message is not None:
            yield from _tagged(repository, match["image"], match["build"], message=message, artifact_id=artifact_id)


def _tagged(
    repository: Repository, image: str, build_id: str, *, message: str, artifact_id: str
) -> Iterator[Holder]:  # fmt: skip
    preview = find_preview(repository, image, build_id)
    failure = _failure(message)
    if preview is not None:
        left = _of(preview.build, preview.build.artifacts, artifact_id)
        if left.artifacts:
            yield _of_build(
                image, preview.build, kept=False, artifacts=left.artifacts, as_part=left.as_part,
                standing="unchanged" if "\nstatus: unchanged\n" in message else "preview",
                branch=next(iter(preview.branches), None),
            )  # fmt: skip
    elif failure is not None:
        left = _of(failure, failure.artifacts, artifact_id)
        if left.artifacts:
            yield Holder(
                image=image, build=failure.build, standing="failed", kept=False, key=failure.key,
                finished=failure.at, why=failure.what, artifacts=left.artifacts, as_part=left.as_part,
            )  # fmt: skip


def _failure(message: str) -> Failure | None:
    try:
        return Failure.model_validate_json(record_in(message) or "")
    except ValueError:
        return None


def _nobodys(repository: Repository, asked: str, *, revision: str) -> UserError:
    tree = repository.tree(revision)
    if asked in recorded_images(tree):
        return UserError(f"{asked} is an image, and no artifact", hint=f"`reconciler artifact {asked}` names its own")
    if re.match(BUILD_ID_PATTERN.removesuffix("$"), asked):
        return UserError(f"{asked} is a build, and no artifact", hint=f"`reconciler show {asked}`")
    built_on = [image for image in images_with(tree, asked) if asked in _sources(read_lockfile(tree, image))]
    if built_on:
        return UserError(
            f"{asked} is not of this fleet: {first_few(built_on, most=_MOST_NAMED)} is built on it",
            hint=f"`reconciler show {built_on[0]}` says what it is",
        )
    near = [*published_near(tree, asked)]
    if near:
        return UserError(f"no channel is published as {asked}, as far as state/ says", hint=near)
    meant = did_you_mean(asked, _alike(tree, asked), otherwise="", cutoff=_ALIKE)
    more = ["a name is looked up in state/ as it is: `--rev COMMIT` asks it as it was"] if "/" in asked else []
    more += ["this clone's history is cut off: `git fetch --unshallow` brings the rest"] if repository.shallow else []
    return UserError(
        f"no lockfile has or had an artifact {asked!r}, nor does a tag name it",
        hint=[*filter(None, [meant]), *more] or "`git pull` and `git fetch --tags` bring what this clone lacks",
    )


def _sources(lock: Lockfile | None) -> set[str]:
    """The ids of what is upstream of a lockfile's builds."""
    pins = (build.source for build in lock.builds) if lock is not None else ()
    return {pin.upstream.id for pin in pins if pin is not None and pin.upstream is not None}


def _alike(tree: Tree, asked: str) -> set[str]:
    """The ids of artifacts recorded today of which one half is as asked: few, where there are a hundred thousand."""
    middle = len(asked) // 2
    begin, end = asked[:middle], asked[-middle:] if middle else ""
    found: set[str] = set()
    for image in {*images_with(tree, f'"{begin}'), *images_with(tree, f'{end}"')} if middle else ():
        try:
            lock = read_lockfile(tree, image)
        except UserError:
            continue
        ids = (one.id for build in (lock.recorded if lock is not None else ()) for one in build.artifacts)
        found |= {one for one in ids if one.startswith(begin) or one.endswith(end)}
    return found
