"""Publish: the channels are written out where consumers look them up, in every location, before the world is told.

Level-triggered like all else: what stands there is read, compared with where the lockfile's channels point, and set
right. The places are recorded before they are written for the first time, so that none is forgotten by a run that dies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.observation import Publications, Template, version_words
from reconciler.model.publish import Published
from reconciler.plan.launch_templates import VersionChange
from reconciler.plan.planning import FleetPlan, lock_of
from reconciler.plan.publishing import Change, Publishing, asked_of, names_of, of_others, publishing
from reconciler.plan.rollout import GroupChange, Rollout, rollout
from reconciler.ports.publisher import Publisher
from reconciler.state.lockfiles import path_of
from reconciler.steps.consumers import at_once, claimed, read_publications
from reconciler.steps.ours import records_of, stranger
from reconciler.steps.record_rulings import record_published
from reconciler.steps.run import Deed, Report, Result, Run


@dataclass(frozen=True)
class Outcome:
    """What became of an image's names. `waits` are the images that nobody is told of yet, with why."""

    report: Report
    waits: Mapping[str, str]


def publish(run: Run, report: Report, planned: FleetPlan, publisher: Callable[[], Publisher]) -> Outcome:
    """Write the channels out for every image that was acted on or has drifted there, all at once.

    What fails makes the image failed, though what is recorded of it stays. Never raises.
    """
    ended = {result.image: result for result in report.results}
    decided = {decision.name: decision for decision in planned.decisions}
    waits: dict[str, str] = {}
    todo: list[_Asked] = []
    for name, image in run.known.fleet.images.items():
        result, decision = ended.get(name), decided.get(name)
        lock = result.lock if result is not None and not run.proposes else lock_of(run.known, image)[0]
        if not asked_of(image, lock):
            continue
        if result is not None and result.status != "interrupted":
            todo.append(_Asked(image, lock, withdraws_only=decision is not None and decision.withdraws_only))
        elif decision is None or decision.planned.health != "suspended":
            still = publishing(image, lock, run.known.publications or Publications(run.known.now))
            waits |= {} if still.agrees else {name: _why(still)}
    if not todo or run.cancelled.is_set():
        return Outcome(report, waits)
    opened = publisher()
    results = dict(ended)
    for asked, ended_in in at_once(todo, lambda one: _publish(run, opened, one)):
        image = asked.image
        result = results.get(image.name) or Result(image.name, "changed", asked.lock, build=asked.lock.kept)
        done = _Done(error=ended_in) if isinstance(ended_in, ReconcilerError) else ended_in
        if done.error is not None:
            waits[image.name] = done.error.what
        for error in done.errors:
            run.listener(events.Failed(image=image.name, what=str(error)))
        results[image.name] = _ended(result, done)
    order = [*ended, *(name for name in results if name not in ended)]
    return Outcome(replace(report, results=tuple(results[name] for name in order)), waits)


def _why(still: Publishing) -> str:
    refused = (f"{one.text}: {why}" for one, why in still.refused)
    return "; ".join([*still.unknown, *still.lacking, *refused])


def _ended(result: Result, done: _Done) -> Result:
    if done.lock is not None:
        result = replace(result, lock=done.lock, commit=result.commit or done.commit)
    result = replace(result, did=(*result.did, *done.deeds))
    if not done.errors or not result.stands:
        return result
    return replace(result, status="failed", why=done.errors[0].what, error=done.errors[0])


@dataclass(frozen=True)
class _Done:
    deeds: tuple[Deed, ...] = ()
    error: ReconcilerError | None = None
    late: ReconcilerError | None = None
    """What went wrong with groups: they follow in their waves, and what is stable is told before."""
    lock: Lockfile | None = None
    commit: str | None = None

    @property
    def errors(self) -> tuple[ReconcilerError, ...]:
        """All that went wrong."""
        return tuple(one for one in (self.error, self.late) if one is not None)


@dataclass(frozen=True)
class _Asked:
    """An image whose names are to be set right; or only those of revoked artifacts are to be taken away."""

    image: Image
    lock: Lockfile
    withdraws_only: bool


