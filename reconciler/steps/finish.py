"""Finish what was built or adopted: its record made, smoke-tested, copied to every location, converted, recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Phase, TakenAsFound, Verified
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.model.source import Pin
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.key import NEVER_AGAIN, adoptable
from reconciler.plan.reasons import as_done, brought_nothing
from reconciler.plan.tags import nothing_told
from reconciler.plan.transitions import first_phase, promotes
from reconciler.plan.trust import believed, built_on, certain, in_time, is_named, made_at, stands_for
from reconciler.state.sbom import below_state, inventory_record
from reconciler.state.unsaved import is_committed, read_unsaved, write_unsaved
from reconciler.steps.artifacts import (
    NO_CONVERSIONS,
    Conversions,
    Copies,
    convert_missing,
    copy_missing,
    lacks_standing_alone,
    stands_as_declared,
    tag_complete,
    tag_recorded,
    with_conversions,
    with_copies,
)
from reconciler.steps.ours import built
from reconciler.steps.packer_keys import keep
from reconciler.steps.record import Contents, Recording, record_build, record_verified
from reconciler.steps.record_files import difference_made, previewed_inventory, recorded_inventory, unsaved_inventory
from reconciler.steps.retire import retire
from reconciler.steps.run import Result, Run, Status
from reconciler.steps.smoke_test import Examined, SmokeTestFailed, not_bootable, smoke_test, suite_digest
from reconciler.words.messages import tag_name


def finish_built(run: Run, decision: Decision, build: Build, *, image: Image) -> Result:
    """Finish a build of this run, which is marked as complete. Raises SmokeTestFailed, and whatever is in the way.

    A run that is killed before it is tested leaves it to the next, which adopts it and tests it then.
    """
    examined = tested_anew(run, image, build)
    return _finish(run, decision, examined, image=image, status="built")


def tested_anew(run: Run, image: Image, build: Build) -> Examined:
    """Test a build of this run. What its artifacts' tags do not say is kept for the run that tests it after all.

    Raises as `smoke_test` does.
    """
    try:
        return smoke_test(run, image, build)
    except SmokeTestFailed:
        raise
    except ReconcilerError as error:
        keep(run.registry, build, run.packer_keys.of(build.id))
        kept = write_unsaved(run.repository.root, image.name, build=build)
        error.hint = (*error.hint, f"the build is kept, and tested by the next run; its record is in {kept}")
        raise


def finish_adopted(run: Run, decision: Decision, build: Build, *, image: Image) -> Result:
    """Finish what is adopted: it is tested unless it was, and its record says what was found."""
    examined = tested_before(run, decision, build, image=image) or smoke_test(run, image, build)
    return _finish(run, decision, examined, image=image, status="adopted")


def tested_before(run: Run, decision: Decision, build: Build, *, image: Image) -> Examined | None:
    """What is known of an adopted build that passed the test that is asked for: by tag, record and SBOM.

    A build without its SBOM is tested once more, as what is inside is read while it is booted.
    """
    recorded = build.smoke_test
    tagged = all(seen.own("smoke") == "passed" for seen in decision.adopt)
    suite = suite_digest(image, run.known.tree, below=run.repository.git.below)
    if not tagged or recorded is None or not stands_for(recorded, suite=suite):
        return None
    if recorded.findings and image.declaration.smoke_test.hygiene == "fail":
        return None  # what it was tested by was less strict
    run.packer_keys.note(build)
    inventory = recorded_inventory(run, build)
    if inventory is not None:
        return Examined(build, inventory, booted=False)
    inventory = previewed_inventory(run, image.name, build) or unsaved_inventory(run, image.name, build)
    if inventory is None:
        return None
    record = inventory_record(image.name, build.id, inventory)  # not the tag's: it names a path in state/
    return Examined(build.model_copy(update={"inventory": record}), inventory, booted=False)


def _finish(run: Run, decision: Decision, examined: Examined, *, image: Image, status: Status) -> Result:
    """Tag what there is, copy it to where it is missing, and record it: also when some copy failed."""
    build = examined.build
    taken_up = examined.booted and _taken_up(run, decision, build)
    kept = _kept(run, decision, build, image=image) if not taken_up else None
    if kept is not None:
        return _keep(run, build, image=image, kept=kept, adopted=decision.adopt if status == "adopted" else ())
    if examined.booted:
        _keep_at_hand(run, examined, image=image)
    # Nobody was told of what no lockfile has, whatever its tags say.
    is_new = decision.lock.build(build.id) is None
    untold = nothing_told(name for seen in decision.adopt if is_new for name in seen.tags)
    ready = status == "adopted" and not examined.booted and not untold
    ready = ready and lacks_standing_alone(run, image, build, decision.adopt)
    early = build.model_copy(update={"phase": _phase_until_recorded(decision, build)})
    if not ready and not taken_up:
        tag_complete(run, image, early, build.artifacts, begins=build.phase == "candidate", also=untold)
    there = {artifact.location for artifact in build.artifacts}
    missing = [location for location in image.locations if location not in there] if not taken_up else []
    copies = copy_missing(run, image, early, source=build.artifacts[0], locations=missing)
    build = with_copies(build, copies)
    conversions = convert_missing(run, image, build, build.artifacts if not taken_up else ())
    build = with_conversions(build, conversions)
    made = difference_made(run, decision.lock.current, examined.inventory)
    recording = record_build(
        run, image, build, decision=decision, verb="build" if status == "built" else "adopt",
        contents=Contents(examined.inventory, made),
    )  # fmt: skip
    if recording.lock.build(build.id) is not None and not taken_up:
        tag_recorded(run, image, before=decision.lock, after=recording.lock, build_id=build.id, late=ready)
    if recording.superseded:
        return _superseded(run, decision, recording, build=build, status=status)
    result = result_of(
        run, decision, recording, build=build, copies=copies, status=status, conversions=conversions
    )  # fmt: skip
    return replace(result, tested=build.smoke_test, difference=made)


def _keep_at_hand(run: Run, examined: Examined, *, image: Image) -> None:
    """Keep what was found until it is recorded: a run that is killed before need not test it again."""
    try:
        write_unsaved(run.repository.root, image.name, build=examined.build, inventory=examined.inventory)
    except ReconcilerError as error:
        run.listener(events.Warned(image=image.name, what=error.what))


def _phase_until_recorded(decision: Decision, build: Build) -> Phase:
    """What an artifact may say of itself before its record is pushed: what a lockfile says of it, or nobody's."""
    recorded = decision.lock.build(build.id)
    return recorded.phase if recorded is not None else "preliminary"


