"""Act: carry out what was decided for each image, parents first, and record it at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from graphlib import TopologicalSorter
from typing import TypeVar

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.plan import Decision, Retirement, Situation, Wanted
from reconciler.model.source import Pin
from reconciler.plan import transitions
from reconciler.plan.channels import moves
from reconciler.plan.diff import renewal
from reconciler.plan.graph import REPLACING, pin_to_recorded
from reconciler.plan.key import adoptable, moved
from reconciler.plan.key import wanted as want
from reconciler.plan.planning import FleetPlan, lock_of
from reconciler.plan.reasons import request_text
from reconciler.steps import attempts
from reconciler.steps.artifacts import (
    NO_CONVERSIONS,
    Conversions,
    Copies,
    convert_missing,
    copy_missing,
    tag_complete,
    tag_moved,
    tag_with_new_name,
)
from reconciler.steps.attempts import interrupted
from reconciler.steps.care import tend_recorded
from reconciler.steps.finish import result_of
from reconciler.steps.preview import preview_image
from reconciler.steps.publish import withdraw
from reconciler.steps.record import record_change
from reconciler.steps.retire import reconsider, told_retired
from reconciler.steps.run import Deed, Report, Result, Run, Status
from reconciler.steps.settle import make_owed_tags, retire_useless, settle
from reconciler.words.plans import listed

_BECAME: Mapping[Status, str] = {
    "failed": "failed",
    "skipped": "was skipped",
    "interrupted": "was interrupted",
    "superseded": "changed in the meantime",
    "unchanged": "came out as it was",
}


def act(run: Run, fleet_plan: FleetPlan) -> Report:
    """Carry the plan out, parents before children, and record each image as it ends."""
    decisions = {decision.name: decision for decision in fleet_plan.decisions if decision.acts}
    waits = {name: () if name in run.refused else _waits(decision, decisions) for name, decision in decisions.items()}
    done: dict[str, Result] = {}

    def work(name: str) -> Result:
        if name in run.refused:
            done[name] = _refused(run, decisions[name], run.refused[name])
        else:
            done[name] = carry_out(run, decisions[name], {parent: done[parent] for parent in waits[name]})
        return done[name]

    for name, parents in waits.items():
        if parents:
            run.listener(events.Waiting(image=name, on=parents))
    make_owed_tags(run)
    limits = run.known.fleet.settings.limits
    bounded = {
        kind: (most, [name for name, one in decisions.items() if one.kind == kind])
        for kind, most in limits.at_once.items()
    }
    run_graph(waits, work, parallel=limits.parallel_builds, bounded=tuple(bounded.values()))
    run.late_tags.write(run.registry, run.listener)
    reconsider(run)
    return Report(tuple(done[name] for name in decisions), fleet_plan.plan, run.target)


def carry_out(run: Run, decision: Decision, parents: Mapping[str, Result]) -> Result:
    """Do what was decided. What goes wrong ends this image, never the run: it comes back as a Result."""
    if run.cancelled.is_set():
        return Result(decision.name, "interrupted", decision.lock)
    stopped = _stopped_by(decision, parents)
    if stopped is not None:
        run.listener(events.Skipped(image=decision.name, why=stopped.why))
        return stopped
    for parent in parents.values():
        run.packer_keys.note_all(parent.lock)
    try:
        return _act(run, decision, parents)
    except ReconcilerError as error:
        if run.cancelled.is_set():
            return interrupted(decision, error)
        run.listener(events.Failed(image=decision.name, what=str(error)))
        return Result(decision.name, "failed", decision.lock, why=error.what, error=error)


def _stopped_by(decision: Decision, parents: Mapping[str, Result]) -> Result | None:
    """What becomes of a child whose parent does not stand. Nothing failed where the branch moved on."""
    for name in decision.planned.blocked_by:
        parent = parents.get(name)
        if parent is not None and not parent.stands:
            status: Status = "superseded" if parent.status == "superseded" else "skipped"
            return Result(decision.name, status, decision.lock, why=f"its parent {name} {_BECAME[parent.status]}")
    return None


def _act(run: Run, decision: Decision, parents: Mapping[str, Result]) -> Result:
    image = decision.image
    if run.branch is not None:
        return preview_image(run, decision, parents)
    if image is None:
        return _end(run, decision)
    former = lock_of(run.known, image)[1]
    if former is not None:
        tag_with_new_name(run, image, decision.lock)
    settled = settle(run, image, decision)
    result = _tended(run, _carry_out(run, settled.decision, image, parents), image)
    if settled.error is not None and result.error is None:
        result = replace(result, status="failed", why=settled.error.what, error=settled.error)
    renamed = (Deed("renamed", f"from {former}"),) if former is not None and result.commit is not None else ()
    return replace(
        result, commit=result.commit or settled.commit, tags=(*settled.tags, *result.tags),
        did=(*renamed, *settled.did, *result.did),
    )  # fmt: skip


def _tended(run: Run, result: Result, image: Image) -> Result:
    """The result, once what it recorded is shared, deprecated and protected as declared."""
    if result.commit is None:
        return result
    done = tend_recorded(run, image, result.lock)
    result = replace(result, lock=done.lock, did=(*result.did, *done.did), commit=done.commit or result.commit)
    if done.error is None or result.error is not None:
        return result
    return replace(result, status="failed", why=done.error.what, error=done.error)


def _carry_out(run: Run, decision: Decision, image: Image, parents: Mapping[str, Result]) -> Result:
    """What is to be done about the image itself."""
    if not decision.acts:
        return Result(image.name, "changed", decision.lock, build=decision.lock.kept)
    if REPLACING.isdisjoint(decision.planned.actions):
        return _change(run, decision, image)
    if not _are_enabled(run, decision):
        return Result(image.name, "superseded", decision.lock, why="what it is to adopt is disabled still")
    return _replaced(run, decision, image, parents)


def _replaced(run: Run, decision: Decision, image: Image, parents: Mapping[str, Result]) -> Result:
    """Another build of the image: built, adopted, or taken up where an earlier attempt could not mark it."""
    wanted = _with_parent(decision, image, parents)
    if _needless(decision, wanted):
        # It may still be too old for a refresh, or somebody asked for a new build of it.
        renewed = renewal(_alone(run, decision, image, pin=wanted.pin))
        if renewed is None or renewed.wanted is None or not renewed.acts:
            return _left_as_it_is(run, decision, wanted, parent=parents.get(image.parent or ""))
        decision, wanted = renewed, renewed.wanted
    failure = decision.lock.failure
    if decision.take_up is not None and failure is not None and failure.key == wanted.key:
        return attempts.take_up(run, decision, wanted, made=decision.take_up)
    if "adopt" not in decision.planned.actions or decision.take_up is not None:
        # A build may have waited long for its parents and its turn. What another run built meanwhile is adopted.
        there = adoptable(run.registry.observe(image.locations).of(image.name), key=wanted.key)
        if not there:
            return attempts.build(run, decision, wanted)
        decision = replace(decision, adopt=there)
    return attempts.adopt(run, decision, wanted)


def _are_enabled(run: Run, decision: Decision) -> bool:
    """Whether what is adopted and was disabled can be used by now: not where that failed, or is only proposed yet."""
    back = {(one.artifact.location, one.artifact.id) for one in decision.tend if one.enable}
    found = (run.registry.find(one.location, one.id) for one in decision.adopt if one.place in back)
    return all(one is not None and one.state == "available" for one in found)


def _needless(decision: Decision, wanted: Wanted) -> bool:
    """Whether the parent came out otherwise than planned, so that the image has what it needs or nothing to adopt."""
    if decision.wanted is not None and decision.wanted.key == wanted.key:
        return False
    return "adopt" in decision.planned.actions or _is_recorded(decision, wanted)


def _is_recorded(decision: Decision, wanted: Wanted) -> bool:
    last = decision.lock.builds[0] if decision.lock.builds else None
    return last is not None and not moved(last.components, wanted.components)


def _alone(run: Run, decision: Decision, image: Image, *, pin: Pin | None) -> Situation:
    return Situation(
        image=image, lock=decision.lock, now=run.known.now, fleet=run.known.fleet_name, head=run.known.head,
        options=run.known.options, pin=pin,
    )  # fmt: skip


def _left_as_it_is(run: Run, decision: Decision, wanted: Wanted, *, parent: Result | None) -> Result:
    """A child for which there is nothing to do. Where its parent was kept, its own children may be built on it."""
    kept = parent is not None and parent.status == "unchanged" and _is_recorded(decision, wanted)
    status: Status = "unchanged" if kept else "superseded"
    why = f"its parent {parent.image if parent else ''} {_BECAME[status]}"
    run.listener(events.Skipped(image=decision.name, why=why))
    return Result(decision.name, status, decision.lock, build=decision.lock.kept if kept else None, why=why)


def _with_parent(decision: Decision, image: Image, parents: Mapping[str, Result]) -> Wanted:
    """The wanted build on what the parent came to be: its key was known before, its artifacts only now."""
    if decision.wanted is None:
        raise Terminal(f"{image.name} has no key, so it can't be built")
    parent = parents.get(image.parent or "")
    if parent is None:
        return decision.wanted
    pinned = pin_to_recorded(image, parent.lock)
    if pinned.pin is None:
        raise Terminal(pinned.missing or f"{image.parent} has no build")
    if decision.wanted.pin is not None and pinned.pin.identity == decision.wanted.pin.identity:
        return replace(decision.wanted, pin=pinned.pin)
    return want(image, pinned.pin)  # another run was faster with the parent: what it recorded counts


def _change(run: Run, decision: Decision, image: Image) -> Result:
    """Everything that needs no build: copies, tags, channels, retired locations, the lockfile's wording."""
    build = transitions.as_declared(decision.lock, image).kept
    if build is None:
        return Result(image.name, "changed", decision.lock)  # its only builds were rejected: there is nothing to keep
    builder = build.artifacts[0].builder
    added: list[Artifact] = [seen.as_artifact(builder) for seen in decision.adopt]
    copies = Copies()
    if decision.copy_from is not None:
        source = decision.copy_from.as_artifact(builder)
        copies = copy_missing(
            run, image, build, source=source, locations=decision.missing_locations, lock=decision.lock
        )  # fmt: skip
        added.extend(copies.done)
    conversions = _conversions(run, decision, image, build, added)
    changed = {(one.location, one.id): one for one in (*added, *conversions.artifacts)}
    added = list(changed.values())
    # What a failed copy is to be made from may stand only where the image is no longer declared.
    gone = decision.retire if not copies.failed else ()
    withdrawn = _withdraw(run, decision, of={one.location for one in gone} - set(image.locations))
    stays = _retire(run, image.name, gone)
    recording = record_change(run, decision, image, added=added, gone=gone, stays=stays)
    if recording.superseded:
        return Result(image.name, "superseded", recording.lock, why=recording.why)
    build = recording.lock.build(build.id) or build
    # What is only proposed is no channel's yet.
    lock = decision.lock if run.proposes else recording.lock
    tag_complete(run, image, build, decision.retag, lock=lock)
    tag_moved(run, image, before=decision.lock, after=lock)
    result = result_of(
        run, decision, recording, build=build, copies=copies, status="changed", conversions=conversions
    )  # fmt: skip
    deeds = _deeds(decision, copies=copies, conversions=conversions, after=recording.lock)
    return replace(result, did=(*withdrawn, *deeds, *_left(gone, stays)))