def _publish(run: Run, publisher: Publisher, asked: _Asked) -> _Done:
    """Set right what one image's names hold: recorded first, then all written, then all read back; removals last.

    Groups come after that, as they are refreshed to numbers that may just have been made.
    """
    image, lock = asked.image, asked.lock
    found = read_publications(publisher, [(image, lock)], claimed=claimed(run.known), now=run.known.now)
    todo = publishing(image, lock, found)
    todo = todo.withdrawing(lock) if asked.withdraws_only else todo
    done = _recorded(run, image, _Done(lock=lock), todo.record)
    changed, failed, waiting = _changed(run, publisher, image, lock, todo.changes)
    for change in changed:
        run.listener(events.Published(image.name, change.at.location, change.at.name, change.value))
    deeds = tuple(_deed(change) for change in changed)
    versioned = [_versioned(run, publisher, image, lock, change) for change in todo.versions]
    forget = {one.place for one in todo.forget} - {change.at.place for change, _ in failed}
    forget -= {change.at.place for change in waiting}
    kept = [one for one in todo.record if one.place not in forget]
    left = _merged(kept, [one.at for one in versioned if one.at.version is not None])
    found = replace(found, templates={**found.templates, **_with_versions(image, todo.versions, versioned)})
    groups = rollout(image, lock.model_copy(update={"published": left}), found)
    groups = groups.leading_back if asked.withdraws_only else groups
    done = _recorded(run, image, done, _merged(left, groups.record))
    refreshed = [_refreshed(run, publisher, image, lock, change) for change in groups.changes if change.can_begin]
    done = _recorded(run, image, done, _merged(_merged(left, groups.record), [one.at for one in refreshed]))
    deeds += tuple(deed for one in (*versioned, *refreshed) for deed in one.deeds)
    arrived = _newly_done(groups.record, lock.published)
    deeds += tuple(_told(run, image, one, f"runs version {one.version}") for one in arrived)
    errors = [*(error for _, error in failed), *(one.error for one in versioned if one.error is not None)]
    late = [one.error for one in refreshed if one.error is not None]
    return replace(done, deeds=deeds, error=_error(todo, errors), late=_late(groups, late))


def _newly_done(record: Iterable[Published], former: Iterable[Published]) -> Iterator[Published]:
    """The groups that run their version since this run looked."""
    before = {(one.place, one.version) for one in former if one.course == "done"}
    return (one for one in record if one.course == "done" and (one.place, one.version) not in before)


def _merged(published: Sequence[Published], newer: Iterable[Published]) -> tuple[Published, ...]:
    places = {one.place: one for one in (*published, *newer)}
    return tuple(places[place] for place in sorted(places))


def _late(groups: Rollout, failed: Sequence[ReconcilerError]) -> ReconcilerError | None:
    if failed:
        return failed[0]
    if not groups.refused:
        return None
    return Terminal("; ".join(f"{one.text}: {why}" for one, why in groups.refused))


@dataclass(frozen=True)
class _Written:
    """The outcome for one launch template or group. `at` is how it is recorded from now on."""

    at: Published
    deeds: tuple[Deed, ...] = ()
    error: ReconcilerError | None = None


def _told(run: Run, image: Image, at: Published, told: str) -> Deed:
    run.listener(events.Published(image.name, at.location, at.name, told))
    return Deed("published", f"{at.text} {told}")


def _refreshed(run: Run, publisher: Publisher, image: Image, lock: Lockfile, change: GroupChange) -> _Written:
    """Have a refresh begin, or turn back. That it would was recorded, so a run that dies here finds it again."""
    at = change.at
    try:
        if change.refresh:
            publisher.turn_back(at.location, change.group, change.refresh)
            told, at = f"refresh {change.refresh} is turned back: {change.why}", change.recorded
        else:
            _refuse_stranger(run, image, lock, at.location, change.artifact)
            version = change.target.version if change.target is not None else None
            begun = publisher.begin_refresh(at.location, change.group, version or 0, change.settings)
            told, at = f"refresh {begun} to version {version}", at.model_copy(update={"refresh": begun})
    except ReconcilerError as error:
        return _Written(change.recorded, error=error)
    return _Written(at, (_told(run, image, at, told),))