def _taken_up(run: Run, decision: Decision, build: Build) -> bool:
    """Whether another run promoted, while we tested it, what was nobody's before: its tags and copies are its own now.

    A test takes minutes: there may be a verdict on it by then, which we must not take off.
    """
    if any(seen.own("phase") != "preliminary" for seen in decision.adopt):
        return False
    now = [run.registry.find(artifact.location, artifact.id) for artifact in build.artifacts]
    return any(seen is not None and seen.own("phase") not in (None, "preliminary") for seen in now)


def _kept(run: Run, decision: Decision, build: Build, *, image: Image) -> Build | None:
    """The build that stays because a refresh made the same once more; None where the new one takes its place.

    It does where something is amiss with the old one, which would be fixed by the next run: it is lost somewhere, its
    tags are not what is declared, or a channel waits to be moved. What is recorded, and came back, is not retired.
    """
    lock = decision.lock
    before = lock.builds[0] if lock.builds else None
    if not image.declaration.refresh.keep_if_unchanged or before is None:
        return None
    if not brought_nothing(build, before=before, packages_tell=image.kind.packages_tell):
        return None
    recorded = lock.build(build.id) is not None
    stays = not recorded and not promotes(lock, image) and stands_as_declared(run, image, before, lock=lock)
    return before if stays else None


def _keep(run: Run, build: Build, *, image: Image, kept: Build, adopted: Sequence[Seen]) -> Result:
    """A refresh brought nothing new: what it made is retired, and what was there stays where it is.

    Retired first: a run that is killed in between leaves nothing behind, and the next refresh makes it once more. What
    was adopted may be anybody's where its name does not say that it is ours, nor a record, which tells its Packer.
    """
    is_ours = build.packer is not None or all(is_named(one, image=image.name) for one in adopted)
    for artifact in build.artifacts if is_ours else ():
        retire(run, image.name, artifact)
    verified = Verified(at=format_instant(run.now()), build=build.id, key=build.key, source=build.source)
    recording = record_verified(run, image, kept=kept, verified=verified, build=build)
    if recording.superseded:
        run.listener(events.Skipped(image=image.name, why=recording.why))
        return Result(image.name, "superseded", recording.lock, build=recording.lock.kept, why=recording.why)
    run.listener(events.Unchanged(image=image.name, build=build.id, kept=kept.id))
    return Result(
        image.name, "unchanged", recording.lock, build=recording.lock.build(kept.id), seconds=build.seconds or 0,
        commit=recording.commit, tags=recording.tags, tested=build.smoke_test,
    )  # fmt: skip


