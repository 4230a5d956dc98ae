"""What is to be done about one image, and why: desired against state against registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler.model.lockfile import Artifact, Build, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import OWN_SOURCE, Action, Decision, Health, PlannedImage, Retirement, Situation, Wanted
from reconciler.model.values import format_instant
from reconciler.plan.care import with_care, with_enabled, with_protected
from reconciler.plan.channels import as_settled, awaiting, moves, news_of, with_held_back, with_restated, with_verdicts
from reconciler.plan.garbage import kept_until_pruned, with_old_previews
from reconciler.plan.graph import REPLACING
from reconciler.plan.key import NEVER_AGAIN, REFRESH_OF, adoptable, adoptable_by_inputs
from reconciler.plan.key import wanted as want
from reconciler.plan.presence import Presence, of_another_fleet, presence
from reconciler.plan.publishing import with_publications
from reconciler.plan.reasons import content_reasons, due, refreshes, renewal_reasons, request_text
from reconciler.plan.rulings import ruling_of, with_ruling, with_told
from reconciler.plan.stopped import as_suspended
from reconciler.plan.timing import counts, declared, rests, seconds_until_tested
from reconciler.plan.transitions import promotes, with_verdict

_NONE: tuple[Action, ...] = ("none",)


def decide(situation: Situation) -> Decision:
    """Choose the cheapest actions that remove the image's drift. Pure: the same situation, the same decision."""
    elsewhere = of_another_fleet(situation) or situation.doubts
    if elsewhere:
        decision = _decision(situation, None, _Outcome(unknown=elsewhere))
        return replace(decision, own=decision.planned)
    decision = with_care(situation, with_restated(situation, with_held_back(situation, _settled(situation))))
    decision = with_told(situation, with_old_previews(situation, decision))
    return as_suspended(situation, with_publications(situation, with_protected(situation, decision)))


def _settled(situation: Situation) -> Decision:
    """What is to be done once what comes first is recorded; in one run, and in one plan.

    First come the verdicts that are new, then what image.yaml rules of builds: holds and revocations.
    """
    news = news_of(situation)
    after = situation.lock
    held, at = situation.image.declaration.hold is not None, format_instant(situation.now)
    for build_id, verdict in news:
        after = with_verdict(after, build_id, verdict, at=at, held=held)
    ruling, after = ruling_of(situation, after)
    if after is situation.lock:
        decision = _drift(situation)
        return replace(decision, own=decision.planned)
    seen = tuple(as_settled(one, situation.lock, after) for one in situation.seen)
    decision = _drift(replace(situation, lock=after, seen=seen))
    before = _drift(situation)
    if before.planned.unknown or decision.planned.unknown:
        return _ruled_alone(situation, before)
    own, moved = decision.planned, moves(situation.lock, after) if ruling is None else ()
    first = decision.planned.model_copy(update={"reasons": (), "health": before.planned.health})
    told = with_verdicts(replace(decision, lock=situation.lock, planned=first), news, settled=after)
    told = with_ruling(told, ruling)
    planned = told.planned.model_copy(update={"reasons": (*told.planned.reasons, *moved, *own.reasons)})
    return replace(told, planned=planned, own=own)


def _ruled_alone(situation: Situation, before: Decision) -> Decision:
    """The decision where something could not be read: verdicts wait for that, and what image.yaml rules does not."""
    decision = replace(before, own=before.planned)
    ruling, after = ruling_of(situation, situation.lock)
    return replace(with_ruling(decision, ruling), settled=after) if ruling is not None else decision


def _drift(situation: Situation) -> Decision:
    """What is to be done about the image itself, whatever others did to its artifacts."""
    image = situation.image
    if situation.pin is None and image.source is not None:
        return _without_pin(situation)
    wanted = want(image, situation.pin)
    reasons = content_reasons(situation, wanted)
    if reasons or situation.last is None:
        return _replace_build(situation, wanted, reasons)
    recorded = replace(wanted, key=situation.last.key, components=situation.last.components)
    return renewal(situation) or _taken_back(situation, recorded) or _keep_build(situation, recorded)


def _taken_back(situation: Situation, recorded: Wanted) -> Decision | None:
    """What is to be done where the build that is wanted is recorded in no channel, as one that was restored; else None.

    It is what a revert to its inputs would bring: adopted if it is there, and built if it is not.
    """
    last = situation.last
    if last is None or last.phase in NEVER_AGAIN or situation.lock.channel_of(last.id) is not None:
        return None
    was = f"candidate {situation.lock.channels.candidate or 'none'}"
    reason = Reason(code="channel-moved", was=was, now=f"candidate {last.id}, which is what is wanted")
    return _replace_build(situation, recorded, (reason, *_record_reasons(situation)))


