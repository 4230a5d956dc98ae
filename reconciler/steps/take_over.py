"""Take over: an artifact that exists, and that nobody here built, becomes an image's recorded build as it is.

It is recorded under the key that is wanted now, so that nothing is built because of it and a later change of inputs
builds anew, and marked: what it was made of is not known. Tags are all that is written to the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.model import events
from reconciler.model.errors import Contention, ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, TakenAsFound
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Wanted
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.text import plural_of
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.channels import NO_VERDICT
from reconciler.plan.key import NEVER_AGAIN, short
from reconciler.plan.tags import always_written, nothing_told, of_recorded
from reconciler.plan.transitions import first_phase
from reconciler.state.unsaved import read_unsaved
from reconciler.steps.artifacts import is_own, tag_complete, tag_recorded
from reconciler.steps.record import Contents, record_build, recorded_elsewhere
from reconciler.steps.run import Result, Run
from reconciler.steps.smoke_test import Examined, SmokeTestFailed, smoke_test

NOT_TESTED = "taken as it was found"
_BUILDER = "adopted"
"""What stands for the builder of such an artifact: no template made it."""


@dataclass(frozen=True)
class _Named:
    """An artifact as a person names it: by its id, and where it is if that is said."""

    word: str
    id: str
    location: str | None


def take_over(run: Run, image: Image, decision: Decision, words: Sequence[str], *, test: bool) -> Result:
    """Record artifacts as the image's build, and write its tags on them; with `test`, once they passed.

    Nothing is recorded or tagged where anything speaks against it. To be asked the same again changes nothing, but that
    `test` tests what was not tested yet. `words` name them, as the image's kind has it (`Kind.artifact_named`).

    Raises:
        UserError: none is named, or by no name of its kind's; one of them is not there, not this account's, not
            available, or somebody else's by a tag or a lockfile; or the image has no key, or a build already.
    """
    found = _found(run, image, _named(run, image, words))
    recorded = _recorded(decision, found)
    if recorded is not None:
        _refuse_doubted(run, image)
    if recorded is not None and not (test and _to_be_tested(recorded)):
        _tag(run, image, recorded, lock=None if run.proposes else decision.lock)
        return Result(image.name, "unchanged", decision.lock, build=recorded)
    build = recorded or _as_build(run, image, _wanted(image, decision), found)
    for seen in found:
        _refuse_foreign(run, seen)
        if recorded is None:
            _refuse_taken(run, image, seen, build=build)
    examined = Examined(build, None, booted=False)
    if test:
        try:
            examined = smoke_test(run, image, build)
        except SmokeTestFailed as failed:
            told = events.Failed(image=image.name, what=failed.what, tail=failed.tail, log=str(failed.log), of="test")
            run.listener(told)
            return Result(
                image.name, "failed", decision.lock, build=recorded, why=failed.what, error=failed, tested=failed.result
            )  # fmt: skip
    _take_back_what_others_said(run, found if recorded is None else ())
    recording = record_build(
        run, image, examined.build, decision=decision, verb="adopt", contents=Contents(examined.inventory)
    )
    if recording.superseded:
        run.listener(events.Skipped(image=image.name, why=recording.why))
        error = Contention(
            f"{image.name} is not adopted: {recording.why}", hint="`git pull`, and see what there is now"
        )
        return Result(image.name, "superseded", recording.lock, why=recording.why, error=error)
    now = recording.lock.build(build.id)
    if now is not None:
        _tag(run, image, now, begins=recorded is None and now.phase == "candidate")
        tag_recorded(run, image, before=decision.lock, after=recording.lock, build_id=now.id)
    return Result(
        image.name, "adopted", recording.lock, build=now, commit=recording.commit, tags=recording.tags,
        tested=examined.build.smoke_test,
    )  # fmt: skip


def _named(run: Run, image: Image, words: Sequence[str]) -> tuple[_Named, ...]:
    kind = image.kind
    artifact = kind.artifact.partition(" ")[2]
    if not kind.observed:
        raise UserError(f"{image.name} is of no kind that can be looked for: there is nothing to adopt it from")
    unsaved = read_unsaved(run.repository.root, image.name) if not words else None
    if unsaved is not None:
        raise UserError(
            f"no {artifact} is named; reconciler-unsaved/ has the record of {unsaved.id}, which could not be pushed",
            hint=f"`reconciler reconcile {image.name}` takes that up by itself, as long as it is what is wanted",
        )
    if not words:
        raise UserError(f"no {artifact} is named", hint=f"reconciler adopt {image.name} {kind.example_id}")
    found: list[_Named] = []
    for word in words:
        parts = kind.artifact_named(word)
        if parts is None:
            whole = f"{kind.example_location}{kind.between}{kind.example_id}"
            raise UserError(f"{word!r} is no {artifact}", hint=f"name it {kind.example_id}, or {whole}")
        location, artifact_id = parts
        found.append(_Named(word, artifact_id, location))
    return tuple(found)


def _found(run: Run, image: Image, named: Sequence[_Named]) -> tuple[Seen, ...]:
    """What the registry has under these ids, at most one in each location, in order of location."""
    found: dict[str, Seen] = {}
    for one in named:
        seen = _find(run, image, one)
        if seen.location in found:
            raise UserError(
                f"{found[seen.location].id} and {seen.id} are both in {seen.location}, and an image is one there",
                hint=f"name one for each {image.kind.location}",
            )
        found[seen.location] = seen
    return tuple(found[location] for location in sorted(found))


def _find(run: Run, image: Image, named: _Named) -> Seen:
    if named.location is not None and named.location not in image.locations:
        raise UserError(
            f"{named.location} is not among the {plural_of(image.kind.location)} of {image.name}",
            hint=f"add it to `{image.kind.key}` in {image.folder}/image.yaml, or leave {named.word} out",
        )
    for location in (named.location,) if named.location is not None else image.locations:
        seen = run.registry.find(location, named.id)
        if seen is not None:
            return seen
    where = named.location or ", ".join(image.locations)
    place = f"the {image.kind.location}"
    checked = f"the id, {place} and the account" if image.kind.reached_through else f"the id and {place}"
    raise UserError(f"there is no {named.id} in {where}", hint=f"check {checked}")


def _recorded(decision: Decision, found: Sequence[Seen]) -> Build | None:
    """The newest build, where it was taken over before and is this very thing."""
    last = decision.lock.builds[0] if decision.lock.builds else None
    if last is None or last.adopted is None:
        return None
    places = {(artifact.location, artifact.id) for artifact in last.artifacts}
    return last if {(seen.location, seen.id) for seen in found} <= places else None


def _to_be_tested(build: Build) -> bool:
    if build.phase in NEVER_AGAIN:
        raise UserError(f"{build.id} was {build.phase}: a test would not bring it back", hint="adopt another")
    return build.smoke_test is None or build.smoke_test.status != "passed"


def _wanted(image: Image, decision: Decision) -> Wanted:
    """The key to record it under. There has to be one, and no build under it yet."""
    planned = decision.planned
    if decision.wanted is None or planned.unknown:
        unknown = "; ".join(one.splitlines()[0] for one in planned.unknown)
        why = unknown or planned.waits_for or "its source is not known"
        raise UserError(
            f"{image.name} has no key to record it under: {why}", hint="`reconciler plan` shows what is in the way"
        )
    if planned.blocked_by:
        parent = planned.blocked_by[0]
        raise UserError(
            f"{image.name} is built on {parent}, which is to be built first: its key is not known before that",
            hint=f"`reconciler reconcile {parent}`, or adopt {parent} as well, before {image.name}",
        )
    same = next((one for one in decision.lock.builds if one.key == decision.wanted.key), None)
    if same is not None:
        raise UserError(
            f"{image.name} is recorded as {same.id}, which is what is declared: there is nothing to adopt for",
            hint="to have another image, change what is declared",
        )
    if decision.adopt:
        raise UserError(
            f"{decision.adopt[0].own('build')} of {image.name} is in the registry already, with the key that is wanted",
            hint=f"`reconciler reconcile {image.name}` takes it",
        )
    return decision.wanted


def _refuse_doubted(run: Run, image: Image) -> None:
    """Raise UserError where nothing but its lockfile says that what is recorded is the image's."""
    doubts = run.known.doubts.get(image.name, ())
    if doubts:
        raise UserError(f"{image.name} is recorded, and that may be wrong: {doubts[0]}", hint=doubts[1:])


