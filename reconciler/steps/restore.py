"""Bring back what was removed, as long as its location keeps it: the artifacts first, then the record, then its care.

What is back carries its marks, so that a run that is killed anywhere leaves nothing of which nobody knows: the next one
finds the artifact there, and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from reconciler.git.objects import Change
from reconciler.git.proposal import proposal_branch
from reconciler.git.signature import signed_by_us
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile, Reason
from reconciler.model.observation import Seen
from reconciler.model.restoration import Binned, Outcome, Restorable, Restoration, Restored
from reconciler.model.text import counted
from reconciler.model.tree import Tree, content_at
from reconciler.plan import transitions
from reconciler.plan.history import LockPast
from reconciler.plan.planning import Known, lock_of
from reconciler.plan.restoring import Whole, as_enabled, as_it_was, is_meant, is_ours, said_by, with_confirmed_care
from reconciler.plan.trust import began, believes, is_in_record, is_named
from reconciler.ports.registry import Registry
from reconciler.steps.artifacts import is_own
from reconciler.steps.care import tend_recorded
from reconciler.steps.ours import records_of
from reconciler.steps.propose import propose
from reconciler.steps.questions.builds import show
from reconciler.steps.questions.compare import past_of
from reconciler.steps.record import Recording, Unwanted, declared_at, record_lock
from reconciler.steps.record_files import paths_of
from reconciler.steps.run import Run
from reconciler.steps.survey import as_told
from reconciler.words import messages

_WAIT_SECONDS = 600.0


# What can be brought back of the whole fleet.


def restorable(known: Known, registry: Registry, *, head: str) -> Restoration:
    """What of the fleet was removed and is kept still, by the names that builds give. Nothing is done."""
    images = {name: image.name for image in known.fleet.images.values() for name in image.names}
    places = sorted({location for image in known.fleet.images.values() for location in image.locations})
    found: list[Restorable] = []
    unread: dict[str, str] = {}
    for location in places:
        try:
            kept = registry.binned(location)
        except ReconcilerError as error:
            unread[location] = error.what
            continue
        for one in kept:
            said = said_by(one, sorted(images, key=len, reverse=True))
            if said is not None:
                found.append(
                    Restorable(
                        image=images[said[0]], build=said[1], kind=one.kind, location=location, id=one.id,
                        until=one.until,
                    )
                )  # fmt: skip
    found.sort(key=lambda one: (one.image, one.build, one.location))
    kept_for = {location: registry.restorable(location) for location in places}
    return Restoration(head=head, restorable=tuple(found), kept_for=kept_for, unread=unread)


# One build.


@dataclass(frozen=True)
class _Sought:
    """A build that is to be there again: as it was, and what else tells of it."""

    image: Image
    build: Build
    whole: Whole
    tagged: Sequence[Artifact]
    commit: str
    """The commit that last recorded it: its files are there."""
    sure: frozenset[tuple[str, str]]
    """Its artifacts that a signed commit names, or its lockfile as it is: of others that is a commit's word alone."""


@dataclass(frozen=True)
class _Came:
    """What became of one artifact, as it is told, and as it is to be recorded where it is there."""

    told: Restored
    artifact: Artifact | None = None


def restore(run: Run, words: Sequence[str]) -> Restoration:
    """Bring back all artifacts of a build that are kept, record it, and make it what it was for those who use it.

    Raises UserError where there is no such build, and where nothing of it can be brought back.

    Args:
        run: What is in hand.
        words: A build as `show` takes it: its id or the beginning, also behind its image; or an artifact's id.
    """
    sought = _sought(run, words)
    came = [_brought_back(run, sought, one) for one in sought.whole.build.artifacts]
    there = tuple(one.artifact for one in came if one.artifact is not None)
    told = tuple(one.told for one in came)
    kept_for = {one.location: run.registry.restorable(one.location) for one in told if one.outcome == "gone"}
    if not there:
        raise _nothing(sought, told, kept_for)
    recording = _record(run, sought, there, told)
    remarks = list(_remarks(run, sought, recording))
    if not recording.superseded:
        done = tend_recorded(run, sought.image, recording.lock)
        recording = Recording(done.lock, done.commit or recording.commit)
        remarks += [f"{done.error.what}: the next run tries again"] if done.error is not None else []
    if recording.commit is not None:
        said = f"`{sought.build.id}` of `{sought.image.name}` was brought back, and counts again once this is merged."
        propose(run, (sought.image.name,), said)
    return Restoration(
        head=run.known.head, image=sought.image.name, build=sought.build.id, artifacts=told, commit=recording.commit,
        proposed=run.proposes and recording.commit is not None, remarks=tuple(remarks), kept_for=kept_for,
    )  # fmt: skip


