"""What is to be done about one image, and why: desired against state against registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.model.lockfile import Failure, Reason
from reconciler.model.observation import Seen
from reconciler.model.plan import Action, Decision, Health, PlannedImage, Wanted
from reconciler.model.source import AmiPin, Pin
from reconciler.model.values import parse_instant
from reconciler.plan.adoption import adoptable, adoptable_by_inputs
from reconciler.plan.estimate import build_seconds
from reconciler.plan.key import wanted as want
from reconciler.plan.presence import Presence, presence
from reconciler.plan.reasons import content_reasons, renewal_reasons, request_text
from reconciler.plan.situation import Situation

_NONE: tuple[Action, ...] = ("none",)


def decide(situation: Situation) -> Decision:
    """Choose the cheapest actions that remove the image's drift. Pure: the same situation, the same decision."""
    image = situation.image
    if situation.pin is None and image.source is not None:
        return _without_pin(situation)
    wanted = want(image, situation.pin)
    reasons = content_reasons(situation, wanted)
    if not reasons and situation.last is not None:
        reasons = renewal_reasons(situation)
        if reasons:
            wanted = want(image, situation.pin, refresh_of=situation.last.id)
        else:
            wanted = replace(wanted, key=situation.last.key, components=situation.last.components)
    decision = _replace_build(situation, wanted, reasons) if reasons else _keep_build(situation, wanted)
    return _suspended(situation, decision)


def _without_pin(situation: Situation) -> Decision:
    """No source, no key: nothing can be said of the content, and nothing is done."""
    why = situation.pin_missing or "its source is not resolved"
    new = (Reason(code="new", now=situation.head[:12]),)
    if situation.options.offline and situation.last is None:
        # Its source is resolved when it is built, which needs the registry.
        return _decision(situation, None, _Outcome(actions=("build",), reasons=new))
    if situation.image.parent is not None:
        return _decision(situation, None, _Outcome(reasons=new if situation.last is None else (), waits_for=why))
    return _decision(situation, None, _Outcome(unknown=(why,)))


def _replace_build(situation: Situation, wanted: Wanted, reasons: tuple[Reason, ...]) -> Decision:
    """The image needs another build: adopt it if it exists, leave it alone while it keeps failing, else build."""
    wanted, adopted = _adopted(situation, wanted)
    if adopted:
        return replace(
            _decision(situation, wanted, _Outcome(actions=("adopt",), reasons=reasons)),
            adopt=adopted,
            missing_regions=_not_in(situation.image.regions, adopted),
        )
    unknown = _unreadable(situation)
    if unknown:
        # The artifact may well exist where we could not look.
        return _decision(situation, wanted, _Outcome(reasons=reasons, unknown=unknown))
    resting = _resting(situation, wanted)
    if resting is not None:
        why = f"{resting.attempts} failed: next try not before {resting.retry_after}, or when its inputs change"
        return _decision(situation, wanted, _Outcome(reasons=reasons, waits_for=why))
    return _decision(situation, wanted, _Outcome(actions=("build",), reasons=reasons))


def _adopted(situation: Situation, wanted: Wanted) -> tuple[Wanted, tuple[Seen, ...]]:
    """What exists of the wanted build; where state/ has no pin yet, of the build that people reviewed, with its pin."""
    adopted = adoptable(situation.seen, key=wanted.key)
    asked = situation.lock.source.requested if situation.lock.source else None
    if adopted or wanted.pin is None or wanted.pin.ami is None or asked == situation.image.source:
        return wanted, adopted
    reviewed = adoptable_by_inputs(situation.seen, wanted)
    source = reviewed[0].own("source") if reviewed else None
    if source is None:
        return wanted, ()
    known = wanted.pin if wanted.pin.ami.id == source else Pin(ami=AmiPin(region=wanted.pin.ami.region, id=source))
    on_its_pin = want(situation.image, known)
    same = tuple(one for one in reviewed if one.own("key") == on_its_pin.key)
    return (on_its_pin, same) if same else (wanted, ())


def _keep_build(situation: Situation, wanted: Wanted) -> Decision:
    """The recorded build is what is wanted: is it all there, and recorded as it is?"""
    build = situation.last
    if build is None:
        raise ValueError("an image without a build has a reason to be built")
    found = Presence() if situation.options.offline else presence(situation, build)
    reasons = [*found.reasons, *_record_reasons(situation)]
    if any(reason.code == "artifact-missing" for reason in reasons):
        return _replace_build(situation, wanted, tuple(reasons))
    outcome = _Outcome(
        actions=_cheapest(situation, found),
        reasons=tuple(reasons),
        unknown=tuple(found.unknown),
        waits_for="asks for --prune" if found.extra and not situation.options.prune else None,
    )
    return replace(
        _decision(situation, wanted, outcome),
        adopt=tuple(found.unrecorded),
        missing_regions=tuple(found.missing),
        copy_from=found.sources[0] if found.missing and found.sources else None,
        retag=tuple(found.retag),
        retire=tuple(found.extra) if situation.options.prune else (),
    )


