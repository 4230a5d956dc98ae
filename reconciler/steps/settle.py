"""What outsiders and earlier runs left: verdicts, artifacts changed, those of failed attempts, tags that are owed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from reconciler.git.objects import Commit, TagRequest
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile, Reason, Verdict
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Retirement, Ruling
from reconciler.model.text import counted
from reconciler.model.values import parse_instant
from reconciler.plan.channels import moves
from reconciler.plan.key import may_be_of
from reconciler.plan.tags import at_birth
from reconciler.ports.builder import BuildFailed
from reconciler.ports.registry import Remains
from reconciler.steps.artifacts import is_own, restate, tag_moved
from reconciler.steps.care import Done, tend
from reconciler.steps.record_rulings import record_ruling, record_verdict
from reconciler.steps.retire import retire
from reconciler.steps.run import Deed, Run
from reconciler.words import messages
from reconciler.words.plans import listed

# What a failed attempt left: found, and retired where something other than Packer's words says whose it is.
#
# What names one as an attempt's: the tags that its template puts on at birth, the name that we gave, or Packer's
# report beside one that nobody claims and that is no older than the attempt. A line of a log alone is hearsay: what
# is only mentioned there is told, for a person to look at.

_UNKNOWN_BUILDER = "unknown"


@dataclass(frozen=True)
class Left:
    """What an attempt left, and is still there. `told` are sentences for people.

    `made` is the record of what was built as asked for, and is to be taken up.
    """

    stays: tuple[Artifact, ...] = ()
    told: tuple[str, ...] = ()
    made: Build | None = None


def retire_left(run: Run, image: Image, failed: BuildFailed, *, build_id: str) -> Left:
    """Retire what a failed attempt left, and say what became of it. Never raises: why it failed is worth more.

    Nothing is looked for where Packer made none, and ended by itself.
    """
    if failed.cleaned_up and not failed.artifacts and not failed.mentioned:
        return Left()
    stays: list[Artifact] = []
    told: list[str] = []
    builder = image.template.makers[0].name if image.template.makers else _UNKNOWN_BUILDER
    found, unread = _found(run, image, failed, build_id=build_id)
    told += unread
    for seen in found:
        nobodys = _is_nobodys_and_new(seen, build_id=build_id)
        reported = any((one.location, one.id) == (seen.location, seen.id) for one in failed.artifacts)
        own = _is_its_own(run, image, seen, build_id=build_id) and (reported or not seen.hearsay)
        if not own and not (nobodys and reported and _is_owned(run, seen)):
            if nobodys:
                told.append(
                    f"{seen.id} in {seen.location} may be what it made: nothing on it says so, so it stays; to be rid "
                    f"of it: {image.kind.removal.format(location=seen.location, id=seen.id)}"
                )
            continue
        try:
            remains = claim_and_retire(run, image.name, seen, build_id=build_id)
        except ReconcilerError as error:
            stays.append(seen.as_artifact(builder))
            told.append(f"{seen.id} in {seen.location}, which it made, stays for now: {error.what}")
        else:
            became = "was retired" if remains is not None else "is not whole yet: a later run retires it"
            became = f"stays: {remains.stays}" if remains is not None and remains.stays else became
            told.append(f"{seen.id} in {seen.location}, which it had made, {became}")
            stays += [] if remains is not None else [seen.as_artifact(builder)]
    return Left(tuple(stays), tuple(told))


def claim_and_retire(run: Run, image: str, seen: Seen, *, build_id: str) -> Remains | None:
    """Retire an artifact of ours that may not say so yet. None where it is still being made: then it only says so.

    Raises what the registry raises, and Terminal where the artifact says that it is another fleet's or image's.
    """
    if seen.own("fleet") is None:
        # A plan may be hours old by now, and somebody else may have claimed it since.
        seen = run.registry.find(seen.location, seen.id) or seen
    if seen.own("fleet") is None:
        # Before all else: whatever goes wrong from here on, the next run's plan sees whose it is.
        tags = at_birth(fleet=run.known.fleet_name, image=image, build_id=build_id, run_id=run.request.run_id)
        run.registry.tag(seen, tags)
    if seen.state == "pending":
        return None  # what it is stored in is not all known yet
    return retire(run, image, seen)


def _found(run: Run, image: Image, failed: BuildFailed, *, build_id: str) -> tuple[tuple[Seen, ...], tuple[str, ...]]:
    """What may be the attempt's, each once, in order of place; and which places could not be looked at."""
    locations = dict.fromkeys((*image.locations, *(one.location for one in failed.artifacts)))
    reported = [(artifact.location, artifact.id) for artifact in failed.artifacts]
    reported += [(image.build_location, one) for one in failed.mentioned]
    found: dict[tuple[str, str], Seen] = {}
    unread: list[str] = []
    for location in locations:
        ids = [one for place, one in reported if place == location]
        try:
            found |= {(seen.location, seen.id): seen for seen in _in(run, image, location, ids=ids, build_id=build_id)}
        except ReconcilerError as error:
            unread.append(f"what it may have left in {location} is not known: {error.what}")
    return tuple(found[place] for place in sorted(found)), tuple(unread)