def _conversions(run: Run, decision: Decision, image: Image, build: Build, added: Sequence[Artifact]) -> Conversions:
    """What is there of a build in every declared format, where that was missing, or the artifact itself was."""
    new = {(one.location, one.id) for one in added}
    lacking = {one.place for one in decision.convert}
    before = [one for one in build.artifacts if (one.location, one.id) in lacking - new]
    return convert_missing(run, image, build, (*added, *before)) if image.formats else NO_CONVERSIONS


def _deeds(decision: Decision, *, copies: Copies, conversions: Conversions, after: Lockfile) -> Iterator[Deed]:
    """What was done without a build, one thing a row."""
    for copied in copies.done:
        yield Deed("copied", f"to {copied.location} {copied.id}")
    for location, made in conversions.made:
        yield Deed("converted", f"to {made.format} in {location} {made.id}")
    if decision.adopt:
        yield Deed("recorded", "  ".join(f"{seen.location} {seen.id}, which was there" for seen in decision.adopt))
    for one in moves(decision.lock, after):
        yield Deed("promoted", f"{one.was} → {(one.now or '').partition(' ')[2]}")
    if "retag" in decision.planned.actions:
        yield Deed("retagged", "  ".join(f"{seen.location} {seen.id}" for seen in decision.retag))
    asked = after.source.requested if after.source is not None else None
    before = decision.lock.source.requested if decision.lock.source is not None else None
    if asked != before:
        yield Deed("recorded", f"its source: {request_text(before)} → {request_text(asked)}")