def renewal(situation: Situation) -> Decision | None:
    """What is to be done about an image that is what is wanted, but too old for a refresh, or forced; None if neither.

    Also asked by a run whose parent came out as it was, although the child was to follow it.
    """
    reasons = renewal_reasons(situation)
    if situation.last is None or not reasons:
        return None
    return _replace_build(situation, want(situation.image, situation.pin, refresh_of=situation.last.id), reasons)


def _without_pin(situation: Situation) -> Decision:
    """No source, no key: what has drifted beside the source is said, and nothing is done."""
    why = situation.pin_missing or "its source is not resolved"
    reasons = (*content_reasons(situation, want(situation.image, None)), *_record_reasons(situation))
    has_parent = situation.image.parent is not None
    if situation.options.offline and situation.last is None and (situation.parent_pending or not has_parent):
        # Its source is resolved when it is built, which needs the registry.
        return _decision(situation, None, _Outcome(actions=("build",), reasons=reasons))
    if has_parent and reasons:
        return _decision(situation, None, _Outcome(reasons=reasons, waits_for=why))
    return _decision(situation, None, _Outcome(reasons=reasons, unknown=(why,)))


def _replace_build(situation: Situation, wanted: Wanted, reasons: tuple[Reason, ...]) -> Decision:
    """The image needs another build: adopt it if it exists, leave it alone while it keeps failing, else build."""
    unknown = _unreadable(situation)
    if unknown:
        # The artifact may well exist where we could not look.
        return _decision(situation, wanted, _Outcome(reasons=reasons, unknown=unknown))
    wanted, adopted = _adopted(situation, wanted)
    made = _made(situation, wanted)
    if made is not None and all(one.own("build") == made.id for one in adopted):
        adopting = _decision(situation, wanted, _Outcome(actions=("adopt",), reasons=reasons))
        return replace(adopting, take_up=made, missing_locations=_not_in(situation.image.locations, made.artifacts))
    if adopted:
        return replace(
            _decision(
                situation, wanted, _Outcome(actions=("adopt",), reasons=(*reasons, *_merged(situation, adopted)))
            ),
            adopt=adopted,
            missing_locations=_not_in(situation.image.locations, adopted),
        )
    why = _left_alone(situation, wanted)
    if why is not None:
        return _decision(situation, wanted, _Outcome(reasons=reasons, waits_for=why))
    if situation.withdrawn is not None:
        waiting = _decision(situation, wanted, _Outcome(reasons=reasons, waits_for=situation.withdrawn))
        # It is not as declared, and does not come to be so by itself.
        return replace(waiting, planned=waiting.planned.model_copy(update={"health": "degraded"}))
    return _with_another_try(situation, wanted, _decision(situation, wanted, _Outcome(("build",), reasons)))


def _with_another_try(situation: Situation, wanted: Wanted, decision: Decision) -> Decision:
    """The decision to build, saying that what rests else is tried because another Packer is here."""
    failure, packer = situation.lock.failure, situation.packer
    would_rest = failure is not None and not situation.forced and not situation.options.preview and rests(
        failure, key=wanted.key, declared=declared(situation.image), now=situation.now
    )  # fmt: skip
    if failure is None or not would_rest:
        return decision
    times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
    note = f"failed {times}, on Packer {' and '.join(failure.refused_by)}: tried once more, as Packer {packer} is here"
    notes = (*decision.planned.notes, note)
    return replace(decision, planned=decision.planned.model_copy(update={"notes": notes}))


def _made(situation: Situation, wanted: Wanted) -> Build | None:
    """The wanted build, if an attempt made it and could not mark it. A preview records nothing that tells of it."""
    failure = situation.lock.failure
    return failure.made if failure is not None and failure.key == wanted.key and not situation.options.preview else None


def _merged(situation: Situation, adopted: Sequence[Seen]) -> tuple[Reason, ...]:
    """That what is adopted is what a pull request built, which its merge brought."""
    first = adopted[0]
    if situation.options.preview or first.own("phase") != "preliminary" or first.own("branch") is None:
        return ()
    number = first.own("pull-request")
    whose = f"branch {first.own('branch')}" + (f" (#{number})" if number else "")
    return (Reason(code="preview-merged", was=whose, now=first.own("build")),)