def result_of(
    run: Run, decision: Decision, recording: Recording, *, build: Build | None, copies: Copies, status: Status,
    conversions: Conversions = NO_CONVERSIONS,
) -> Result:  # fmt: skip
    """The end of an image whose record is written; failed where a copy or a conversion did."""
    seconds = (build.seconds or 0) if build is not None and status == "built" else 0
    result = Result(
        decision.name, status, recording.lock, build=build, seconds=seconds, commit=recording.commit,
        tags=recording.tags,
    )  # fmt: skip
    failed = [
        *((f"no copy in {location}: {error.what}", error) for location, error in copies.failed),
        *((f"no {form}: {error.what}", error) for form, error in conversions.failed),
    ]
    if not failed:
        return result
    what = "; ".join(dict.fromkeys(what for what, _ in failed))
    hints = dict.fromkeys(line for _, error in conversions.failed for line in error.hint)
    notes = (*hints, "what is done elsewhere is recorded")
    run.listener(events.Failed(image=decision.name, what=what, notes=notes))
    return replace(result, status="failed", why=what, error=failed[0][1])


def _superseded(run: Run, decision: Decision, recording: Recording, *, build: Build, status: Status) -> Result:
    """The branch moved on while we built. Our own duplicate is retired; what was only adopted is left alone."""
    # Another run may have found it complete in the registry and recorded it before us: then it is no duplicate.
    recorded = {(artifact.location, artifact.id) for one in recording.lock.builds for artifact in one.artifacts}
    if status == "built":
        for artifact in build.artifacts:
            if (artifact.location, artifact.id) not in recorded:
                retire(run, decision.name, artifact)
    run.listener(events.Skipped(image=decision.name, why=recording.why))
    return Result(decision.name, "superseded", recording.lock, build=recording.instead, why=recording.why)


# Adopt: the record of a build that is in the registry and not yet in state/.

_MOST_TRIED = 20
"""Builds whose records are asked for: whoever may write marks names as many as he likes."""


def adopted_build(
    run: Run, image: Image, decision: Decision, *, phase: Phase | None = None
) -> tuple[Build, Decision] | None:  # fmt: skip
    """The build to record for the artifacts that are adopted, and the decision with those that are.

    What nobody boots is tested by nothing, and marks are easily put on something else: of such an image the newest
    build is adopted that a record names; None where there is none, so that it has to be built.
    """
    tried: set[str] = set()
    while decision.adopt and len(tried) < _MOST_TRIED:
        found = _as_told(run, image, decision, phase=phase)
        if found is not None:
            return found
        tried.add(decision.adopt[0].own("build") or "")
        decision = replace(decision, adopt=_but(tried, run, decision))
    return None