def _left(artifacts: Sequence[Artifact], stays: Mapping[tuple[str, str], str], *, record: str = "") -> Iterator[Deed]:
    """What became of artifacts that were retired, and of their image's record: what is gone, and what is there still.

    Of what stays nothing is recorded any more.
    """
    gone = Retirement.of(one for one in artifacts if (one.location, one.id) not in stays)
    if gone or record:
        yield Deed("retired", ", and ".join(filter(None, [listed(gone) if gone else "", record])))
    for (location, artifact_id), why in stays.items():
        yield Deed("recorded", f"{location} {artifact_id} no more; it stays: {why}")


def _retire(run: Run, image: str, artifacts: Iterable[Artifact]) -> Mapping[tuple[str, str], str]:
    """Retire artifacts; returns those that are there still, by location and id, and why."""
    stays: dict[tuple[str, str], str] = {}
    for artifact in artifacts:
        if artifact.cared_for.protected:
            run.registry.protect(artifact, on=False)
        remains = told_retired(run, image, artifact)
        stays |= {(artifact.location, artifact.id): remains.stays} if remains.stays else {}
    return stays


def _withdraw(run: Run, decision: Decision, *, of: Collection[str] | None = None) -> tuple[Deed, ...]:
    """Take back the names that would be left without what they name, by location; None: in all."""
    return withdraw(run, decision.lock, partial(run.adapters.publisher, run.known), of=of)


