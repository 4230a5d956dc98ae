"""Record what becomes of builds that are there: verdicts, rulings, care, announcements, publications, and their end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from reconciler.git.objects import Change, TagRequest
from reconciler.model.care import Care
from reconciler.model.fleet import Image
from reconciler.model.history import Turned
from reconciler.model.lockfile import Build, Failure, Gone, Leaving, Lockfile, Reason, Undelivered, Verdict
from reconciler.model.plan import Ruling
from reconciler.model.publish import Published
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant
from reconciler.plan import leaving, transitions
from reconciler.plan.channels import binds, overrules
from reconciler.plan.history import turned
from reconciler.plan.planning import lock_of
from reconciler.plan.rulings import in_force
from reconciler.steps.record import (
    Recording,
    Unwanted,
    declared_at,
    record_lock,
)
from reconciler.steps.run import Run
from reconciler.words import messages


def record_verdict(run: Run, image: Image, build_id: str, verdict: Verdict) -> Recording:
    """Record a verdict: the lockfile, and an annotated tag on the commit that was built."""
    built = lock_of(run.known, image)[0].build(build_id)
    before = built.verdict if built is not None and built.verdict != verdict else None
    at = format_instant(run.known.now)
    tag = TagRequest(
        name=messages.verdict_tag_name(image.name, build_id, overruled=before),
        target=built.commit if built is not None and run.repository.has(built.commit) else run.known.head,
        message=messages.verdict_tag(image.name, build_id, verdict),
    )

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        build = lock.build(build_id)
        if build is None:
            return Unwanted(f"{build_id} is not recorded any more at {tree.oid[:12]}")
        if build.verdict != verdict and not overrules(build.verdict, verdict):
            return Unwanted(f"another run recorded a verdict on {build_id}, which stands")
        declared = declared_at(tree, image, since=run.known.tree)
        ruling = in_force(declared if isinstance(declared, Image) else image, now=run.known.day_of(image.name))
        if binds(ruling, lock, build_id, verdict):
            return Unwanted(f"stable is held to {build_id} at {tree.oid[:12]}")
        return transitions.with_verdict(lock, build_id, verdict, at=at, held=ruling.declaration.hold is not None)

    message = messages.verdict_commit(image.name, build_id, verdict)
    return record_lock(run, image.name, change, message=message, tags=(tag,), former=image.declaration.moved_from)


def record_ruling(run: Run, image: Image, ruling: Ruling, *, restored: Sequence[Change] = ()) -> Recording:
    """Record what image.yaml rules of builds: holds and revocations, and where the channels are by that.

    Superseded where the declaration changed since the plan: what it rules now is the next run's to record. `restored`
    are files that the records of builds name which no lockfile named.
    """

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if declared_at(tree, image, since=run.known.tree) is not image:
            return Unwanted(f"what is declared of {image.name} changed at {tree.oid[:12]}")
        return ruled(lock)

    at = format_instant(run.known.now)

    def ruled(lock: Lockfile) -> Lockfile:
        named = transitions.with_unnamed(lock, ruling.unnamed, at=at)
        return transitions.as_ruled(named, image, ruling.causes, at=at, reachable=ruling.reachable)

    before = lock_of(run.known, image)[0]
    after = ruled(before)
    message = messages.ruling_commit(image.name, ruling.reasons)
    tags = _tags(run, image, [*turned(before, after), *_held(before, after, image)])
    former = image.declaration.moved_from
    return record_lock(run, image.name, change, message=message, tags=tags, former=former, also=restored)


def _held(before: Lockfile, after: Lockfile, image: Image) -> Iterator[tuple[Build, Turned, str | None]]:
    """The build that a hold brings `stable` to, or leaves it with, and the one that it binds it to no more."""
    hold, was = image.declaration.hold, {one.id: one.is_held for one in before.recorded}
    for build in after.builds:
        if build.is_held and not was.get(build.id, False):
            yield build, "held", hold.reason if hold is not None else None
        elif was.get(build.id, False) and not build.is_held:
            yield build, "released", None


def _tags(run: Run, image: Image, happened: Iterable[tuple[Build, Turned, str | None]]) -> tuple[TagRequest, ...]:
    """An annotated tag for each thing that is recorded of a build; none of what is proposed: the next run does it anew.

    On the commit that was built, as that of a verdict is.
    """
    at = format_instant(run.known.now)
    return tuple(
        TagRequest(
            name=messages.turn_tag_name(image.name, build.id, what, at=at),
            target=build.commit if run.repository.has(build.commit) else run.known.head,
            message=messages.turn_tag(image.name, build.id, what, at=at, why=why),
        )
        for build, what, why in (() if run.proposes else happened)
    )


def record_care(
    run: Run, image: Image, care: Mapping[tuple[str, str], Care], *, actions: Sequence[str], reasons: Sequence[Reason]
) -> Recording:
    """Record what is done, or was undone, to artifacts beside making and marking them, by location and id.

    Superseded where the declaration changed since the plan: what is to be done by it is the next run's.
    """

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if declared_at(tree, image, since=run.known.tree) is not image:
            return Unwanted(f"what is declared of {image.name} changed at {tree.oid[:12]}")
        return transitions.with_care(lock, care)

    message = messages.change_commit(image.name, ", ".join(actions), reasons)
    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from)


def record_leaving(
    run: Run, image: Image, entries: Sequence[Leaving], *, reasons: Sequence[Reason], restored: Sequence[Change] = ()
) -> Recording:
    """Record how far builds have gone, before anything is done to them: so no run begins their waiting anew.

    Superseded where the declaration changed since it was judged. `restored` are files that their records name.
    """

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if declared_at(tree, image, since=run.known.tree) is not image:
            return Unwanted(f"what is declared of {image.name} changed at {tree.oid[:12]}")
        return leaving.with_leaving(lock, entries, image=in_force(image, now=run.known.day_of(image.name)))

    before = lock_of(run.known, image)[0]
    after = leaving.with_leaving(before, entries, image=in_force(image, now=run.known.day_of(image.name)))
    message, former = (
        messages.change_commit(image.name, messages.steps_of(reasons), reasons),
        image.declaration.moved_from,
    )
    tags = _tags(run, image, turned(before, after))
    return record_lock(run, image.name, change, message=message, tags=tags, former=former, also=restored)


def record_gone(
    run: Run, image: Image, gone: Sequence[Build], *, reasons: Sequence[Reason], stays: Collection[str] = ()
) -> Recording:
    """Record that builds have gone: nothing of them is left, but for what git's history tells.

    Nobody is told so of those of which something `stays`, by their ids: somebody else's use keeps it.
    """
    removed = {one.id for one in gone} - set(stays)

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        del tree
        at, tells = format_instant(run.known.now), bool(run.known.fleet.settings.announce.names)
        after = leaving.with_removed(lock, removed, at=at, tells=tells)
        return transitions.without_gone(after, {one.id for one in gone})

    artifacts = [artifact for build in gone for artifact in build.artifacts]
    message = messages.change_commit(image.name, "retire", reasons, gone=artifacts)
    before = lock_of(run.known, image)[0]
    tags = _tags(run, image, ((one, "removed", None) for one in gone if one.id in removed and before.left(one.id)))
    return record_lock(run, image.name, change, message=message, tags=tags, former=image.declaration.moved_from)


def record_undelivered(run: Run, image: Image, undelivered: tuple[Undelivered, ...]) -> Recording:
    """Record which announcements did not get through; with none, that all did in the end."""

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if not lock.builds and lock.failure is None:
            return Unwanted(f"nothing of {image.name} is recorded any more at {tree.oid[:12]}")
        return lock.model_copy(update={"undelivered": undelivered})

    message = messages.undelivered_commit(image.name, undelivered)
    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from)


def record_told(
    run: Run,
    image: Image,
    *,
    failure: Failure | None,
    refreshes: Sequence[Published] = (),
    gone: Sequence[Gone] = (),
    over: Collection[str] = (),
) -> Recording:
    """Record who was told of an attempt that failed, as long as that is the last one that did, of refreshes, and more.

    `refreshes` are groups, each with who was told that its last refresh failed. `gone` are builds that were removed,
    each with who was told that; of those that are `over`, by id, nobody is to be told any more.
    """
    told = {(one.place, one.refresh): one.told for one in refreshes}

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        last = lock.failure
        heard = failure is not None and last is not None and last.build == failure.build
        if last is not None and failure is not None and heard:
            last = last.model_copy(update={"told": tuple(sorted({*last.told, *failure.told}))})
        published = tuple(
            one.model_copy(update={"told": tuple(sorted({*one.told, *told[one.place, one.refresh]}))})
            if one.course == "failed" and (one.place, one.refresh) in told
            else one
            for one in lock.published
        )
        after = leaving.with_told(lock, gone, over=over)
        if not heard and published == lock.published and after == lock:
            return Unwanted(f"what failed is not what failed last any more at {tree.oid[:12]}")
        return after.model_copy(update={"failure": last, "published": published})

    message = messages.told_commit(image.name, failure, refreshes, gone)
    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from)


def record_published(
    run: Run, image: Image, published: tuple[Published, ...], *, former: tuple[Published, ...]
) -> Recording:
    """Record where an image's channels are written out: before they are for the first time, and once they are gone.

    `former` is what was recorded before.
    """

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if not lock.builds:
            return Unwanted(f"nothing of {image.name} is recorded any more at {tree.oid[:12]}")
        return lock.model_copy(update={"published": published})

    message = messages.published_commit(image.name, published, former=former)
    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from)