def _adopted(situation: Situation, wanted: Wanted) -> tuple[Wanted, tuple[Seen, ...]]:
    """What exists of the wanted build; where state/ has no pin yet, of the build that people reviewed, with its pin."""
    if not situation.forced and any(
        one.key == wanted.key and one.phase in NEVER_AGAIN for one in situation.lock.recorded
    ):
        # Whatever has that key is the same as what was refused, or somebody gave it the key of that.
        return wanted, ()
    candidates = _may_be_adopted(with_enabled(situation))
    adopted = adoptable(candidates, key=wanted.key)
    if adopted or wanted.pin is None or wanted.pin.upstream is None or not _takes_reviewed_pin(situation, wanted):
        return wanted, adopted
    reviewed = adoptable_by_inputs(candidates, wanted)
    source = reviewed[0].own("source") if reviewed else None
    if source is None:
        return wanted, ()
    bare = wanted.pin.with_id(source)
    known = wanted.pin if wanted.pin.upstream.id == source else situation.sources.get(source, bare)
    if known is None:
        return wanted, ()  # whoever may write marks names any source there
    on_its_pin = want(situation.image, known)
    same = tuple(one for one in reviewed if one.own("key") == on_its_pin.key)
    return (on_its_pin, same) if same else (wanted, ())


def _may_be_adopted(situation: Situation) -> tuple[Seen, ...]:
    """What is not recorded as refused, and for a refresh young enough: an older build would be expired at once."""
    refused = {build.id for build in situation.lock.recorded if build.phase in NEVER_AGAIN} | situation.causes.keys()
    seen = tuple(one for one in _as_recorded(situation) if one.own("build") not in refused)
    refresh = situation.image.declaration.refresh
    limit = refresh.max_age
    if limit is None or not refreshes(situation.options, refresh, now=situation.now):
        return seen
    oldest = situation.now - timedelta(seconds=limit)
    return tuple(one for one in seen if (one.began or situation.now) >= oldest)


def _as_recorded(situation: Situation) -> tuple[Seen, ...]:
    """What is seen, in the phase that is recorded of its build: its tags may say otherwise.

    A run may have been killed between recording a verdict and tagging the phase, and who may tag may say any.
    """
    phases = {build.id: build.phase for build in situation.lock.recorded}
    return tuple(one.in_phase(phases.get(one.own("build") or "")) for one in situation.seen)


def _takes_reviewed_pin(situation: Situation, wanted: Wanted) -> bool:
    """Whether the pin may be an older one: not of a refresh, which asks for the newest and would ask again."""
    asked = situation.lock.source.requested if situation.lock.source else None
    refresh = situation.image.declaration.refresh
    renews = refresh.on_source_change and refreshes(situation.options, refresh, now=situation.now)
    return asked != situation.image.source and not renews and REFRESH_OF not in wanted.components


def _keep_build(situation: Situation, wanted: Wanted) -> Decision:
    """The recorded build is what is wanted: is it all there, and recorded as it is?"""
    build = situation.lock.kept
    looks = not situation.options.offline and situation.image.kind.observed
    found = presence(situation, build) if looks and build is not None else Presence()
    retire = (*(found.extra if situation.options.prune else ()), *found.outdated)
    worded = _record_reasons(situation)
    reasons = (*found.reasons, *worded)
    if any(reason.code == "artifact-missing" for reason in reasons):
        return _replace_build(situation, wanted, reasons)
    outcome = _Outcome(
        actions=_cheapest(situation, found, worded),
        reasons=reasons,
        unknown=tuple(found.unknown),
        waits_for=kept_until_pruned(found.extra) if found.extra and not situation.options.prune else None,
        retires=Retirement.of(retire),
    )
    return replace(
        _decision(situation, wanted, outcome),
        adopt=tuple(found.unrecorded),
        missing_locations=tuple(found.missing),
        copy_from=found.sources[0] if found.missing and found.sources else None,
        convert=tuple(found.unconverted),
        # A promotion changes the phase that every artifact carries.
        retag=tuple(found.present if "promote" in outcome.actions else found.retag),
        retire=retire,
    )


def _cheapest(situation: Situation, found: Presence, worded: Sequence[Reason]) -> tuple[Action, ...]:
    if found.unknown:
        return _NONE
    rewords = any(reason.code != "channel-moved" for reason in worded)
    offered: list[tuple[Action, bool]] = [
        ("copy", bool(found.missing)),
        ("convert", bool(found.unconverted)),
        ("retag", bool(found.retag)),
        ("promote", promotes(situation.lock, situation.image)),
        ("retire", (bool(found.extra) and situation.options.prune) or bool(found.outdated)),
        ("record", bool(found.unrecorded) or rewords),
    ]
    return tuple(action for action, needed in offered if needed) or _NONE