def _take_back_what_others_said(run: Run, found: Sequence[Seen]) -> None:
    """Who voted before it was recorded judged something else, and nobody was told of it.

    Once it is recorded, what is on it counts. So this comes first, and where it fails nothing is recorded.
    """
    for seen in found:
        voted = NO_VERDICT if seen.own("verdict") not in (None, *NO_VERDICT.values()) else {}
        said = {**voted, **nothing_told(seen.tags)}
        if said:
            run.registry.tag(seen, said)


def _refuse_foreign(run: Run, seen: Seen) -> None:
    """Raise UserError for what is not this account's, or can't be launched."""
    where = f"{seen.id} in {seen.location}"
    if not is_own(run.registry, seen):
        raise UserError(
            f"{where} belongs to another account",
            hint="copy it into this account and adopt the copy; or name it as `source`, and build on it",
        )
    if seen.state != "available":
        raise UserError(f"{where} is {seen.state}", hint="wait until it is available, or name another")


def _refuse_taken(run: Run, image: Image, seen: Seen, *, build: Build) -> None:
    """Raise UserError for what is somebody's already, by its tags or by a lockfile, or takes no more tags."""
    where = f"{seen.id} in {seen.location}"
    fleet, name = seen.own("fleet"), seen.own("image")
    if fleet not in (None, run.known.fleet_name):
        raise UserError(f"{where} is of another fleet: its tag reconciler:fleet is {fleet!r}", hint=_untag(seen))
    if name not in (None, image.name):
        raise UserError(f"{where} is of another image: its tag reconciler:image is {name!r}", hint=_untag(seen))
    if seen.own("build") is not None:
        raise UserError(
            f"{where} was built here: it is {seen.own('build')} of {name}",
            hint=f"`reconciler reconcile {image.name}` takes up what was built and is wanted",
        )
    if build.source is not None and build.source.artifact_in(seen.location) == seen.id:
        raise UserError(f"{where} is what {image.name} is built on", hint="name what was built on it")
    for broken in run.known.broken_locks.values():
        raise UserError(f"whether {where} is another image's is not known: {broken}")
    elsewhere = recorded_elsewhere(run.known.tree, build, image=image.name)
    if elsewhere is not None:
        raise UserError(elsewhere.why, hint="each artifact belongs to one image: name another, or copy it")
    tags = {*seen.tags, *of_recorded(fleet=run.known.fleet_name, image=image, build=build), *always_written(image)}
    kind = image.kind
    own = [name for name in tags if not (kind.reserved and name.startswith(kind.reserved))]  # its own do not count
    if kind.most_marks is not None and len(own) > kind.most_marks:
        raise UserError(
            f"{where} would have {len(own)} tags, and {kind.registry} takes {kind.most_marks}",
            hint=f"take some of its own off, or name fewer under `tags` in {image.folder}/image.yaml",
        )


