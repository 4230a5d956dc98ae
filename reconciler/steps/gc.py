"""Take what nobody needs any more a step further away: judge the whole fleet, record the dates, then do it.

What is recorded comes first: a run that is killed leaves a date, and the next one does what belongs to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from reconciler.git.objects import Change
from reconciler.model import events
from reconciler.model.care import soon
from reconciler.model.collection import Abandoned, Collection, Step, Took
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.lockfile import Artifact, Reason, ReasonCode
from reconciler.model.text import duration
from reconciler.model.values import parse_instant
from reconciler.plan.leaving import Departure, in_time, is_dated, without_shared
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.publishing import asked_of
from reconciler.plan.tags import own
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.steps.propose import NOTHING, Proposed, propose
from reconciler.steps.record_files import files_at
from reconciler.steps.record_rulings import record_gone, record_leaving
from reconciler.steps.retire import told_retired
from reconciler.steps.run import Run
from reconciler.steps.settle import retire_useless
from reconciler.steps.survey import Looked, locations_of
from reconciler.words.markdown import departures

_CLOCKS_APART = timedelta(hours=1)
_YOUNG = timedelta(days=1)
"""A build that began within this may still go on, and whoever looks into it may want what it left."""
_CODES: Mapping[Step, ReasonCode] = {
    "deprecate": "deprecation-changed", "disable": "availability-changed", "retire": "removed",
}  # fmt: skip


def with_unmanaged(collection: Collection, looked: Looked, registry: Registry) -> Collection:
    """The same, with what no fleet's marks are on in the locations that were looked at. Nothing of it is touched."""
    locations = {*locations_of(looked.survey.known), *(location for location, _ in looked.survey.seen)}
    found = {location: registry.unmanaged(location) for location in sorted(locations)}
    unmanaged = {location: tuple(listed) if listed is not None else None for location, listed in found.items()}
    return collection.model_copy(update={"unmanaged": unmanaged})


def as_collection(looked: Looked, registry: Registry, *, head: str) -> Collection:
    """The judgement alone, with nothing done."""
    collection = _judged(looked, registry, head=head)
    left, failed = _abandoned(looked.survey.known, registry)
    return collection.model_copy(update={"abandoned": tuple(left), "failed": failed})


def _abandoned(known: Known, registry: Registry) -> tuple[list[Abandoned], dict[str, str]]:
    """What killed builds left where the fleet's are made, and what could not be asked.

    Of a day ago at least, and of longer than any build of the fleet may take.
    """
    images = known.fleet.images.values()
    longest = max((one.declaration.packer.timeout for one in images), default=0)
    before = known.now - max(_YOUNG, timedelta(seconds=2 * longest))
    left: list[Abandoned] = []
    failed: dict[str, str] = {}
    for location in sorted({one.build_location for one in images if one.locations}):
        try:
            left += registry.abandoned(location, before=before)
        except ReconcilerError as error:
            failed[f"what builds left in {location}"] = error.what
    return left, failed


def _remove_abandoned(run: Run) -> tuple[list[Abandoned], dict[str, str]]:
    left, failed = _abandoned(run.known, run.registry)
    removed: list[Abandoned] = []
    for location, some in groupby(left, key=lambda one: one.location):
        try:
            _refuse_wrong_clock(run, location)
            for one in run.registry.remove_abandoned(list(some)):
                removed.append(one)
                what = f"removed the {one.kind} {location} {one.id}, which run {one.run} left"
                run.listener(events.Tended(image=one.image, what=what))
        except ReconcilerError as error:
            failed[f"what builds left in {location}"] = error.what
    return removed, failed


def _judged(looked: Looked, registry: Registry, *, head: str) -> Collection:
    fates = looked.judgement.fates
    removing = sorted({one.location for one in fates if one.step == "retire"})
    return Collection(
        head=head, applied=False, artifacts=fates, unread=dict(sorted(looked.survey.unread.items())),
        restorable={location: registry.restorable(location) for location in removing},
    )  # fmt: skip


# What is done: image by image, the dates first.