def _with_versions(
    image: Image, changes: Sequence[VersionChange], written: Sequence[_Written]
) -> Mapping[tuple[str, str], Template]:
    """The templates that got a version, with it."""
    return {
        one.at.place: change.template.with_version(one.at.version, change.artifact, image.name, change.build)
        for change, one in zip(changes, written, strict=True)
        if one.at.version is not None and change.number is None
    }


def _versioned(run: Run, publisher: Publisher, image: Image, lock: Lockfile, change: VersionChange) -> _Written:
    """Make a version where there is none, and then the default of it, where that is asked for."""
    at = change.at.model_copy(update={"version": change.number})
    deeds: tuple[Deed, ...] = ()
    try:
        _refuse_stranger(run, image, lock, at.location, change.artifact)
        number = change.number
        if number is None:
            words = version_words(image.name, change.build)
            number = publisher.add_version(at.location, change.template, change.artifact, description=words)
            at = at.model_copy(update={"version": number})
            deeds = (_told(run, image, at, f"version {number} of {change.artifact}"),)
        if change.set_default and number != change.template.default:
            publisher.set_default(at.location, change.template, number)
            told = f"version {number} is the default, and was {change.template.default}"
            deeds = (*deeds, _told(run, image, at, told))
    except ReconcilerError as error:
        return _Written(at, deeds, error)
    return _Written(at, deeds)


def _recorded(run: Run, image: Image, done: _Done, published: tuple[Published, ...]) -> _Done:
    """The same with what is published recorded, where that is not what is recorded already."""
    if done.lock is None or published == done.lock.published:
        return done
    recording = record_published(run, image, published, former=done.lock.published)
    if recording.superseded:
        raise Transient(f"{image.name} is not published yet: {recording.why}")
    lock = done.lock.model_copy(update={"published": published})
    return replace(done, lock=lock, commit=done.commit or recording.commit)


def _refuse_stranger(run: Run, image: Image, lock: Lockfile, location: str, artifact_id: str) -> None:
    """Raise Terminal for what nothing but state/ calls this image's: its location may not have been read till now.

    Where it still can't be read the build's annotated tag has to name it: what is revoked is not to be found meanwhile.
    """
    build = next((one for one in lock.builds for each in one.artifacts if each.id == artifact_id), None)
    if build is None:
        raise Terminal(f"{artifact_id} is not published in {location}: no build of {image.name} has it")
    records = records_of(run.repository, run.known)
    try:
        seen = run.registry.find(location, artifact_id)
    except ReconcilerError:
        told = [records(name, build.id) for name in image.names]
        if all(one is None or one.build is None or (location, artifact_id) not in one.places for one in told):
            raise
        return
    if seen is None:
        raise Terminal(
            f"{artifact_id} is not published in {location}: it is not there",
            hint="the next run finds it missing there, and copies it from another location, or builds it anew",
        )
    why = stranger(seen, run.registry, records, known=run.known, image=image, build=build)
    if why:
        path = path_of(image.name)
        raise Terminal(
            f"{artifact_id} is not published in {location}: {path} names it, and {why}",
            hint=f"`git log -- {path}` shows who wrote that",
        )