def _untag(seen: Seen) -> str:
    return f"if that fleet or image is no more, take the tags off {seen.id}"


def _as_build(run: Run, image: Image, wanted: Wanted, found: Sequence[Seen]) -> Build:
    """The record. It is named after the time when the oldest of the artifacts was made: so old it is."""
    made = min((seen.created for seen in found if seen.created), default=format_instant(run.now()))
    return Build(
        id=f"{parse_instant(made):%Y%m%dT%H%M%SZ}-{short(wanted.key)}",
        key=wanted.key,
        components=dict(wanted.components),
        files={file.path: f"{file.mode} {file.oid}" for file in image.inputs},
        commit=run.known.head,
        source=wanted.pin,
        artifacts=tuple(seen.as_artifact(_BUILDER) for seen in found),
        smoke_test=SmokeTestResult(status="skipped", why=NOT_TESTED),
        phase=first_phase(image),
        adopted=TakenAsFound(at=format_instant(run.now()), made=made),
    )


def _tag(run: Run, image: Image, build: Build, *, lock: Lockfile | None = None, begins: bool = False) -> None:
    """Write what is recorded on the artifacts; with the `lock`, also where they stand.

    What fails is told, and set right by the next run.
    """
    for artifact in build.artifacts:
        try:
            tag_complete(run, image, build, [artifact], lock=lock, begins=begins)
        except ReconcilerError as error:
            what = f"{artifact.id} in {artifact.location} is recorded, and not tagged yet: {error.what}"
            run.listener(events.Warned(image=image.name, what=what))
