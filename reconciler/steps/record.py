"""Record: the lockfile as a commit, the build as an annotated tag, pushed together.

Each change is a function of the lockfile at the remote's head, applied anew whenever that head moves: state is
regenerated, never rebased.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.desired.fleet import read_fleet
from reconciler.git.request import Change, Commit, TagRequest
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Failure, Lockfile
from reconciler.model.plan import Decision
from reconciler.model.tree import Tree
from reconciler.plan import messages, transitions
from reconciler.plan.key import moved
from reconciler.plan.key import wanted as want
from reconciler.plan.reasons import repository_path
from reconciler.state.lockfiles import path_of, read_lockfile, render
from reconciler.state.unsaved import write_unsaved
from reconciler.steps.run import Run


@dataclass(frozen=True)
class Recording:
    """What is recorded now. `superseded` says that our change was not wanted any more, and `why`."""

    lock: Lockfile
    commit: str | None = None
    tags: tuple[str, ...] = ()
    superseded: bool = False
    why: str = ""


@dataclass(frozen=True)
class Unwanted:
    """The branch moved on: what we have is not what it wants."""

    why: str


def record_build(
    run: Run, image: Image, build: Build, *, decision: Decision, verb: Literal["build", "adopt"]
) -> Recording:
    """Record a finished (or adopted) build. Superseded when the head no longer wants it or has one already."""
    tag = messages.tag_name(image.name, build.id)
    known = {one.id for one in decision.lock.builds}

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        for other in lock.builds:
            if other.key == build.key and other.id not in {build.id, *known}:
                return Unwanted(f"another run recorded {other.id}, which has the same key")
        return _unwanted(run, tree, image=image, build=build) or transitions.with_build(lock, build, image=image)

    tags: tuple[TagRequest, ...] = ()
    if verb == "build" or run.repository.annotated_tag(tag) is None:
        tags = (TagRequest(name=tag, target=build.commit, message=messages.build_tag(image.name, build)),)
    message = messages.build_commit(image.name, build, verb=verb)
    try:
        return _record(run, image.name, change, message=message, tags=tags, former=image.declaration.moved_from)
    except ReconcilerError as error:
        # Nothing could be pushed: leave the exact record where a person finds it.
        kept = write_unsaved(run.repository.root, image.name, build=build)
        error.mend = (*error.mend, f"its record is kept in {kept}; the image is adopted by the next run that can push")
        raise


def record_change(
    run: Run, decision: Decision, image: Image | None, *, added: Sequence[Artifact] = (), gone: Sequence[Artifact] = ()
) -> Recording:
    """Record what changed about a build that stays; with no image, that it is declared and recorded no more."""
    reasons = decision.planned.reasons
    what = ", ".join(decision.planned.actions)
    message = messages.change_commit(decision.name, what, reasons)
    if image is None:
        return _record(run, decision.name, _deleted, message=message)
    build_id = decision.lock.builds[0].id

    def change(lock: Lockfile, tree: Tree) -> Lockfile:
        del tree
        return transitions.as_declared(transitions.with_artifacts(lock, build_id, added, gone=gone), image)

    return _record(run, image.name, change, message=message, former=image.declaration.moved_from)


def _deleted(lock: Lockfile, tree: Tree) -> None:
    del lock, tree


def record_failure(run: Run, image: Image, failure: Failure, decision: Decision) -> Recording:
    """Record that a build failed, so that the next run leaves it alone for a while and people see why."""

    def change(lock: Lockfile, tree: Tree) -> Lockfile:
        del tree
        return transitions.with_failure(lock, failure)

    tag = TagRequest(
        name=messages.tag_name(image.name, failure.build),
        target=run.known.head,
        message=messages.failure_tag(image.name, failure),
    )
    message = messages.failure_commit(image.name, failure, decision.planned.reasons)
    return _record(run, image.name, change, message=message, tags=(tag,), former=image.declaration.moved_from)


def _record(
    run: Run,
    name: str,
    change: Callable[[Lockfile, Tree], Lockfile | Unwanted | None],
    *,
    message: str,
    tags: tuple[TagRequest, ...] = (),
    former: str | None = None,
) -> Recording:
    """Apply a change to the lockfile at the branch's head. A change to None deletes it."""
    latest: list[Lockfile] = []
    unwanted: list[Unwanted] = []

    def regenerate(tree: Tree) -> Commit | None:
        lock = read_lockfile(tree, name) or _former(tree, former, name=name) or Lockfile(image=name)
        new = change(lock, tree)
        latest.append(new if isinstance(new, Lockfile) else lock)
        if isinstance(new, Unwanted):
            unwanted.append(new)
            return None
        changes = [Change(path=path_of(name), content=render(new) if new is not None else None)]
        if former is not None and path_of(former) in tree.entries:
            changes.append(Change(path=path_of(former), content=None))
        return Commit(changes=tuple(changes), message=message, tags=tags)

    recorded = run.recorder.record(regenerate)
    if recorded is None:
        return Recording(latest[-1], superseded=True, why=unwanted[-1].why)
    if recorded.left_behind is not None:
        run.listener(events.Warned(image=name, what=f"the checkout was left as it is: {recorded.left_behind}"))
    if recorded.changed:
        run.listener(
            events.Recorded(image=name, commit=recorded.commit, branch=recorded.branch, pushed=recorded.pushed)
        )
    commit = recorded.commit if recorded.changed else None
    return Recording(latest[-1], commit=commit, tags=tuple(tag.name for tag in tags))


def _unwanted(run: Run, tree: Tree, *, image: Image, build: Build) -> Unwanted | None:
    """Why the head no longer wants what was built. Costs nothing as long as none of the image's files changed."""
    if not _touched(run.known.tree, tree, image=image):
        return None
    now = read_fleet(tree).images.get(image.name)
    if now is None:
        return Unwanted(f"{image.name} is no longer declared at {tree.oid[:12]}")
    changed = moved(build.components, want(now, build.source).components)
    if changed:
        return Unwanted(f"{image.name} changed in the meantime ({', '.join(changed)}, at {tree.oid[:12]})")
    return None


def _touched(before: Tree, now: Tree, *, image: Image) -> bool:
    inputs = {repository_path(image.folder, file.path) for file in image.inputs}
    inputs |= {f"{image.folder}/image.yaml", "desired/reconciler.yaml"}
    inside = {path for tree in (before, now) for path in tree.entries if path.startswith(f"{image.folder}/")}
    return any(before.entries.get(path) != now.entries.get(path) for path in inputs | inside)


def _former(tree: Tree, former: str | None, *, name: str) -> Lockfile | None:
    lock = read_lockfile(tree, former) if former is not None else None
    return lock.model_copy(update={"image": name}) if lock is not None else None