def _changed(
    run: Run, publisher: Publisher, image: Image, lock: Lockfile, changes: Sequence[Change]
) -> tuple[list[Change], list[tuple[Change, ReconcilerError]], list[Change]]:
    """Carry changes out; what fails in one location leaves the others. All are written before the first is awaited.

    Returns what is done, what failed, and what is left for another run: names to be taken back where those that take
    their place could not be written.
    """
    failed: list[tuple[Change, ReconcilerError]] = []
    begun: list[tuple[Change, str, int]] = []
    done: list[Change] = []
    for change in (one for one in changes if one.value is not None):
        try:
            words = _description(image, lock, change)
            value = change.value or ""
            _refuse_stranger(run, image, lock, change.at.location, value)
            begun.append((change, value, publisher.put(*change.at.place, value, description=words)))
        except ReconcilerError as error:
            failed.append((change, error))
    for change, value, version in begun:
        try:
            publisher.confirm(*change.at.place, value, version=version)
            done.append(change)
            _labelled(run, publisher, image, lock, change, version=version)
        except ReconcilerError as error:
            failed.append((change, error))
    unwritten = {change.at.location for change, _ in failed}
    removals = [one for one in changes if one.value is None]
    waiting = [one for one in removals if one.at.location in unwritten and one.can_wait(lock)]
    for change in (one for one in removals if one not in waiting):
        try:
            if not _stays_by_another_name(run, change.at, change.was):
                publisher.remove(*change.at.place)
                done.append(change)
        except ReconcilerError as error:
            failed.append((change, error))
    return done, failed, waiting


def _stays_by_another_name(run: Run, at: Published, holds: str | None) -> bool:
    """Whether a name that is declared no more is still, in a location that is one with its own by another name.

    Taken back by the one, it would be gone by the other, until it is written there again. Raises what the registry
    raises.
    """
    return any(
        name == at.called and location != at.location
        and run.registry.is_same(at.location, location, artifact_id=holds or "")
        for location, name in sorted(claimed(run.known))
    )  # fmt: skip


def _labelled(run: Run, publisher: Publisher, image: Image, lock: Lockfile, change: Change, *, version: int) -> None:
    """Label what is published. Consumers find it without: that it could not be is told, and fails nothing."""
    try:
        build = getattr(lock.channels, names_of(image)[change.at.called])
        publisher.label(*change.at.place, version=version, build=build)
    except ReconcilerError as error:
        run.listener(events.Warned(image=image.name, what=str(error)))


def _description(image: Image, lock: Lockfile, change: Change) -> str:
    """What is said of what is written, where it can be said: of which image, channel and build it is."""
    channel = names_of(image)[change.at.called]
    return f"{image.name} {channel}: build {getattr(lock.channels, channel)}"


def _deed(change: Change) -> Deed:
    if change.value is None:
        return Deed("withdrawn", f"{change.at.text}, which held {change.was}: {change.why}")
    return Deed("published", f"{change.at.text} {change.value}")


def _error(todo: Publishing, failed: Sequence[ReconcilerError]) -> ReconcilerError | None:
    """What is in the way of all names holding what they should; None where nothing is."""
    if failed:
        first = failed[0]
        what = "; ".join(dict.fromkeys(error.what for error in failed))
        return type(first)(what, hint=first.hint)
    if todo.refused:
        keys = sorted({one.key for one, _ in todo.refused if one.called})
        return Terminal(f"not published: {_why(replace(todo, unknown=(), lacking=()))}",
                        hint=tuple(f"give another name in `publish.{key}`" for key in keys))  # fmt: skip
    return Transient(f"not published everywhere: {_why(todo)}") if todo.unknown or todo.lacking else None


def withdraw(
    run: Run, lock: Lockfile, publisher: Callable[[], Publisher], *, of: Collection[str] | None = None
) -> tuple[Deed, ...]:  # fmt: skip
    """Take back every name of an image that no image declares any more: before what it names goes.

    Versions of launch templates stay: nobody launches them but by their number. What is somebody else's stays, and is
    told. Raises what the publisher raises. `of` are the locations; None: all that are recorded.
    """
    places = [
        one
        for one in lock.published
        if one.called and one.place not in claimed(run.known) and (of is None or one.location in of)
    ]
    if not places:
        return ()
    opened = publisher()
    deeds: list[Deed] = []
    for one in places:
        if not opened.is_ours(*one.place):
            what = f"{one.text} stays: it {of_others(one)}"
            run.listener(events.Warned(image=lock.image, what=what))
            continue
        held = opened.read(one.location, [one.called]).get(one.called)
        if _stays_by_another_name(run, one, held.value if held is not None else None):
            continue
        opened.remove(*one.place)
        run.listener(events.Published(lock.image, one.location, one.name, None))
        deeds.append(Deed("withdrawn", one.text))
    return tuple(deeds)