def _record_reasons(situation: Situation) -> tuple[Reason, ...]:
    """What the lockfile says differently although the build is the same."""
    image, lock = situation.image, situation.lock
    found: list[Reason] = []
    if situation.renamed_from is not None:
        found.append(Reason(code="renamed", was=situation.renamed_from, now=image.name))
    asked = lock.source.requested if lock.source else None
    if lock.builds and asked != image.source:
        found.append(Reason(code="source-changed", was=request_text(asked), now=request_text(image.source)))
    channels = lock.channels
    if promotes(lock, image):
        found.append(Reason(code="channel-moved", was=f"stable {channels.stable}", now=f"stable {channels.candidate}"))
    return tuple(found)


def _left_alone(situation: Situation, wanted: Wanted) -> str | None:
    """Why a wanted key is not built: it failed just now, or what came of it was refused. None when a person asks.

    Who pushes to a pull request asks for another try of what failed, but not for what was refused.
    """
    if situation.forced:
        return None
    failure = None if situation.options.preview else situation.lock.failure
    as_declared = declared(situation.image)
    if failure is not None and rests(
        failure, key=wanted.key, declared=as_declared, now=situation.now, packer=situation.packer
    ):
        times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
        another = ", or when another Packer is here" if failure.refused_by else ""
        force = f"`--force {situation.image.name}`"
        when = f"not before {failure.retry_after}, or when its inputs change{another}, or with {force}"
        return f"failed {times}: next try {when}"
    recorded = ((build.id, build.key, build.phase) for build in situation.lock.recorded)
    # What did not pass its smoke test is a failed attempt, not a refusal: it rests, and is tried again.
    shown = (
        (one.own("build"), one.own("key"), one.own("phase"))
        for one in _as_recorded(situation)
        if one.own("smoke") != "failed"
    )
    for build_id, key, phase in (*recorded, *shown):
        if key == wanted.key and phase in NEVER_AGAIN:
            force = f"`--force {situation.image.name}`"
            return f"{build_id} is the same and was {phase}: built when its inputs change, or with {force}"
    return None


def _unreadable(situation: Situation) -> tuple[str, ...]:
    if situation.options.offline or not situation.image.kind.observed:
        return ()
    return tuple(
        f"{location}: {situation.unreadable[location]}"
        for location in situation.image.locations
        if location in situation.unreadable
    )


def _not_in(locations: Sequence[str], adopted: Sequence[Seen | Artifact]) -> tuple[str, ...]:
    there = {one.location for one in adopted}
    return tuple(location for location in locations if location not in there)


@dataclass(frozen=True)
class _Outcome:
    """What was found out about one image."""

    actions: tuple[Action, ...] = _NONE
    reasons: tuple[Reason, ...] = ()
    unknown: tuple[str, ...] = ()
    waits_for: str | None = None
    retires: tuple[Retirement, ...] = ()


def _decision(situation: Situation, wanted: Wanted | None, outcome: _Outcome) -> Decision:
    building = "build" in outcome.actions
    image = situation.image
    own = building and image.source is None and image.template.chooses_source
    waits = situation.parent_pending and not REPLACING.isdisjoint(outcome.actions)
    planned = PlannedImage(
        image=image.name,
        sync="unknown" if outcome.unknown else "drifted" if outcome.reasons else "in-sync",
        health=_health(situation, wanted, outcome),
        actions=outcome.actions,
        reasons=outcome.reasons,
        retires=outcome.retires if "retire" in outcome.actions else (),
        blocked_by=(image.parent or "",) if waits else (),
        waits_for=outcome.waits_for,
        estimate_seconds=seconds_until_tested(situation.lock) if building else None,
        key=wanted.key if wanted else None,
        source=OWN_SOURCE if own else None,
        due=_due(situation),
        unknown=outcome.unknown,
        notes=situation.image.notes if building else (),
        findings=situation.lock.findings,
    )
    return Decision(planned=planned, image=image, lock=situation.lock, wanted=wanted)


def _due(situation: Situation) -> str | None:
    moment = due(situation.last, situation.image.declaration.refresh, now=situation.now)
    return format_instant(moment) if moment is not None else None


def _health(situation: Situation, wanted: Wanted | None, outcome: _Outcome) -> Health:
    if outcome.unknown:
        return "unknown"
    failure = situation.lock.failure
    if failure is not None and counts(failure, wanted=wanted, drifted=bool(outcome.reasons)):
        return "degraded"
    last = situation.last
    if last is not None and last.phase in NEVER_AGAIN:
        return "degraded"
    if last is None:
        return "unknown"
    if situation.lock.current is None:
        return "degraded"  # whoever asks for the image is given nothing
    # What no registry tells of may be gone.
    return awaiting(situation) or ("healthy" if situation.image.kind.observed else "unknown")