def _as_told(run: Run, image: Image, decision: Decision, *, phase: Phase | None) -> tuple[Build, Decision] | None:
    """The same of one build; None where nothing tells of it but its marks, and nobody boots it.

    The annotated tag holds the whole record. Without it the artifact's own tags and the key that it was found by say
    what it is; how long it took and which Packer made it stays unknown, and is said. A record that names none of the
    artifacts is of another, whose marks somebody gave to these. Of several those are adopted that are copies of one.
    """
    wanted = decision.wanted
    if wanted is None or not decision.adopt:
        raise ValueError(f"{image.name} has nothing to adopt")
    build_id = decision.adopt[0].own("build") or ""
    tagged = _tagged(run, image.name, build_id, key=wanted.key)
    unsaved = read_unsaved(run.repository.root, image.name) if not is_committed(run.known.tree, image.name) else None
    kept = unsaved if unsaved is not None and (unsaved.id, unsaved.key) == (build_id, wanted.key) else None
    # The lockfile first: a build that comes back by a revert has its verdict there, and none in its tag.
    recorded = decision.lock.build(build_id)
    records = (recorded if recorded is not None and recorded.key == wanted.key else None, tagged, kept)
    known, adopted = _told(records, decision.adopt, image)
    if known is None and not_bootable(image) is not None:
        what = f"{build_id} is what is wanted by its marks, and neither a record nor a test says so: it is left"
        run.listener(events.Warned(image=image.name, what=what))
        return None
    first = adopted[0]
    builder = known.artifacts[0].builder if known is not None else image.template.makers[0].name
    if known is None:
        name = tag_name(image.name, build_id)
        what = f"{build_id} has no {_kind(run)} {name}: its duration and its Packer are not known"
        run.listener(events.Warned(image=image.name, what=what))
        known = Build(
            id=build_id, key=wanted.key, components=dict(wanted.components), artifacts=(),
            commit=first.commit or run.known.head, phase="preliminary",
        )  # fmt: skip
    made = known if known is recorded else in_time(known, by=parse_instant(first.created or format_instant(run.now())))
    build = made.model_copy(
        update={
            # Its key is the wanted one, so what it is made of is known; a tag that somebody wrote may say otherwise.
            "components": dict(wanted.components),
            "files": {file.path: f"{file.mode} {file.oid}" for file in image.inputs},
            "reasons": as_done(decision.planned.reasons, wanted.pin),
            "source": built_on(known.source, wanted.pin, ours=known is recorded, parents=_parents(run, wanted.pin)),
            "artifacts": tuple(seen.as_artifact(builder) for seen in adopted),
            "phase": phase or first_phase(image, known.verdict),
            "adopted": known.adopted or _taken_as_found(first),
        }
    )
    return build, replace(decision, adopt=adopted)


def _but(tried: Collection[str], run: Run, decision: Decision) -> tuple[Seen, ...]:
    """The artifacts of the newest build that has the wanted key, but for those that were tried."""
    refused = {*tried, *(build.id for build in decision.lock.recorded if build.phase in NEVER_AGAIN)}
    seen = (one for one in run.known.observation.of(decision.name) if one.own("build") not in refused)
    return adoptable(seen, key=decision.wanted.key) if decision.wanted is not None else ()


def _told(
    records: Iterable[Build | None], found: Sequence[Seen], image: Image
) -> tuple[Build | None, tuple[Seen, ...]]:  # fmt: skip
    """The first record that is of one of the artifacts, and those that are the build's for certain.

    Without a record that is the one that will be tested, with its copies.
    """
    for record in records:
        sure = certain(found, ((one.location, one.id) for one in record.artifacts)) if record is not None else ()
        if sure:
            return record, sure
    tested = next((one for one in found if one.location == image.build_location), found[0])
    return None, certain(found, [tested.place])


def _taken_as_found(seen: Seen) -> TakenAsFound | None:
    """That a person once took the artifact as it was, by its tag: then its key says nothing of what it is made of."""
    at = seen.own("adopted")
    if at is None:
        return None
    try:
        return TakenAsFound(at=at, made=seen.created or None)
    except ValueError:  # whoever may tag artifacts writes what they like there
        return TakenAsFound(at=seen.created)


def _parents(run: Run, wanted: Pin | None) -> Iterator[Pin]:
    """What an image may have been built on, where that is another of the fleet: the builds that are recorded of it."""
    parent = wanted.image if wanted is not None else None
    lock = run.known.locks.get(parent) if parent is not None else None
    yield from (build.as_pin(lock.image) for build in lock.builds) if lock is not None else ()


def _kind(run: Run) -> str:
    return "tag under a good signature" if run.signs else "tag"


def _tagged(run: Run, image: str, build_id: str, *, key: str) -> Build | None:
    name = tag_name(image, build_id)
    own = (one for one in run.known.observation.of(image) if one.own("build") == build_id)
    tag = believed(run.repository.annotated_tag(name), sign=run.signs, since=made_at(own))
    build = built(tag.message, name) if tag is not None else None
    if build is None or build.id != build_id:
        return None  # a failed build's tag, or one that a person wrote: the artifact's tags tell what can be told
    if build.inventory is not None:
        # Whoever may push tags writes what they like there, and the paths of files in state/ are for us to give.
        inventory = build.inventory.model_copy(update={"sbom": below_state(image, build_id)})
        build = build.model_copy(update={"inventory": inventory})
    return build if build.key == key else None