def _end(run: Run, decision: Decision) -> Result:
    """An image that is no longer declared, and whose end was asked for: its artifacts and its lockfile go."""
    if decision.old_previews:
        # It never was declared here, and has no lockfile.
        return Result(decision.name, "changed", decision.lock, did=retire_useless(run, decision))
    withdrawn = _withdraw(run, decision)
    stays = _retire(run, decision.name, decision.retire)
    recording = record_change(run, decision, None, gone=decision.retire, stays=stays)
    result = result_of(run, decision, recording, build=None, copies=Copies(), status="changed")
    return replace(result, did=(*withdrawn, *_left(decision.retire, stays, record="its record")))


# Runs work in the order of a graph, as parallel as it may be.

T = TypeVar("T")


def run_graph(
    waits: Mapping[str, Collection[str]],
    work: Callable[[str], T],
    *,
    parallel: int,
    bounded: Sequence[tuple[int, Collection[str]]] = (),
) -> dict[str, T]:
    """Call `work` for every name, each after all it waits for, at most `parallel` at once.

    And of those names that are `bounded` together at most so many at once: what waits for its like keeps no other from
    its turn.

    `work` is called even when what it waits for went wrong: it decides by itself what that means. What it raises is
    raised here, after everything that was started has ended. Total time is that of the longest chain as long as
    `parallel` is not the limit: a name starts the moment its last parent ends.
    """
    sorter = TopologicalSorter(waits)
    sorter.prepare()
    done: dict[str, T] = {}
    running: dict[Future[T], str] = {}
    ready: list[str] = []

    def has_room(name: str) -> bool:
        at_work = set(running.values())
        return len(at_work) < parallel and all(
            len(at_work.intersection(names)) < most for most, names in bounded if name in names
        )

    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(waits)))) as pool:
        while sorter.is_active():
            ready += sorted(sorter.get_ready())
            for name in list(ready):
                if has_room(name):
                    ready.remove(name)
                    running[pool.submit(work, name)] = name
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                name = running.pop(future)
                done[name] = future.result()
                sorter.done(name)
    return done


def _refused(run: Run, decision: Decision, error: ReconcilerError) -> Result:
    run.listener(events.Failed(image=decision.name, what=str(error)))
    return Result(decision.name, "failed", decision.lock, why=error.what, error=error)


def _waits(decision: Decision, decisions: Mapping[str, Decision]) -> tuple[str, ...]:
    return tuple(parent for parent in decision.planned.blocked_by if parent in decisions)