def _sought(run: Run, words: Sequence[str]) -> _Sought:
    repository, known = run.repository, run.known
    answer = show(repository, words, revision=run.target.head)
    if answer.preview:
        raise UserError(
            f"{answer.build.id} is a preview of {answer.image}, which nobody records",
            hint="push its branch again: it is built anew",
        )
    image = next((one for one in known.fleet.images.values() if answer.image in one.names), None)
    if image is None:
        raise UserError(
            f"desired/ declares no {answer.image}, of which {answer.build.id} is",
            hint="bring its declaration back first: `git log -- desired/`, then `git revert`",
        )
    past = past_of(repository, answer.image, revision=run.target.head)
    lock = lock_of(known, image)[0]
    told = records_of(repository, known)(answer.image, answer.build.id)
    tagged = told.artifacts if told is not None and told.build is not None else ()
    records = list(_records(run, past, answer.build.id))
    build = as_it_was([one for one, _ in records], image)
    if build is None:
        raise UserError(
            f"no record of {answer.build.id} of {image.name} names an artifact where the image is declared to be",
            hint=f"`reconciler show {answer.build.id}` shows what it had",
        )
    recorded = {(one.location, one.id) for each in lock.recorded if each.id == build.id for one in each.artifacts}
    if known.fleet.settings.git.sign:
        sure = frozenset((one.location, one.id) for one in build.artifacts)
        return _Sought(image, build, Whole(build), tagged, records[0][1], sure)
    if not recorded:
        build = _as_tagged(run, image, build, records[0][1])
    whole = with_confirmed_care(build, image, known=recorded)
    return _Sought(image, build, whole, tagged, records[0][1], frozenset(recorded))


def _as_tagged(run: Run, image: Image, build: Build, commit: str) -> Build:
    """What is recorded anew as its tag has it: no signature says whose a commit is. Its care is confirmed by itself."""
    found = as_told(run.repository, build, commit, records_of(run.repository, run.known), image=image)
    if found is None:
        raise UserError(
            f"{build.id} of {image.name} has no annotated tag, and an old lockfile is no more than a commit's word",
            hint="`git fetch --tags`; with git.sign, what is signed needs none",
        )
    return found.model_copy(update={"artifacts": build.artifacts})


def _records(run: Run, past: LockPast, build_id: str) -> Iterator[tuple[Build, str]]:
    """The records of a build, the newest first, with their commits; where state/ is signed, of signed ones alone.

    Only those that tell of an artifact that no newer one has.
    """
    signs, known = run.known.fleet.settings.git.sign, set[tuple[str, str]]()
    for version in past.versions:
        build = next((one for one in version.lock.recorded if one.id == build_id), None)
        if build is None:
            continue
        places = {(one.location, one.id) for one in build.artifacts}
        signed = partial(signed_by_us, run.repository.git, version.commit, since=began(build_id))
        if places <= known or not believes(signed, sign=signs):
            continue
        known |= places
        yield build, version.commit


def _brought_back(run: Run, sought: _Sought, artifact: Artifact) -> _Came:
    """Bring back one artifact, where it is not there. One's failure is its own."""

    def told(outcome: Outcome, why: str = "", kept: Binned | None = None) -> Restored:
        until = kept.until if kept is not None else None
        return Restored(
            kind=artifact.kind, location=artifact.location, id=artifact.id, outcome=outcome, why=why, until=until
        )  # fmt: skip

    registry, names = run.registry, sought.image.names
    try:
        seen = registry.find(artifact.location, artifact.id)
        if seen is not None and not _is_told(run, sought, seen):
            why = f"it is there as {seen.name}, and neither that nor the record in a tag says that it is this build's"
            return _Came(told("failed", why))
        if seen is not None:
            return _checked(run, sought, artifact, seen, told("there"))
        kept = next((one for one in registry.binned(artifact.location) if one.id == artifact.id), None)
        if kept is None:
            return _Came(told("gone", "nothing keeps it any more"))
        if not is_meant(kept, sought.build, names=names, tagged=sought.tagged):
            why = f"it is called {kept.name}, and neither that nor the record in a tag says that it is this build's"
            return _Came(told("failed", why, kept))
        registry.restore(artifact)
        seen = registry.find(artifact.location, artifact.id, patience=_WAIT_SECONDS)
        if seen is not None and seen.state == "pending":
            seen = registry.wait_available(artifact.location, artifact.id, timeout=_WAIT_SECONDS)
        if seen is None:
            raise Transient("it was restored, and is not seen yet")
        what = f"restored {artifact.location} {artifact.id}"
        run.listener(events.Tended(image=sought.image.name, what=what))
        return _checked(run, sought, artifact, seen, told("restored", kept=kept))
    except ReconcilerError as error:
        run.listener(events.Failed(image=sought.image.name, what=str(error), notes=("run it again",)))
        return _Came(told("failed", error.what))