def apply(
    run: Run,
    looked: Looked,
    planned: FleetPlan,
    *,
    at_most: int,
    publisher: Callable[[], Publisher],
    beside: Proposed = NOTHING,
) -> Collection:
    """Take the next step of everything that may go, of so many images at most. One's failure is its own.

    Raises Terminal, and does nothing, where this machine's clock and a registry's are far apart: by it alone it is
    known for how long something has waited. Of the registries of what goes, the first that tells the time is believed.
    """
    judgement = looked.judgement
    due: defaultdict[str, list[Departure]] = defaultdict(list)
    for one in judgement.departures:
        if one.due <= run.known.now:
            due[one.image.name].append(one)
    previews = {one.name: one for one in planned.decisions if one.old_previews}
    names = sorted({*due, *previews})
    _refuse_wrong_clock(run, dict.fromkeys(one.location for one in judgement.fates if one.goes))
    took: list[Took] = []
    failed: dict[str, str] = {}
    proposed: list[str] = []
    for name in names[:at_most]:
        if run.cancelled.is_set():
            break
        before = run.recorder.commits
        try:
            if name in previews:
                took += _previews(run, name, planned)
            if due[name]:
                took.extend(_take_steps(run, looked, due[name], publisher))  # one by one: what was done is told
        except ReconcilerError as error:
            failed[name] = error.what
            run.listener(events.Failed(image=name, what=str(error)))
        proposed += [name] if run.proposes and run.recorder.commits != before else []
    propose(run, tuple(proposed), departures(one for one in judgement.fates if one.image in proposed), beside=beside)
    done = _judged(looked, run.registry, head=run.known.head)
    removed, not_removed = _remove_abandoned(run) if not run.cancelled.is_set() else ([], {})
    failed |= not_removed
    update = {
        "applied": True, "took": tuple(took), "failed": failed, "put_off": len(names[at_most:]),
        "abandoned": tuple(removed), "proposed": tuple(proposed),
    }  # fmt: skip
    return done.model_copy(update=update)


def _refuse_wrong_clock(run: Run, locations: Iterable[str]) -> None:
    for location in locations:
        told = run.registry.server_time(location)
        if told is None:  # a folder has no clock of its own
            continue
        apart = abs(told - run.now())
        if apart > _CLOCKS_APART:
            raise Terminal(
                f"this machine's clock and {location}'s are {duration(int(apart.total_seconds()))} apart",
                hint="set it right: by it alone it is known how long something has waited",
            )
        return


def _previews(run: Run, name: str, planned: FleetPlan) -> Iterator[Took]:
    decision = next(one for one in planned.decisions if one.name == name)
    retire_useless(run, decision)
    for seen in decision.old_previews:
        if run.registry.find(seen.location, seen.id) is None:
            yield Took(image=name, build=seen.own("build"), step="retire", location=seen.location, id=seen.id)


def _take_steps(
    run: Run, looked: Looked, departures: Sequence[Departure], publisher: Callable[[], Publisher]
) -> Iterator[Took]:
    """The next step of each build of one image: recorded by one commit, then done, and told as soon as it is."""
    image = departures[0].image
    lock = lock_of(run.known, image)[0]
    ready = [in_time(_with_shared(run, one), run.now()) for one in departures]
    dated = [one for one in ready if one.step != "retire" and one.entry != lock.left(one.build.id)]
    # Also where there is no date to record: by what the branch has now, some of it may be wanted again.
    files = tuple(change for one in dated for change in _files(run, looked, one))
    reasons = tuple(_reason(one, again=lock.left(one.build.id) is not None) for one in dated)
    recording = record_leaving(run, image, [one.entry for one in ready], reasons=reasons, restored=files)
    if run.proposes:  # once it is merged, a later run does it
        ready = [one for one in ready if one not in dated or is_dated(lock.left(one.build.id), one.entry)]
    left = {one.build.id: one for one in recording.lock.leaving} if not recording.superseded else {}
    ready = [replace(one, entry=left[one.build.id]) for one in ready if one.build.id in left]
    gone: list[Departure] = []
    stays: set[str] = set()
    for one in ready:
        if one.step == "retire":
            _forget_versions(run, looked, one, publisher)
            gone.append(one)
        for took in _retired(run, one) if one.step == "retire" else _kept_away(run, one):
            stays |= {one.build.id} if took.stays else set()
            yield took
    if gone:
        record_gone(run, image, [one.build for one in gone], reasons=tuple(map(_reason, gone)), stays=stays)