def _cheapest(situation: Situation, found: Presence) -> tuple[Action, ...]:
    if found.unknown:
        return _NONE
    channels = situation.lock.channels
    promote = not situation.image.declaration.validation.required and channels.candidate != channels.stable
    offered: list[tuple[Action, bool]] = [
        ("copy", bool(found.missing)),
        ("retag", bool(found.retag)),
        ("promote", promote),
        ("retire", bool(found.extra) and situation.options.prune),
        ("record", bool(found.unrecorded) or bool(_record_reasons(situation))),
    ]
    return tuple(action for action, needed in offered if needed) or _NONE


def _record_reasons(situation: Situation) -> tuple[Reason, ...]:
    """What the lockfile says differently although the build is the same."""
    image, lock = situation.image, situation.lock
    found: list[Reason] = []
    if situation.renamed_from is not None:
        found.append(Reason(code="renamed", was=situation.renamed_from, now=image.name))
    asked = lock.source.requested if lock.source else None
    if asked != image.source:
        found.append(Reason(code="source-changed", was=request_text(asked), now=request_text(image.source)))
    channels = lock.channels
    if not image.declaration.validation.required and channels.candidate != channels.stable:
        found.append(Reason(code="channel-moved", was=f"stable {channels.stable}", now=f"stable {channels.candidate}"))
    return tuple(found)


def _resting(situation: Situation, wanted: Wanted) -> Failure | None:
    failure = situation.lock.failure
    if failure is None or failure.key != wanted.key or situation.forced:
        return None
    return failure if situation.now < parse_instant(failure.retry_after) else None


def _unreadable(situation: Situation) -> tuple[str, ...]:
    if situation.options.offline:
        return ()
    return tuple(
        f"{region}: {situation.unreadable[region]}"
        for region in situation.image.regions
        if region in situation.unreadable
    )


def _not_in(regions: Sequence[str], adopted: Sequence[Seen]) -> tuple[str, ...]:
    there = {one.location for one in adopted}
    return tuple(region for region in regions if region not in there)


@dataclass(frozen=True)
class _Outcome:
    """What was found out about one image."""

    actions: tuple[Action, ...] = _NONE
    reasons: tuple[Reason, ...] = ()
    unknown: tuple[str, ...] = ()
    waits_for: str | None = None


def _decision(situation: Situation, wanted: Wanted | None, outcome: _Outcome) -> Decision:
    building = "build" in outcome.actions
    planned = PlannedImage(
        image=situation.image.name,
        sync="unknown" if outcome.unknown else "drifted" if outcome.reasons else "in-sync",
        health=_health(situation, outcome),
        actions=outcome.actions,
        reasons=outcome.reasons,
        blocked_by=(situation.image.parent or "",) if situation.parent_pending and outcome.actions != _NONE else (),
        waits_for=outcome.waits_for,
        estimate_seconds=build_seconds(situation.lock) if building else None,
        key=wanted.key if wanted else None,
        unknown=outcome.unknown,
    )
    return Decision(planned=planned, image=situation.image, lock=situation.lock, wanted=wanted)


def _health(situation: Situation, outcome: _Outcome) -> Health:
    if outcome.unknown:
        return "unknown"
    if situation.lock.failure is not None:
        return "degraded"
    last = situation.last
    if last is not None and last.phase in ("rejected", "revoked"):
        return "degraded"
    waiting = situation.image.declaration.validation.required and situation.lock.channels
    if waiting and waiting.candidate != waiting.stable:
        return "awaiting-verdict"
    return "healthy"


def _suspended(situation: Situation, decision: Decision) -> Decision:
    suspend = situation.image.declaration.suspend
    if suspend is None or (suspend.until is not None and situation.now.date() >= suspend.until):
        return decision
    until = f" until {suspend.until}" if suspend.until else ""
    planned = decision.planned.model_copy(
        update={
            "health": "suspended",
            "actions": _NONE,
            "blocked_by": (),
            "estimate_seconds": None,
            "waits_for": f"suspended{until}: {suspend.reason}",
        }
    )
    return Decision(planned=planned, image=decision.image, lock=decision.lock, wanted=decision.wanted)