def _is_told(run: Run, sought: _Sought, seen: Seen) -> bool:
    """Whether more than a commit's word and marks says that what is there is the build's, as far as it takes that."""
    if seen.place in sought.sure:
        return True
    called = is_named(seen, image=seen.own("image") or "")
    return (called or is_in_record(seen, sought.tagged, build_id=sought.build.id)) and is_own(run.registry, seen)


def _checked(run: Run, sought: _Sought, artifact: Artifact, seen: Seen, told: Restored) -> _Came:
    """What is there, to be recorded if it says itself that it is the build's."""
    if not is_ours(seen, sought.build, fleet=run.known.fleet_name, names=sought.image.names):
        why = "it is there, and does not say itself that it is this build's: its marks are others"
        return _Came(told.model_copy(update={"outcome": "failed", "why": why}))
    if seen.place not in sought.sure:
        artifact = artifact.model_copy(update={"conversions": ()})  # the next run finds what holds the same
    return _Came(told, as_enabled(artifact, seen))


def _record(run: Run, sought: _Sought, there: Sequence[Artifact], told: Sequence[Restored]) -> Recording:
    image = sought.image
    build = sought.whole.build.model_copy(update={"artifacts": tuple(there)})
    gone = {(one.location, one.id) for one in told if one.outcome == "gone"}

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        declared = declared_at(tree, image, since=run.known.tree)
        return declared if isinstance(declared, Unwanted) else transitions.with_restored(lock, build, gone=gone)

    then = run.repository.tree(sought.commit)
    contents = {path: content_at(then, path) for path in paths_of(build)}
    files = [Change(path=path, content=content) for path, content in contents.items() if content is not None]
    back = [one for one in there if any(each.id == one.id and each.outcome == "restored" for each in told)]
    reason = Reason(
        code="removed", was=f"{build.id} removed", now=f"restored in {counted(len(there), 'location')}"
    )  # fmt: skip
    message = messages.change_commit(image.name, f"restore {build.id}", [reason], added=back or there)
    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from, also=files)


def _remarks(run: Run, sought: _Sought, recording: Recording) -> Iterator[str]:
    if recording.superseded:
        yield f"it is not recorded: {recording.why}"
    if sought.whole.not_given_back:
        yield (
            f"could use it before, and is not declared (share_with): {sought.whole.not_given_back}. Only an unsigned "
            "commit says so, so it is not given back; declare it, or give it by hand"
        )
    build = recording.lock.build(sought.build.id)
    if build is None:
        return
    held = sought.image.declaration.hold
    in_none = build.revoked is None and held is None and recording.lock.channel_of(build.id) is None
    if in_none and recording.lock.builds[0].id == build.id:
        yield "it is the newest that is recorded: the next run takes it into its channels if it is what is declared now"
    elif in_none:
        keep = f"`reconciler rollback {sought.image.name} {build.id}` keeps it"
        yield f"no channel points to it, so that `gc` takes it away again, in steps: {keep}"
    if run.proposes and recording.commit is not None:
        branch = proposal_branch(run.repository.git)
        yield f"its record is on {branch}: once that is merged, the next run makes it usable as before"


def _nothing(sought: _Sought, told: Sequence[Restored], kept_for: Mapping[str, int | None]) -> UserError:
    lines = []
    for one in told:
        days = kept_for.get(one.location)
        rule = {0: "; no rule there keeps what is removed", None: ""}.get(
            days, f"; what is removed there is kept for {counted(days or 0, 'day')}"
        )
        lines.append(f"{one.location} {one.id}: {one.why}{rule if one.outcome == 'gone' else ''}")
    return UserError(
        f"nothing of {sought.build.id} of {sought.image.name} can be brought back",
        hint=[
            *lines,
            f"to have it built again: `git revert` what changed since, or `reconciler show {sought.build.id}`",
        ],
    )