def _in(run: Run, image: Image, location: str, *, ids: Iterable[str], build_id: str) -> Iterator[Seen]:
    observation = run.registry.observe([location])
    if location in observation.unreadable:
        raise Transient(observation.unreadable[location])
    yield from (seen for seen in observation.of(image.name) if seen.own("build") == build_id)
    if image.template.takes("image_name"):
        yield from run.registry.named(location, f"{image.name}-{build_id}")
    for artifact_id in ids:
        seen = run.registry.find(location, artifact_id)
        if seen is not None:
            yield seen


def _is_its_own(run: Run, image: Image, seen: Seen, *, build_id: str) -> bool:
    """Whether the registry itself says that an artifact is this attempt's: by its tags, or by the name that we gave."""
    ours = (run.known.fleet_name, image.name, build_id)
    if (seen.own("fleet"), seen.own("image"), seen.own("build")) == ours:
        return may_be_of(build_id, seen)
    named = image.template.takes("image_name") and seen.name == f"{image.name}-{build_id}"
    return named and seen.own("fleet") is None


def _is_owned(run: Run, seen: Seen) -> bool:
    """Whether it is known that this account owns it."""
    try:
        return is_own(run.registry, seen)
    except ReconcilerError:
        return False


def _is_nobodys_and_new(seen: Seen, *, build_id: str) -> bool:
    """Whether nobody's tags are on it, and it was made while the attempt ran."""
    return seen.own("fleet") is None and may_be_of(build_id, seen)


# What outsiders and earlier runs did to an image's artifacts, which comes before the image itself.
#
# Verdicts are recorded, what artifacts say wrongly of their phase and channel is set right, what nobody needs is
# retired.


@dataclass(frozen=True)
class Settled:
    """What is recorded by now, and what of the decision is left to do."""

    decision: Decision
    commit: str | None = None
    tags: tuple[str, ...] = ()
    did: tuple[Deed, ...] = ()
    error: ReconcilerError | None = None
    """What went wrong with an artifact, and keeps nothing else from being done."""


def settle(run: Run, image: Image, decision: Decision) -> Settled:
    """Record every verdict, then what image.yaml rules; set artifacts and tags right; retire what nobody needs."""
    lock = decision.lock
    commit: str | None = None
    tags: tuple[str, ...] = ()
    did: list[Deed] = []
    for build_id, verdict in decision.verdicts:
        recording = record_verdict(run, image, build_id, verdict)
        if not recording.superseded:
            tags = (*tags, *recording.tags)
            did.append(_deed(build_id, verdict, before=lock, after=recording.lock))
            if recording.commit is not None:
                run.listener(_said(image, build_id, verdict, recording.lock))
                commit = recording.commit
        tag_moved(run, image, before=lock, after=recording.lock, also=(build_id,), made=False)
        lock = recording.lock
    if decision.ruling is not None:
        recording = record_ruling(run, image, decision.ruling)
        commit = recording.commit or commit
        if not recording.superseded:
            tags = (*tags, *recording.tags)
            tag_moved(run, image, before=lock, after=recording.lock, made=False)
            did.append(_ruled(decision.ruling))
        lock = recording.lock
    # What stands otherwise than it was decided by is the next run's, and what is only proposed is no channel's yet.
    settles = bool(decision.verdicts) or decision.ruling is not None
    as_expected = lock.channels == (decision.settled or decision.lock).channels and not (run.proposes and settles)
    tended = tend(run, image, lock, decision.tend) if decision.tend and as_expected else Done(lock)
    lock, commit = tended.lock, tended.commit or commit
    did += tended.did
    restate(run, decision.name, decision.restate)
    if decision.restate:
        artifacts = counted(len(decision.restate), "artifact")
        did.append(Deed("retagged", f"{artifacts} that said another phase or channel"))
    return Settled(_left(decision, lock), commit, tags, (*did, *retire_useless(run, decision)), tended.error)


def retire_useless(run: Run, decision: Decision) -> tuple[Deed, ...]:
    """Retire what pull requests and attempts left. What can't be retired now is told, and left to the next run."""
    failure = decision.lock.failure
    gone: list[Seen] = []
    for seen in decision.old_previews:
        try:
            # Of what says nothing of itself, the lockfile does: an attempt left it that is recorded.
            build_id = seen.own("build") or (failure.build if failure is not None else "")
            remains = claim_and_retire(run, decision.name, seen, build_id=build_id)
            if remains is None or remains.stays:
                continue
        except ReconcilerError as error:
            what = f"{seen.id} in {seen.location}, which nobody needs, stays: {error.what}"
            run.listener(events.Warned(image=decision.name, what=what))
        else:
            gone.append(seen)
            run.listener(events.Retired(image=decision.name, location=seen.location, artifact=seen.id))
    return (Deed("retired", listed(Retirement.of(gone))),) if gone else ()