def _with_shared(run: Run, departure: Departure) -> Departure:
    """With who could use what is to be disabled: that is lost by it, and the record is what brings it back."""
    if departure.step != "disable" or not departure.image.kind.tended:
        return departure
    asked = [one for one in departure.seen if one.state == "available"]
    return without_shared(departure, {one.place: run.registry.grants(one) for one in asked})


def _files(run: Run, looked: Looked, departure: Departure) -> Iterator[Change]:
    """What the record of a build names that state/ has not any more: a hold brings it back with these."""
    commit = looked.commits.get((departure.image.name, departure.build.id))
    if commit is not None:
        yield from files_at(run.repository, departure.build, commit)


def _reason(departure: Departure, *, again: bool = False) -> Reason:
    """Why a step is recorded; `again` where it was before, and not done: then with the date that is set now."""
    entry, build = departure.entry, departure.build
    is_disabled = departure.step == "retire" and entry.disabled is not None
    since = f"disabled since {entry.disabled}" if is_disabled else f"deprecated since {entry.deprecated}"
    stood = f"recorded as {since}" if again else build.phase
    was = f"{build.id} {stood if departure.step == 'deprecate' else since}"
    return Reason(code=_CODES[departure.step], was=was, now=f"{departure.step}d")


def _kept_away(run: Run, departure: Departure) -> Iterator[Took]:
    """Deprecate or disable what is there of a build. Of a kind that knows neither its record alone says so."""
    name, step = departure.image.name, departure.step
    left = {(one.location, one.id): one for one in departure.build.artifacts}

    def took(artifact: Artifact) -> Took:
        return Took(
            image=name, build=departure.build.id, step=step, location=artifact.location, id=artifact.id,
            conversions=artifact.conversions,
        )  # fmt: skip

    for seen in departure.seen:
        if seen.own("image") != name:
            run.registry.tag(seen, own(image=name))  # under a former name it can't be removed
        artifact = left.pop(seen.place)
        if departure.image.kind.tended and seen.state == "available":
            if step == "deprecate":
                at = artifact.cared_for.deprecated  # as it was recorded just now: see `in_time`
                run.registry.deprecate(seen, parse_instant(at) if at is not None else soon(run.now()))
            else:
                run.registry.disable(seen)
            run.listener(events.Tended(image=name, what=f"{step}d {seen.location} {seen.id}"))
        yield took(artifact)
    yield from map(took, left.values())


def _forget_versions(run: Run, looked: Looked, departure: Departure, publisher: Callable[[], Publisher]) -> None:
    """Delete the versions of this fleet's launch templates that were made for a build, before its artifacts go."""
    image, build = departure.image, departure.build
    templates = {one.place: one for one in asked_of(image, lock_of(run.known, image)[0]) if one.launch_template}
    for use in (use for one in build.artifacts for use in looked.survey.usage.of((one.location, one.id))):
        at = templates.get((use.place[0], use.parameter or ""))
        if at is None or use.version is None or not use.is_left_by(build.id):
            continue
        publisher().remove_version(at.location, at.launch_template, use.version.number, use.version.image)
        what = f"version {use.version.number} is deleted, as {use.version.image} goes"
        run.listener(events.Published(image.name, at.location, at.name, what))


def _retired(run: Run, departure: Departure) -> Iterator[Took]:
    """Remove all of a build, also what is not seen any more: what it was stored in may be left."""
    name = departure.image.name
    for artifact in departure.build.artifacts:
        remains = told_retired(run, name, artifact)
        yield Took(
            image=name, build=departure.build.id, step="retire", location=artifact.location, id=artifact.id,
            parts=remains.parts, stays=remains.stays, conversions=artifact.conversions,
        )  # fmt: skip
