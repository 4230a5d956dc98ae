"""Artifacts beside their marks: shared, deprecated, protected, disabled and enabled as was decided, and recorded.

What is given is recorded before it is given, and what is taken back is dropped from the record after: a run that is
killed anywhere between leaves nothing of which state/ does not know, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.model import events
from reconciler.model.care import AHEAD, soon
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Reason, ReasonCode
from reconciler.model.observation import Seen
from reconciler.model.plan import Sharing, Situation, Tending
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.care import concerns, tended
from reconciler.steps.consumers import sharing_of, with_obstacles
from reconciler.steps.record_rulings import record_care
from reconciler.steps.run import Deed, DeedVerb, Run

_VERBS: Mapping[ReasonCode, DeedVerb] = {
    "sharing-changed": "shared",
    "deprecation-changed": "deprecated",
    "protection-changed": "protected",
    "availability-changed": "disabled",
}


@dataclass(frozen=True)
class Done:
    """What is recorded by now, what was done, and the first thing that went wrong, if one did."""

    lock: Lockfile
    commit: str | None = None
    did: tuple[Deed, ...] = ()
    error: ReconcilerError | None = None


def tend(run: Run, image: Image, lock: Lockfile, tendings: Sequence[Tending]) -> Done:
    """Do with each artifact what was decided. One that fails leaves the others as they are.

    Where what is recorded is only proposed, that is all for now: once it is merged, the next run does what it says. By
    then the date may be past from which one was to be deprecated: it is done all the same, and the date proposed anew.
    """
    ready, failed = _prepared(run, tendings)
    commit: str | None = None
    before = {_place(one): one.before for one in ready if one.before != one.artifact.cared_for}
    if before:
        recording = record_care(run, image, before, actions=_actions(ready), reasons=_reasons(ready))
        if recording.superseded:
            return Done(recording.lock, error=_told(run, image, failed))
        lock, commit = recording.lock, recording.commit
    waiting = [one for one in ready if run.proposes and not _is_recorded(run, one)]
    ready = [one for one in ready if one not in waiting]
    done: list[Tending] = []
    for one in ready:
        try:
            _carry_out(run, one)
        except ReconcilerError as error:
            failed.append(error)
        else:
            done.append(one)
            for reason in one.reasons if one.acts else ():
                run.listener(events.Tended(image=image.name, what=f"{reason.was} → {reason.now}"))
    after = {_place(one): one.after for one in done if one.after != one.before}
    if after:
        changed = [one for one in done if one.after != one.before]
        recording = record_care(run, image, after, actions=_actions(changed), reasons=_reasons(changed))
        lock, commit = recording.lock, recording.commit or commit
    did = (*_deeds(waiting, only_recorded=True), *_deeds(done))
    return Done(lock, commit, did, _told(run, image, failed))


def _is_recorded(run: Run, one: Tending) -> bool:
    """Whether what is to be done is recorded, at least with a date of deprecation that is past by now."""
    was = one.artifact.cared_for
    is_past = was.deprecated is not None and parse_instant(was.deprecated) <= run.now() + AHEAD
    return one.before == was or (is_past and one.before.undated == was.undated)


def tend_recorded(run: Run, image: Image, lock: Lockfile) -> Done:
    """Do with what this run recorded what is to be done with it, and with what it took the place of.

    What is only proposed is no channel's yet. Costs a look for each recorded artifact of an image of which something is
    declared, and none of another.
    """
    if run.proposes or not concerns(image, lock):
        return Done(lock)
    situation = _situation(run, image, lock)
    found = tuple(tended(situation, lock))
    asked = sharing_of(run.registry, [one.artifact for one in found if one.asks])
    found = tuple(tended(replace(situation, sharing=asked), lock))
    sharing = with_obstacles(run.registry, asked, [one.tending for one in found])
    if sharing != asked:
        found = tuple(tended(replace(situation, sharing=sharing), lock))
    for note in (note for one in found for note in (*one.notes, *([one.unknown] if one.unknown else []))):
        run.listener(events.Warned(image=image.name, what=note))
    return tend(run, image, lock, [one.tending for one in found if one.is_due])


def _situation(run: Run, image: Image, lock: Lockfile) -> Situation:
    """What is recorded, and what the registry shows of it now."""
    seen: list[Seen] = []
    unreadable: dict[str, str] = {}
    for artifact in (one for build in lock.builds for one in build.artifacts):
        try:
            found = run.registry.find(artifact.location, artifact.id) if artifact.location not in unreadable else None
        except ReconcilerError as error:
            unreadable[artifact.location] = error.what
        else:
            seen += [found] if found is not None else []
    return Situation(
        image=image, lock=lock, now=run.now(), fleet=run.known.fleet_name, head=run.known.head, seen=tuple(seen),
        unreadable=unreadable, sharing=Sharing(),
    )  # fmt: skip


def _prepared(run: Run, tendings: Iterable[Tending]) -> tuple[list[Tending], list[ReconcilerError]]:
    """What is to be done as it can be done now: with who could use what is disabled, and no date that is past."""
    ready: list[Tending] = []
    failed: list[ReconcilerError] = []
    for one in tendings:
        try:
            ready.append(_in_time(run, _with_withheld(run, one)))
        except ReconcilerError as error:
            failed.append(error)
    return ready, failed


def _with_withheld(run: Run, one: Tending) -> Tending:
    """With who could use it: an artifact that is disabled loses all grants, and the record is what brings them back."""
    if not one.disable or one.before.withheld is not None:
        return one
    withheld = run.registry.grants(one.artifact)
    before, after = (care.model_copy(update={"withheld": withheld}) for care in (one.before, one.after))
    return replace(one, before=before, after=after)


def _in_time(run: Run, one: Tending) -> Tending:
    if one.deprecate is None or parse_instant(one.deprecate) > run.now() + timedelta(minutes=1):
        return one
    at = format_instant(soon(run.now()))
    before, after = (care.model_copy(update={"deprecated": at}) for care in (one.before, one.after))
    return replace(one, deprecate=at, before=before, after=after)


def _carry_out(run: Run, one: Tending) -> None:
    """In an order in which a run that is killed between leaves nobody more than before."""
    registry, artifact = run.registry, one.artifact
    if one.enable:
        registry.enable(artifact)
    if one.add or one.remove:
        registry.share(artifact, add=one.add, remove=one.remove)
    if one.deprecate is not None or one.never_deprecated:
        registry.deprecate(artifact, parse_instant(one.deprecate) if one.deprecate is not None else None)
    if one.protect is not None:
        registry.protect(artifact, on=one.protect)
    if one.disable:
        registry.disable(artifact)


def _place(one: Tending) -> tuple[str, str]:
    return one.artifact.location, one.artifact.id


def _actions(tendings: Iterable[Tending]) -> list[str]:
    return list(dict.fromkeys(action for one in tendings for action in one.actions))


def _reasons(tendings: Iterable[Tending]) -> tuple[Reason, ...]:
    return tuple(reason for one in tendings for reason in one.reasons)


def _deeds(done: Sequence[Tending], *, only_recorded: bool = False) -> tuple[Deed, ...]:
    """What was done, one thing a row."""
    rows: dict[DeedVerb, list[str]] = {}
    for verb, reason in _each(done):
        rows.setdefault("recorded" if only_recorded else verb, []).append(f"{reason.was} → {reason.now}")
    return tuple(Deed(verb, "; ".join(what)) for verb, what in rows.items())


def _each(done: Iterable[Tending]) -> Iterator[tuple[DeedVerb, Reason]]:
    for one in done:
        for reason in one.reasons:
            verb: DeedVerb = "enabled" if one.enable and reason.now == "available" else _VERBS[reason.code]
            yield (verb if one.acts else "recorded"), reason


def _told(run: Run, image: Image, failed: Sequence[ReconcilerError]) -> ReconcilerError | None:
    """Say what went wrong, and return the first of it."""
    for error in failed:
        run.listener(events.Failed(image=image.name, what=str(error), notes=("the next run tries again",)))
    return failed[0] if failed else None