def _ruled(ruling: Ruling) -> Deed:
    verb: Literal["promoted", "recorded"] = "promoted" if ruling.moves_stable else "recorded"
    return Deed(verb, "; ".join(map(_moved, ruling.reasons)))


def _moved(reason: Reason) -> str:
    """What was and what is, with the channel's name once: `stable A → B`."""
    was, now = reason.was or "", reason.now or ""
    return f"{was} → {now.removeprefix(was.partition(' ')[0] + ' ')}"


def _deed(build_id: str, verdict: Verdict, *, before: Lockfile, after: Lockfile) -> Deed:
    moved = "; ".join(f"{reason.was} → {(reason.now or '').partition(' ')[2]}" for reason in moves(before, after))
    promoted = before.channels.stable != after.channels.stable == build_id
    verb: Literal["promoted", "rejected", "recorded"] = (
        "rejected" if verdict.status == "failed" else "promoted" if promoted else "recorded"
    )
    return Deed(verb, f"{build_id} {verdict.status} by {verdict.by}{f': {moved}' if moved else ''}")


def _left(decision: Decision, lock: Lockfile) -> Decision:
    """The decision on this lockfile, without what is settled.

    Nothing is left of it where another run recorded something else meanwhile than what it was made by.
    """
    own = decision.own or decision.planned
    expected = decision.settled or decision.lock
    settles = bool(decision.verdicts) or decision.ruling is not None
    if settles and lock.channels != expected.channels:
        own = own.model_copy(update={"actions": ("none",), "reasons": ()})
    return replace(decision, lock=lock, planned=own)


def _said(image: Image, build_id: str, verdict: Verdict, lock: Lockfile) -> events.Event:
    return events.Settled(
        image=image.name, build=build_id, verdict=verdict.status, by=verdict.by, stable=lock.channels.stable
    )  # fmt: skip


# Tags that a run left out which died between two pushes: they are made of what state/ records.
#
# Only a remote that takes refs one by one leaves such a gap, and no listing says that it is one. So what was recorded
# lately is looked for: among this clone's tags, then, if one is missing there, by one listing of the remote's. A
# failure does not say which commit was tried, so that its tag can't be made anew.

_LOOKED_AT = timedelta(days=7)
"""How long after it was recorded a build's tags are looked for: the next run comes within that."""
_BELOW = ("image", "verdict")


def make_owed_tags(run: Run) -> None:
    """Make the tags of recent records that the remote lacks. What goes wrong with that is told, and stops nothing."""
    recent = {tag.name: (name, tag) for name, lock in run.known.locks.items() for tag in _recent(run, lock)}
    if not recent or run.branch is not None:
        return  # a preview has no record on a branch
    owed = _lacking(recent, (tag.name for tag in run.repository.tags(*_BELOW)))
    remote = run.repository.remote(run.known.fleet.settings.git.remote) if owed else None
    if remote is None:
        return  # without a remote, branch and tags are one transaction
    image, first = recent[owed[0]]
    try:
        missing = [recent[name] for name in _lacking(owed, remote.tags(_BELOW))]
        made = [(name, tag) for name, tag in missing if run.repository.has(tag.target)]
        if made:
            run.recorder.record(lambda _tree: Commit((), "", tuple(tag for _, tag in made)))
    except ReconcilerError as error:
        what = f"it is not known whether the tag {first.name} of an earlier run is there: {error.what}"
        run.listener(events.Warned(image=image, what=what))
        return
    for name, tag in made:
        run.listener(
            events.Warned(image=name, what=f"an earlier run ended before it made the tag {tag.name}: made now")
        )


def _recent(run: Run, lock: Lockfile) -> Iterator[TagRequest]:
    """The tags that belong to what a lockfile recorded lately."""
    for build in lock.builds:
        if build.recorded is None or parse_instant(build.recorded) < run.known.now - _LOOKED_AT:
            continue
        yield TagRequest(messages.tag_name(lock.image, build.id), build.commit, messages.build_tag(lock.image, build))
        if build.verdict is not None:
            name = messages.verdict_tag_name(lock.image, build.id)
            yield TagRequest(name, build.commit, messages.verdict_tag(lock.image, build.id, build.verdict))


def _lacking(wanted: Collection[str], there: Iterable[str]) -> tuple[str, ...]:
    """The names among `wanted` for whose build there is no tag of that kind, under whichever name its image had."""
    known = {_stands_for(name) for name in there}
    return tuple(sorted(name for name in wanted if _stands_for(name) not in known))


def _stands_for(name: str) -> tuple[str, str]:
    return name.partition("/")[0], name.rpartition("/")[2].removesuffix("-overruled")
